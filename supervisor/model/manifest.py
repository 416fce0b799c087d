"""What an add-on says about itself (add-on contract §1.3)."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any, Final

import attrs


class AddonStage(StrEnum):
    STABLE = "stable"
    EXPERIMENTAL = "experimental"
    DEPRECATED = "deprecated"


class AddonStartup(StrEnum):
    """The stage of the boot in which an add-on starts; `once` is a program that ends, never started at boot."""

    INITIALIZE = "initialize"
    SYSTEM = "system"
    SERVICES = "services"
    APPLICATION = "application"
    ONCE = "once"


class AddonBoot(StrEnum):
    """`manual_only` is for manifests alone: it pins `manual`."""

    AUTO = "auto"
    MANUAL = "manual"
    MANUAL_ONLY = "manual_only"


class AddonBackup(StrEnum):
    """`cold` stops the add-on while its data is copied."""

    HOT = "hot"
    COLD = "cold"


class HassioRole(StrEnum):
    DEFAULT = "default"
    HOMEASSISTANT = "homeassistant"
    BACKUP = "backup"
    MANAGER = "manager"
    ADMIN = "admin"


class ServiceRole(StrEnum):
    PROVIDE = "provide"
    WANT = "want"
    NEED = "need"


class MapType(StrEnum):
    """The shared folders; three of them have a classic and a new name, with different places in the container."""

    DATA = "data"
    CONFIG = "config"
    HOMEASSISTANT_CONFIG = "homeassistant_config"
    ADDON_CONFIG = "addon_config"
    APP_CONFIG = "app_config"
    ALL_ADDON_CONFIGS = "all_addon_configs"
    ALL_APP_CONFIGS = "all_app_configs"
    ADDONS = "addons"
    LOCAL_APPS = "local_apps"
    SSL = "ssl"
    BACKUP = "backup"
    SHARE = "share"
    MEDIA = "media"


# Classic name -> new name, which wins where a manifest has both.
RENAMED_MAPS: Final = {
    MapType.ADDON_CONFIG: MapType.APP_CONFIG,
    MapType.ALL_ADDON_CONFIGS: MapType.ALL_APP_CONFIGS,
    MapType.ADDONS: MapType.LOCAL_APPS,
}
# The deprecated `config` holds the same place in the container as these; they are ignored beside it.
CONFIG_MAPS: Final = frozenset({MapType.HOMEASSISTANT_CONFIG, MapType.ADDON_CONFIG, MapType.APP_CONFIG})

_DEFAULT_TARGETS: Final = {
    MapType.HOMEASSISTANT_CONFIG: "/homeassistant",
    MapType.ADDON_CONFIG: "/config",
    MapType.APP_CONFIG: "/config",
    MapType.ALL_ADDON_CONFIGS: "/addon_configs",
    MapType.ALL_APP_CONFIGS: "/app_configs",
}


@attrs.frozen
class MapFolder:
    """A shared folder; `path` is the place in the container that replaces the default one."""

    type: MapType
    read_only: bool = True
    path: str | None = None

    @property
    def target(self) -> str:
        """The place in the container."""
        return self.path or _DEFAULT_TARGETS.get(self.type, f"/{self.type}")


@attrs.frozen
class Ulimit:
    soft: int
    hard: int


@attrs.frozen(kw_only=True)
class Manifest:
    """An add-on's checked manifest. Each field is the key of the same name in contract §1.3, defaults filled in.

    `slug` is the slug within the repository. `schema` is none when the add-on takes no options. `config` is the
    checked configuration that this was made of: plain JSON data which, checked again, makes an equal manifest.
    """

    config: dict[str, Any] = attrs.field(repr=False)

    name: str
    version: str
    slug: str
    description: str
    arch: tuple[str, ...]
    machine: tuple[str, ...] = ()
    homeassistant: str | None = None
    url: str | None = None
    stage: AddonStage = AddonStage.STABLE
    image: str | None = None
    breaking_versions: tuple[str, ...] = ()
    legacy: bool = False

    startup: AddonStartup = AddonStartup.APPLICATION
    boot: AddonBoot = AddonBoot.AUTO
    init: bool = True
    timeout: int = 10
    watchdog: str | None = None
    stdin: bool = False

    host_network: bool = False
    ports: Mapping[str, int | None] | None = None
    ports_description: Mapping[str, str] | None = None
    webui: str | None = None

    ingress: bool = False
    ingress_port: int = 8099
    ingress_entry: str | None = None
    ingress_stream: bool = False
    panel_icon: str = "mdi:puzzle"
    panel_title: str | None = None
    panel_admin: bool = True

    hassio_api: bool = False
    hassio_role: HassioRole = HassioRole.DEFAULT
    homeassistant_api: bool = False
    auth_api: bool = False
    services: Mapping[str, ServiceRole] = attrs.field(factory=dict)
    discovery: tuple[str, ...] = ()

    apparmor: bool = True
    privileged: tuple[str, ...] = ()
    full_access: bool = False
    docker_api: bool = False
    host_pid: bool = False
    host_ipc: bool = False
    host_uts: bool = False
    host_dbus: bool = False
    devices: tuple[str, ...] = ()
    uart: bool = False
    usb: bool = False
    gpio: bool = False
    video: bool = False
    audio: bool = False
    udev: bool = False
    devicetree: bool = False
    kernel_modules: bool = False
    realtime: bool = False
    journald: bool = False
    tmpfs: bool = False
    ulimits: Mapping[str, Ulimit] = attrs.field(factory=dict)

    map: Mapping[MapType, MapFolder] = attrs.field(factory=dict)
    environment: Mapping[str, str] = attrs.field(factory=dict)
    options: dict[str, Any] = attrs.field(factory=dict)
    schema: dict[str, Any] | None = None
    backup: AddonBackup = AddonBackup.HOT
    backup_pre: str | None = None
    backup_post: str | None = None
    backup_exclude: tuple[str, ...] = ()

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Manifest:
        """Make a manifest of a configuration that `validate_manifest` returned; other keys are ignored."""
        known = {name: config[name] for name in _FIELDS if name in config}
        typed = {name: convert(known[name]) for name, convert in _CONVERTERS.items() if name in known}
        return cls(config=known, **{**known, **typed})

    @property
    def with_ingress(self) -> bool:
        return self.ingress

    @property
    def needs_build(self) -> bool:
        """The add-on has no published image: it is built on this machine."""
        return self.image is None

    @property
    def boot_config(self) -> AddonBoot:
        return self.boot

    @property
    def boot_pinned(self) -> bool:
        """The user can't choose how the add-on boots."""
        return self.boot is AddonBoot.MANUAL_ONLY

    @property
    def default_boot(self) -> AddonBoot:
        """How the add-on boots until the user chooses: `auto` or `manual`."""
        return AddonBoot.AUTO if self.boot is AddonBoot.AUTO else AddonBoot.MANUAL

    @property
    def capabilities(self) -> tuple[str, ...]:
        """The Linux capabilities to add, those that other keys imply included."""
        implied = (("SYS_MODULE", self.kernel_modules), ("SYS_NICE", self.realtime))
        return (*self.privileged, *(name for name, wanted in implied if wanted and name not in self.privileged))

    @property
    def folders(self) -> tuple[MapFolder, ...]:
        """The shared folders that count, once those that others rule out are gone (contract §1.5)."""
        ignored = {old for old, new in RENAMED_MAPS.items() if new in self.map}
        if MapType.CONFIG in self.map:
            ignored |= CONFIG_MAPS
        return tuple(folder for folder in self.map.values() if folder.type not in ignored)

    @property
    def public_config(self) -> MapFolder | None:
        """The add-on's own folder among those that people can reach, when it maps that."""
        names = (MapType.ADDON_CONFIG, MapType.APP_CONFIG)
        return next((folder for folder in self.folders if folder.type in names), None)


def _folders(entries: list[dict[str, Any]]) -> dict[MapType, MapFolder]:
    folders: dict[MapType, MapFolder] = {}
    for entry in entries:
        kind = MapType(entry["type"])
        folders[kind] = MapFolder(kind, entry["read_only"], entry.get("path"))
    return folders


def _services(entries: list[str]) -> dict[str, ServiceRole]:
    pairs = (entry.split(":") for entry in entries)
    return {service: ServiceRole(role) for service, role in pairs}


def _ulimits(limits: Mapping[str, int | Mapping[str, int]]) -> dict[str, Ulimit]:
    return {
        name: Ulimit(limit["soft"], limit["hard"]) if isinstance(limit, Mapping) else Ulimit(limit, limit)
        for name, limit in limits.items()
    }


def _schema(schema: object) -> dict[str, Any] | None:
    return schema if isinstance(schema, dict) else None


_FIELDS: Final = tuple(field.name for field in attrs.fields(Manifest) if field.name != "config")
_CONVERTERS: Final[dict[str, Any]] = {
    "arch": tuple,
    "machine": tuple,
    "breaking_versions": tuple,
    "discovery": tuple,
    "privileged": tuple,
    "devices": tuple,
    "backup_exclude": tuple,
    "stage": AddonStage,
    "startup": AddonStartup,
    "boot": AddonBoot,
    "backup": AddonBackup,
    "hassio_role": HassioRole,
    "map": _folders,
    "services": _services,
    "ulimits": _ulimits,
    "schema": _schema,
}
