"""What there is of Home Assistant Core on the disk: its settings and its configuration folder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

import attrs
from awesomeversion import AwesomeVersion

from supervisor.drivers.archive.writer import Encryption
from supervisor.errors import HomeAssistantBackupError
from supervisor.paths import DataPaths

NO_VERSION: Final = "landingpage"
_SEALED_SINCE: Final = "2026.3.0"


@attrs.frozen
class CoreData:
    """`settings` is the content of `homeassistant.json`, empty where there is none."""

    settings: dict[str, Any]
    present: bool

    @property
    def version(self) -> str:
        version = self.settings.get("version")
        return version if isinstance(version, str) and version else NO_VERSION

    @property
    def exclude_database(self) -> bool:
        return self.settings.get("backups_exclude_database") is True

    @property
    def encryption(self) -> Encryption:
        """The newest encryption that the installed Core can read (backup contract §5.1)."""
        if self.version == NO_VERSION:
            return Encryption.AES
        version = AwesomeVersion(self.version)
        return Encryption.SECRETSTREAM if version.valid and version >= _SEALED_SINCE else Encryption.AES


def settings_file(paths: DataPaths) -> Path:
    return paths.root / "homeassistant.json"


def read_core(paths: DataPaths) -> CoreData:
    """Look what there is. Blocking.

    Raises:
        HomeAssistantBackupError: it can't be read.
    """
    try:
        text = settings_file(paths).read_bytes()
    except FileNotFoundError:
        text = b"{}"
    except OSError as err:
        raise HomeAssistantBackupError(f"Home Assistant's settings can't be read: {err.strerror}") from err
    try:
        settings = json.loads(text)
    except ValueError as err:
        raise HomeAssistantBackupError(f"Home Assistant's settings are no JSON: {err}") from err
    if not isinstance(settings, dict):
        raise HomeAssistantBackupError("Home Assistant's settings are no object")
    try:
        filled = any(paths.homeassistant.iterdir())
    except FileNotFoundError:
        filled = False
    except OSError as err:
        raise HomeAssistantBackupError(f"Home Assistant's folder can't be read: {err.strerror}") from err
    return CoreData(settings, bool(settings) or filled)
