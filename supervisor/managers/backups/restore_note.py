"""Which restore is under way, written down for the daemon that follows on one that died in it."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import attrs

from supervisor.state import write_atomic

_LOGGER = logging.getLogger(__name__)


@attrs.frozen
class RestoreNote:
    """A file that is there as long as a restore lasts: between two items nothing else on the disk tells of it."""

    _file: Path

    @asynccontextmanager
    async def kept(self, slug: str) -> AsyncIterator[None]:
        """Keep the note inside the block. Of one that is cancelled, as the daemon ends, the next daemon tells."""
        try:
            await asyncio.to_thread(self._write, slug)
        except OSError as err:
            _LOGGER.warning("That backup %s is being restored can't be written down: %s", slug, err.strerror)
        try:
            yield
        except asyncio.CancelledError:
            raise
        except BaseException:
            await asyncio.shield(self.forget())
            raise
        await self.forget()

    def _write(self, slug: str) -> None:
        self._file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_atomic(self._file, json.dumps({"slug": slug}).encode())

    async def left(self) -> str | None:
        """Return the slug of the backup whose restore did not come to its end, None when none was cut off."""
        try:
            noted = json.loads(await asyncio.to_thread(self._file.read_bytes))
        except (OSError, ValueError):
            return None
        slug = noted.get("slug") if isinstance(noted, dict) else None
        return slug if isinstance(slug, str) else None

    async def forget(self) -> None:
        """Remove the note; one that can't be removed has the next daemon tell of a restore that is over."""
        with suppress(OSError):
            await asyncio.to_thread(self._remove)

    def _remove(self) -> None:
        # A daemon may have died while it wrote it, too.
        for file in self._file.parent.glob(f"*{self._file.name}*"):
            file.unlink(missing_ok=True)
