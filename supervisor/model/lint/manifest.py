"""A manifest against the store's own schema, and what that schema has no eye for (add-on contract §1.3-§1.6)."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final

from supervisor.model import version
from supervisor.model.manifest import Manifest
from supervisor.model.manifest_migration import RENAMED_KEYS, Remark, advisories, migrate
from supervisor.model.manifest_schema import MANIFEST_KEYS, find_problems, validate_manifest
from supervisor.model.platforms import DEAD_ARCHES
from supervisor.model.url_template import WatchdogUrl, WebUi

from .finding import Notes
from .option_defaults import check_options

_DEAD_KEYS: Final = frozenset({"advanced", "codenotary"})
_MAP_KEYS: Final = ("type", "read_only", "path")
_ULIMIT_KEYS: Final = ("soft", "hard")
# Key -> the keys without which it does nothing.
_NEEDS: Final = {
    "ingress_port": "ingress",
    "ingress_entry": "ingress",
    "ingress_stream": "ingress",
    "panel_icon": "ingress",
    "panel_title": "ingress",
    "panel_admin": "ingress",
    "hassio_role": "hassio_api",
}
_MIN_LIKENESS: Final = 0.7


def check_manifest(notes: Notes) -> Manifest | None:
    """Note what is wrong with a manifest; return it when the store would accept it."""
    raw = notes.document.value
    if not isinstance(raw, dict):
        notes.error("no-manifest", (), "a manifest is a mapping of keys to values")
        return None
    _keys_as_written(notes)
    config, remarks = migrate(raw)
    _unknown_keys(notes, raw)
    _old_forms(notes, raw)
    for remark in (*remarks, *advisories(config)):
        notes.advice("doubtful", _as_written(remark.path, raw, remarks), remark.text)
    problems = find_problems(config)
    for problem in problems:
        path = _as_written(_readable(problem.path, config), raw, remarks)
        notes.error("schema", path, problem.error_message)
    _numbers(notes, raw)
    if problems:
        return None
    manifest = Manifest.from_config(validate_manifest(raw)[0])
    _platforms(notes, manifest)
    _versions(notes, manifest)
    _network(notes, manifest, raw)
    for key, needed in _NEEDS.items():
        if key in raw and not getattr(manifest, needed) and getattr(manifest, key) is not False:
            notes.advice("no-effect", (key,), f"has no effect without {needed}: true")
    check_options(notes, manifest)
    return manifest


def _keys_as_written(notes: Notes) -> None:
    for key, place in notes.document.duplicates():
        message = f"the key {key[:80]!r} stands here a second time: what was written first has no effect"
        notes.findings.advice("duplicate-key", message, notes.document.file, *place)
    for key, place in notes.document.words_as_keys():
        message = f"the key {key} means true or false without quotes: write '{key}'"
        notes.findings.advice("word-as-key", message, notes.document.file, *place)


def suggestion(word: str, known: Collection[str]) -> str:
    """Return a question after what may have been meant, or nothing."""
    likely = difflib.get_close_matches(word[:80], sorted(known), 1, _MIN_LIKENESS)
    return f"; did you mean {likely[0]!r}?" if likely else ""


def _readable(path: Sequence[object], config: object) -> list[str | int]:
    """Return a path with numbers for places in lists alone."""
    readable: list[str | int] = []
    for step in path:
        if isinstance(config, list) and isinstance(step, int):
            readable.append(step)
            config = config[step] if step < len(config) else None
        else:
            readable.append(str(step))
            config = config.get(step) if isinstance(config, dict) else None
    return readable


def _as_written(path: Sequence[str | int], raw: Mapping[Any, Any], remarks: Sequence[Remark]) -> Sequence[str | int]:
    """Return where the author wrote what the renewed configuration has at `path`."""
    if not path:
        return path
    first, *rest = path
    if first not in raw:
        first = next((old for old, new in RENAMED_KEYS.items() if new == first and old in raw), first)
    # Remarks on map entries that were left out have the places of old already.
    if first == "map" and rest and not any(remark.path == tuple(path) for remark in remarks):
        for remark in remarks:
            index = remark.path[1]
            if isinstance(index, int) and isinstance(rest[0], int) and index <= rest[0]:
                rest[0] += 1
    return first, *rest


def _unknown_keys(notes: Notes, raw: Mapping[Any, Any]) -> None:
    known = MANIFEST_KEYS | RENAMED_KEYS.keys() | _DEAD_KEYS
    for key in raw:
        if key not in known:
            notes.advice("unknown-key", (key,), f"is no key of a manifest and is ignored{suggestion(str(key), known)}")
    for name, keys in (("map", _MAP_KEYS), ("ulimits", _ULIMIT_KEYS)):
        held = raw.get(name)
        entries = enumerate(held) if isinstance(held, list) else held.items() if isinstance(held, dict) else ()
        for place, entry in entries:
            for key in entry if isinstance(entry, dict) else ():
                if key not in keys:
                    text = f"is unknown here and is ignored{suggestion(str(key), keys)}"
                    notes.advice("unknown-key", (name, place, key), text)


def _old_forms(notes: Notes, raw: Mapping[Any, Any]) -> None:
    for old, new in RENAMED_KEYS.items():
        if old in raw:
            ignored = f" and is ignored beside {new!r}" if new in raw else ""
            notes.advice("deprecated-key", (old,), f"is now called {new!r}{ignored}")
    if raw.get("startup") in ("before", "after"):
        notes.advice("deprecated-value", ("startup",), "'before' is now 'services', 'after' is now 'application'")
    devices = raw.get("devices")
    for index, device in enumerate(devices if isinstance(devices, list) else ()):
        if isinstance(device, str) and ":" in device:
            notes.advice("deprecated-value", ("devices", index), "only the path before the colon counts")
    if "tmpfs" in raw and not isinstance(raw["tmpfs"], bool):
        notes.advice("deprecated-value", ("tmpfs",), "means true, whatever stands here")


def _numbers(notes: Notes, raw: Mapping[Any, Any]) -> None:
    """Versions that YAML takes for numbers: 1.10 is 1.1 then."""
    breaking = raw.get("breaking_versions")
    paths: list[tuple[str | int, ...]] = [("version",), ("homeassistant",)]
    paths += [("breaking_versions", index) for index in range(len(breaking) if isinstance(breaking, list) else 0)]
    for path in paths:
        value = raw.get(path[0])
        if len(path) > 1 and isinstance(value, list):
            value = value[int(path[1])]
        if isinstance(value, bool) or not isinstance(value, int | float):
            continue
        node = notes.document.scalar(path)
        if node is not None and node.value != str(value):
            text = f'is the number {value} without quotes: write "{node.value}"'
            notes.error("unquoted-version", path, text)
        else:
            notes.advice("unquoted-version", path, f'put it in quotes, as in "{value}": without them it is a number')


def _platforms(notes: Notes, manifest: Manifest) -> None:
    if DEAD_ARCHES.issuperset(manifest.arch):
        notes.error("dead-arch", ("arch",), "no machine can run this: the architectures are amd64 and aarch64")
    negations = [name for name in manifest.machine if name.startswith("!")]
    if negations and len(negations) == len(manifest.machine):
        text = "a list of nothing but exclusions matches no machine at all on older installations"
        notes.advice("machine", ("machine",), text)
    elif negations:
        text = f"{', '.join(negations)}: exclusions have no effect beside machines that are named without !"
        superfluous = [name for name in negations if name[1:] not in manifest.machine]
        if superfluous:
            notes.advice("machine", ("machine",), text)


def _versions(notes: Notes, manifest: Manifest) -> None:
    if not version.is_known(manifest.version):
        notes.advice("version", ("version",), f"{manifest.version!r} follows no version scheme that can be compared")
    if manifest.homeassistant is not None and not version.is_known(manifest.homeassistant):
        notes.advice("version", ("homeassistant",), "follows no version scheme, so it is not checked")


def _network(notes: Notes, manifest: Manifest, raw: Mapping[Any, Any]) -> None:
    ports = manifest.ports or {}
    declared = {_port_name(key) for key in ports}
    for key in manifest.ports_description or {}:
        if _port_name(key) not in declared:
            notes.advice("undeclared-port", ("ports_description", key), "describes a port that 'ports' doesn't declare")
    templates: list[tuple[str, WebUi | WatchdogUrl]] = []
    if manifest.webui is not None:
        templates.append(("webui", WebUi.parse(manifest.webui)))
    if manifest.watchdog is not None:
        templates.append(("watchdog", WatchdogUrl.parse(manifest.watchdog)))
    for key, template in templates:
        mapped = "[PORT:" in str(raw.get(key))
        if mapped and f"{template.port}/tcp" not in declared and not manifest.host_network:
            notes.advice("undeclared-port", (key,), f"[PORT:{template.port}] is no TCP port that 'ports' declares")
        if template.option is not None and template.option not in (manifest.schema or {}):
            notes.advice("unknown-option", (key,), f"[PROTO:{template.option}] names no option of 'schema'")


def _port_name(key: str) -> str:
    return key if "/" in key else f"{key}/tcp"
