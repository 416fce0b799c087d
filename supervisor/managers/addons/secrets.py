"""The secrets that options may name: Home Assistant's `secrets.yaml` (add-on contract §1.7)."""

from __future__ import annotations

import asyncio
import logging
import time
from pathlib import Path

from supervisor.errors import Invalid
from supervisor.model.manifest_files import read_config_file

_LOGGER = logging.getLogger(__name__)

Secret = str | int | float | bool
FRESH_SECONDS = 60.0


class SecretsFile:
    """Scalar entries only; the file is read again when the last reading is a minute old."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._secrets: dict[str, Secret] = {}
        self._read_at: float | None = None

    def get(self, name: str) -> Secret | None:
        return self._secrets.get(name)

    async def refresh(self) -> None:
        """Read the file if that is due; an unreadable one keeps the secrets known so far."""
        if self._read_at is not None and time.monotonic() - self._read_at < FRESH_SECONDS:
            return
        self._read_at = time.monotonic()
        try:
            content = await asyncio.to_thread(self._read)
        except Invalid as err:
            _LOGGER.warning("%s", err)
        else:
            entries = content.items() if isinstance(content, dict) else ()
            self._secrets = {str(key): value for key, value in entries if isinstance(value, str | int | float | bool)}

    def _read(self) -> object:
        return read_config_file(self._path) if self._path.exists() else {}
