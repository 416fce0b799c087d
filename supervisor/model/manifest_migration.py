"""Old forms of manifests, and remarks on doubtful ones (add-on contract §1.4). Nothing here trusts a type."""

from __future__ import annotations

import re
from typing import Any, Final

import attrs

from supervisor.model.manifest import CONFIG_MAPS, RENAMED_MAPS, MapType
from supervisor.model.platforms import DEAD_ARCHES, DEPRECATED_MACHINES

_STARTUP: Final = {"before": "services", "after": "application"}
# Key of old -> today's.
RENAMED_KEYS: Final = {
    "auto_uart": "uart",
    "snapshot": "backup",
    "snapshot_pre": "backup_pre",
    "snapshot_post": "backup_post",
    "snapshot_exclude": "backup_exclude",
}
_MAP_TEXT = re.compile(rf"({'|'.join(MapType)})(?::(rw|ro))?")
_ENVIRONMENT_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


@attrs.frozen
class Remark:
    """Something doubtful; `path` leads to it in the manifest as its author wrote it."""

    path: tuple[str | int, ...]
    text: str


def migrate(raw: dict[Any, Any]) -> tuple[dict[Any, Any], list[Remark]]:
    """Return a copy in today's form, and remarks on what had to be left out."""
    config = dict(raw)
    for old, new in RENAMED_KEYS.items():
        if old in config:
            value = config.pop(old)
            config.setdefault(new, value)
    startup = config.get("startup")
    if isinstance(startup, str):
        config["startup"] = _STARTUP.get(startup, startup)
    if isinstance(config.get("devices"), list):
        config["devices"] = [
            device.split(":", 1)[0] if isinstance(device, str) else device for device in config["devices"]
        ]
    if "tmpfs" in config and not isinstance(config["tmpfs"], bool):
        config["tmpfs"] = True
    remarks: list[Remark] = []
    if isinstance(config.get("map"), list):
        config["map"] = _migrate_map(config["map"], remarks)
    return config, remarks


def _migrate_map(entries: list[Any], remarks: list[Remark]) -> list[Any]:
    migrated: list[Any] = []
    for index, entry in enumerate(entries):
        here = ("map", index)
        if isinstance(entry, str):
            found = _MAP_TEXT.fullmatch(entry)
            if found is None:
                remarks.append(Remark(here, f"the map entry {entry[:80]!r} names no known folder and is ignored"))
                continue
            migrated.append({"type": found[1], "read_only": found[2] != "rw"})
        elif isinstance(entry, dict) and "type" not in entry:
            remarks.append(Remark(here, "a map entry without a type is ignored"))
        else:
            migrated.append(entry)
    return migrated


def advisories(config: dict[Any, Any]) -> list[Remark]:
    """Return remarks on a migrated, still unchecked configuration."""
    remarks = [Remark((key,), f"'{key}' has no effect any more") for key in ("advanced", "codenotary") if key in config]
    remarks += _on_platforms(config)
    if config.get("full_access") and any(config.get(key) for key in ("devices", "uart", "usb", "gpio")):
        text = "'full_access' makes 'devices', 'uart', 'usb' and 'gpio' superfluous"
        remarks.append(Remark(("full_access",), text))
    if config.get("backup") == "cold":
        remarks += [
            Remark((key,), f"'{key}' doesn't run around a cold backup")
            for key in ("backup_pre", "backup_post")
            if config.get(key)
        ]
    remarks += _on_maps(config)
    if isinstance(config.get("environment"), dict):
        remarks += [
            Remark(
                ("environment", name), f"the environment variable {name[:80]!r} has a name that programs may not find"
            )
            for name in config["environment"]
            if isinstance(name, str) and not _ENVIRONMENT_NAME.fullmatch(name)
        ]
    return remarks


def _on_platforms(config: dict[Any, Any]) -> list[Remark]:
    arches = _texts(config.get("arch")) & DEAD_ARCHES
    machines = {name.removeprefix("!") for name in _texts(config.get("machine"))} & DEPRECATED_MACHINES
    remarks = []
    if arches:
        remarks.append(Remark(("arch",), f"no machine has the architectures {', '.join(sorted(arches))} any more"))
    if machines:
        remarks.append(Remark(("machine",), f"the machines {', '.join(sorted(machines))} are no longer supported"))
    return remarks


def _on_maps(config: dict[Any, Any]) -> list[Remark]:
    entries = config.get("map")
    if not isinstance(entries, list):
        return []
    types = _texts([entry.get("type") for entry in entries if isinstance(entry, dict)])
    texts = []
    for old, new in RENAMED_MAPS.items():
        if old in types and new in types:
            texts.append(f"the map '{old}' is ignored beside '{new}'")
        elif old in types:
            texts.append(f"the map '{old}' is now called '{new}'")
    if MapType.CONFIG in types:
        texts.append(f"the map '{MapType.CONFIG}' is deprecated in favour of '{MapType.HOMEASSISTANT_CONFIG}'")
        ignored = sorted(types & CONFIG_MAPS)
        if ignored:
            texts.append(f"the maps {', '.join(ignored)} are ignored beside '{MapType.CONFIG}'")
    return [Remark(("map",), text) for text in texts]


def _texts(value: Any) -> set[str]:
    return {item for item in value if isinstance(item, str)} if isinstance(value, list) else set()
