"""Reading a manifest of any age: old forms are renewed, doubtful ones remarked, the rest is checked.

Add-on contract §1.3 and §1.4.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import PurePosixPath
from typing import Any, Final

import voluptuous as vol

from supervisor.errors import Invalid
from supervisor.model import validators
from supervisor.model.manifest import AddonBackup, AddonBoot, AddonStage, AddonStartup, HassioRole, MapType
from supervisor.model.manifest_migration import advisories, migrate
from supervisor.model.options import check_schema
from supervisor.model.platforms import KNOWN_ARCHES, KNOWN_MACHINES
from supervisor.model.url_template import watchdog, webui
from supervisor.model.validators import boolean, text

DYNAMIC_INGRESS_PORTS: Final = range(62000, 65501)
CAPABILITIES: Final = frozenset(
    {
        "BPF",
        "CHECKPOINT_RESTORE",
        "DAC_READ_SEARCH",
        "IPC_LOCK",
        "NET_ADMIN",
        "NET_RAW",
        "PERFMON",
        "SYS_ADMIN",
        "SYS_MODULE",
        "SYS_NICE",
        "SYS_PTRACE",
        "SYS_RAWIO",
        "SYS_RESOURCE",
        "SYS_TIME",
    }
)
_MAX_SLUG_LENGTH: Final = 128
_SLUG = re.compile(r"[A-Za-z0-9_.-]+")
_SERVICE = re.compile(r"(?:mqtt|mysql):(?:provide|want|need)")


def validate_manifest(raw: object) -> tuple[dict[str, Any], list[str]]:
    """Return the checked configuration of an add-on and remarks for its author, which the caller logs.

    Raises:
        Invalid: one line for each problem, naming the key.
    """
    if not isinstance(raw, dict):
        raise Invalid("expected a dictionary of the manifest's keys")
    if "name" not in raw:
        raise Invalid("required key not provided @ data['name']. Got None")
    config, remarks = migrate(raw)
    try:
        remarks += advisories(config)
        checked: dict[str, Any] = _MANIFEST(config)
    except vol.Invalid as err:
        raise Invalid(validators.describe(config, err)) from err
    except RecursionError as err:
        raise Invalid("the manifest is nested too deeply") from err
    return checked, [remark.text for remark in remarks]


def find_problems(config: dict[Any, Any]) -> list[vol.Invalid]:
    """Return what is wrong with a migrated configuration: errors with a path and a text each."""
    try:
        _MANIFEST(config)
    except vol.MultipleInvalid as err:
        return list(err.errors)
    except vol.Invalid as err:
        return [err]
    except RecursionError:
        return [vol.Invalid("the manifest is nested too deeply")]
    return []


def image_name(config: dict[str, Any], arch: str, repository: str) -> str:
    """Return the image of an add-on on an architecture: the published one, or the name of the one built here."""
    published = config.get("image")
    if published is not None:
        return str(published).replace("{arch}", arch)
    # The engine wants names in lower case, slugs need not be.
    return f"{repository}/{arch}-addon-{config['slug']}".lower()


def _trimmed(value: Any) -> str:
    # A folded YAML block, which people like for long addresses, ends with a line break.
    return text(value).rstrip("\r\n")


def _slug(value: Any) -> str:
    if not isinstance(value, str) or not _SLUG.fullmatch(value) or len(value) > _MAX_SLUG_LENGTH:
        raise vol.MatchInvalid("expected a slug of letters, digits, dots, dashes and underscores")
    if ".." in value:
        # No path of the API may hold them: it could be shown, but neither installed nor removed.
        raise vol.MatchInvalid("expected a slug without two dots in a row")
    return value


def _arch(value: Any) -> str:
    if not isinstance(value, str) or value not in KNOWN_ARCHES:
        raise vol.InInvalid(f"expected one of {', '.join(sorted(KNOWN_ARCHES))}")
    return value


def _machine(value: Any) -> str:
    if not isinstance(value, str) or value.removeprefix("!") not in KNOWN_MACHINES:
        raise vol.InInvalid("expected the name of a known machine, with ! in front to exclude it")
    return value


def _capability(value: Any) -> str:
    if not isinstance(value, str) or value not in CAPABILITIES:
        raise vol.InInvalid(f"expected one of {', '.join(sorted(CAPABILITIES))}")
    return value


def _service(value: Any) -> str:
    if not isinstance(value, str) or not _SERVICE.fullmatch(value):
        raise vol.MatchInvalid("expected mqtt: or mysql: and one of provide, want, need")
    return value


def _timeout(value: Any) -> int:
    seconds = validators.lenient_int(value)
    if not 10 <= seconds <= 300:
        raise vol.RangeInvalid("expected 10 to 300 seconds")
    return seconds


def _ingress_port(value: Any) -> int:
    return 0 if validators.lenient_int(value) == 0 else validators.port(value)


def _apparmor(value: Any) -> bool:
    # The documentation promises the name of a profile here too; it means "on" (contract §7.4, no. 17).
    if isinstance(value, str) and value.lower() not in validators.TRUE_WORDS | validators.FALSE_WORDS:
        return True
    return boolean(value)


def _environment_key(value: Any) -> str:
    key = text(value)
    if not key or "=" in key or "\0" in key:
        raise vol.MatchInvalid("expected the name of an environment variable")
    return key


def _environment_value(value: Any) -> str:
    if "\0" in text(value):
        raise vol.Invalid("expected str without NUL")
    return str(value)


def _option_schema(value: Any) -> dict[str, Any] | bool:
    if value is None:
        return False
    if isinstance(value, dict):
        # First into JSON's shape, so that the keys are those that options will have.
        return check_schema(validators.json_object(value))
    return boolean(value)


def _target(value: Any) -> str:
    path = text(value)
    if not path.startswith("/") or "\0" in path or ":" in path:
        raise vol.Invalid("expected an absolute path in the container")
    # Two slashes at the beginning are something else in POSIX, not here.
    place = posixpath.normpath(f"/{path.lstrip('/')}")
    if place == "/" or PurePosixPath(place).is_relative_to("/proc"):
        raise vol.Invalid("expected another place in the container than / and /proc, where nothing can be shown")
    return path


def _ingress_port_is_free(config: dict[str, Any]) -> dict[str, Any]:
    """Refuse a dynamic ingress port beside published ports out of the same range."""
    declared = (int(key.split("/")[0]) for key in config.get("ports") or {})
    if config["ingress_port"] == 0 and any(port in DYNAMIC_INGRESS_PORTS for port in declared):
        raise vol.Invalid(
            f"expected no port from {DYNAMIC_INGRESS_PORTS.start} to {DYNAMIC_INGRESS_PORTS.stop - 1} "
            "with a dynamic ingress_port",
            ["ports"],
        )
    return config


_BOOL_KEYS: Final[dict[Any, Any]] = {
    "legacy": False,
    "init": True,
    "stdin": False,
    "host_network": False,
    "ingress": False,
    "ingress_stream": False,
    "panel_admin": True,
    "hassio_api": False,
    "homeassistant_api": False,
    "auth_api": False,
    "full_access": False,
    "docker_api": False,
    "host_pid": False,
    "host_ipc": False,
    "host_uts": False,
    "host_dbus": False,
    "uart": False,
    "usb": False,
    "gpio": False,
    "video": False,
    "audio": False,
    "udev": False,
    "devicetree": False,
    "kernel_modules": False,
    "realtime": False,
    "journald": False,
    "tmpfs": False,
}

_MAP_ENTRY: Final = {
    vol.Required("type"): validators.one_of(MapType),
    vol.Optional("read_only", default=True): boolean,
    vol.Optional("path"): _target,
}

_ULIMIT: Final = vol.Any(
    validators.lenient_int,
    vol.Schema(
        {vol.Required("soft"): validators.lenient_int, vol.Required("hard"): validators.lenient_int},
        extra=vol.REMOVE_EXTRA,
    ),
    msg="expected int or a dictionary with soft and hard",
)

_KEYS: Final[dict[Any, Any]] = {
    vol.Required("name"): validators.non_empty_text,
    vol.Required("version"): validators.required_version,
    vol.Required("slug"): _slug,
    vol.Required("description"): text,
    vol.Required("arch"): [_arch],
    vol.Optional("machine"): validators.unique_list(_machine),
    vol.Optional("homeassistant"): validators.version,
    vol.Optional("url"): vol.All(_trimmed, validators.url),
    vol.Optional("stage", default="stable"): validators.one_of(AddonStage),
    vol.Optional("image"): validators.docker_image,
    vol.Optional("breaking_versions", default=list): [validators.required_version],
    vol.Optional("startup", default="application"): validators.one_of(AddonStartup),
    vol.Optional("boot", default="auto"): validators.one_of(AddonBoot),
    vol.Optional("timeout", default=10): _timeout,
    vol.Optional("watchdog"): vol.All(_trimmed, watchdog),
    vol.Optional("ports"): validators.network_ports,
    vol.Optional("ports_description"): vol.Schema({validators.port_key: text}),
    vol.Optional("webui"): vol.All(_trimmed, webui),
    vol.Optional("ingress_port", default=8099): _ingress_port,
    vol.Optional("ingress_entry"): text,
    vol.Optional("panel_icon", default="mdi:puzzle"): text,
    vol.Optional("panel_title"): text,
    vol.Optional("hassio_role", default="default"): validators.one_of(HassioRole),
    vol.Optional("services"): [_service],
    vol.Optional("discovery"): [text],
    vol.Optional("apparmor", default=True): _apparmor,
    vol.Optional("privileged"): [_capability],
    vol.Optional("devices"): [text],
    vol.Optional("ulimits", default=dict): vol.Schema({text: _ULIMIT}),
    vol.Optional("map", default=list): [_MAP_ENTRY],
    vol.Optional("environment"): vol.Schema({_environment_key: _environment_value}),
    vol.Optional("options", default=dict): validators.json_object,
    vol.Optional("schema", default=dict): _option_schema,
    vol.Optional("backup", default="hot"): validators.one_of(AddonBackup),
    vol.Optional("backup_pre"): text,
    vol.Optional("backup_post"): text,
    vol.Optional("backup_exclude"): [text],
    **{vol.Optional(key, default=default): boolean for key, default in _BOOL_KEYS.items()},
}

_MANIFEST: Final = vol.Schema(vol.All(vol.Schema(_KEYS, extra=vol.REMOVE_EXTRA), _ingress_port_is_free))

MANIFEST_KEYS: Final = frozenset(str(key) for key in _KEYS)
