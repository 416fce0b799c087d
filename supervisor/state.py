"""State on disk that survives a crash at any instant.

A save writes a temporary file, syncs it, keeps the present file as the last good copy, renames the new one over it and
syncs the folder. A file that can't be read is put aside, reported as an event, and the last good copy is used.
Of a file with secrets the last good copy is one of the new content: what was taken out of it is nowhere any more.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import voluptuous as vol

from supervisor.errors import Failed
from supervisor.events import EventBus, StateFileCorrupt, StateFileUnwritten

_LOGGER = logging.getLogger(__name__)

Schema = Callable[[Any], Any]


class StateFile:
    """One JSON file with a schema. `load` and `save` may be awaited from one event loop only.

    The schema is applied on load and before each save; it fills in defaults, so it must accept `{}`. `secret` tells
    that the file holds logins, of which none may outlast its removal.
    """

    def __init__(self, path: Path, schema: Schema, bus: EventBus, *, secret: bool = False) -> None:
        self.path = path
        self._schema = schema
        self._bus = bus
        self._secret = secret
        self._lock = asyncio.Lock()

    @property
    def _last_good(self) -> Path:
        return self.path.with_name(f".{self.path.name}.last-good")

    async def load(self) -> Any:
        """Return the checked content: of the file, else of the last good copy, else the schema's defaults."""
        async with self._lock:
            data, corrupt = await asyncio.to_thread(self._load)
        if corrupt is not None:
            _LOGGER.critical(
                "%s can't be read (%s); it is kept as %s and %s used instead",
                self.path,
                corrupt.reason,
                corrupt.kept.name,
                "the last good copy is" if corrupt.recovered else "defaults are",
            )
            self._bus.publish(corrupt)
        return data

    def _load(self) -> tuple[Any, StateFileCorrupt | None]:
        try:
            return self._read(self.path), None
        except FileNotFoundError:
            # Between the two renames of a save only the last good copy may be there.
            with contextlib.suppress(FileNotFoundError, ValueError, vol.Invalid):
                return self._read(self._last_good), None
            return self._schema({}), None
        except (OSError, ValueError, vol.Invalid) as err:
            reason, number = str(err), err.errno if isinstance(err, OSError) else None
        when = datetime.now(UTC)
        kept = self.path.with_name(f"{self.path.name}.corrupt-{when:%Y%m%dT%H%M%S%f}")
        with contextlib.suppress(OSError):
            self.path.rename(kept)
        try:
            data, recovered = self._read(self._last_good), True
        except (OSError, ValueError, vol.Invalid):
            data, recovered = self._schema({}), False
        return data, StateFileCorrupt(self.path, kept, reason, recovered, when, number)

    def _read(self, path: Path) -> Any:
        return self._schema(json.loads(path.read_bytes()))

    async def save(self, data: Any) -> None:
        """Write `data`; when this returns it is on the disk.

        The content is fixed at the call, later changes of the object don't leak in. Saves of one file are written in
        the order of the calls.

        Raises:
            vol.Invalid: the data does not fit the schema; nothing was written.
            Failed: the disk refused; the old content is still there.
        """
        # Encoded here, a matter of few milliseconds also for large files; laid out for readers in the thread.
        content = msgspec.json.encode(self._schema(data), enc_hook=str)
        async with self._lock:
            writing = asyncio.ensure_future(asyncio.to_thread(self._write, content))
            try:
                await asyncio.shield(writing)
            except asyncio.CancelledError:
                # The thread can't be stopped: the next save must wait for it, or the older content may land last.
                while not writing.done():
                    with contextlib.suppress(asyncio.CancelledError):
                        await asyncio.wait({writing})
                raise
            except OSError as err:
                self._bus.publish(StateFileUnwritten(self.path, err.errno))
                raise Failed(f"{self.path.name} can't be written: {err.strerror}") from err

    def _write(self, content: bytes) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        text = msgspec.json.format(content, indent=2)
        if self._secret:
            write_atomic(self._last_good, text)
        else:
            self._keep_present()
        write_atomic(self.path, text)

    def _keep_present(self) -> None:
        link = self.path.with_name(f".{self.path.name}.link")
        link.unlink(missing_ok=True)
        with contextlib.suppress(FileNotFoundError):
            os.link(self.path, link)
            link.rename(self._last_good)


def sync_folder(folder: Path) -> None:
    """Make the renames done in `folder` last. Blocking."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_atomic(path: Path, content: bytes, mode: int = 0o600) -> None:
    """Replace `path` by `content` so that a reader or a crash sees the old or the new whole. Blocking.

    Links that somebody planted in the folder are replaced, never followed.
    """
    temporary = path.with_name(f".{path.name}.new")
    temporary.unlink(missing_ok=True)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
    with open(os.open(temporary, flags, mode), "wb") as file:
        os.fchmod(file.fileno(), mode)
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    temporary.rename(path)
    sync_folder(path.parent)
