"""What a backup says about itself: `backup.json` (backup contract §3)."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from datetime import MAXYEAR, UTC, datetime
from enum import StrEnum
from typing import Any, Final

import attrs
import msgspec
import voluptuous as vol

from supervisor.const import BUILTIN_REPOSITORIES
from supervisor.errors import BackupInvalidError
from supervisor.model.validators import json_object

VERSION: Final = 2
CORE_FOLDER: Final = "homeassistant"
FOLDERS: Final = ("share", "addons/local", "ssl", "media")
_OLDEST: Final = "2022.08.3"
_MOST_MIB: Final = 2**40
_REPOSITORY: Final = re.compile(r"(?:https?|git|ssh|file)://\S+|[\w.-]+@\S+:\S+", re.IGNORECASE)
# With its repository's an add-on's slug is longer than the 128 characters of a manifest; it becomes a file's name, too.
SLUG: Final = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]{0,199}")
_VERY_OLD: Final = datetime.fromtimestamp(0, UTC)


class BackupType(StrEnum):
    FULL = "full"
    PARTIAL = "partial"


@attrs.frozen
class SavedAddon:
    """`size` is in MiB, as in the file. `imageless`: its image was gone; other systems leave that key out."""

    slug: str
    name: str
    version: str
    size: float = 0.0
    imageless: bool = attrs.field(default=False, kw_only=True)

    def as_json(self) -> dict[str, Any]:
        # Said only where it is so: files without a gap look as they always did.
        return attrs.asdict(self, filter=lambda field, value: field.name != "imageless" or value)


@attrs.frozen
class SavedCore:
    """Home Assistant Core's configuration; `size` is in MiB."""

    version: str
    exclude_database: bool = False
    size: float = 0.0


@attrs.frozen
class Metadata:
    """`date` is the text of the file, for it is part of what makes two copies equal. `more` holds keys of others."""

    slug: str
    name: str
    date: str
    type: BackupType
    supervisor_version: str = _OLDEST
    compressed: bool = True
    protected: bool = False
    homeassistant: SavedCore | None = None
    folders: tuple[str, ...] = ()
    addons: tuple[SavedAddon, ...] = ()
    repositories: tuple[str, ...] = ()
    extra: Mapping[str, Any] = attrs.field(factory=dict)
    version: int = VERSION
    more: Mapping[str, Any] = attrs.field(factory=dict)

    @property
    def moment(self) -> datetime:
        """When it was made, in UTC; a date that can't be counts as very old, one without a time zone as UTC."""
        try:
            moment = datetime.fromisoformat(self.date)
            moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
        except (ValueError, OverflowError):
            return _VERY_OLD
        # The first and the last year don't exist in every time zone.
        return moment if _VERY_OLD.year <= moment.year < MAXYEAR else _VERY_OLD

    def member(self, item: str) -> str:
        """Return the name of an item's inner archive."""
        return f"{item.replace('/', '_')}.tar{'.gz' if self.compressed else ''}"

    def as_json(self) -> dict[str, Any]:
        core = None if self.homeassistant is None else attrs.asdict(self.homeassistant)
        return {
            **self.more,
            "slug": self.slug,
            "version": self.version,
            "name": self.name,
            "date": self.date,
            "type": self.type.value,
            "supervisor_version": self.supervisor_version,
            "extra": dict(self.extra),
            "compressed": self.compressed,
            "protected": self.protected,
            "homeassistant": core,
            "folders": list(self.folders),
            "addons": [addon.as_json() for addon in self.addons],
            "repositories": list(self.repositories),
        }

    def packed(self) -> bytes:
        """Return the file's content."""
        return json.dumps(self.as_json(), separators=(",", ":"), ensure_ascii=False).encode()

    def same_as(self, other: Metadata) -> bool:
        """Tell whether both speak of one backup, which may be kept encrypted in one place and open in another."""
        mine, theirs = self.as_json(), other.as_json()
        for key in ("protected", "docker"):
            mine.pop(key, None)
            theirs.pop(key, None)
        return mine == theirs


def new_slug(date: str, name: str) -> str:
    # The contract's name for a backup, nothing that protects anything.
    return hashlib.sha1(f"{date} - {name}".lower().encode(), usedforsecurity=False).hexdigest()[:8]


def _slug(value: Any) -> str:
    # It becomes part of paths and of requests.
    if not isinstance(value, str) or not SLUG.fullmatch(value):
        raise vol.Invalid("expected a slug")
    return value


def _folders(value: Any) -> list[str]:
    checked: list[str] = vol.Schema([str])(value)
    folders = [folder for folder in checked if folder != CORE_FOLDER]
    if len(set(folders)) != len(folders) or set(folders) - set(FOLDERS):
        raise vol.Invalid(f"expected a unique list of {', '.join(FOLDERS)}")
    return folders


def _repositories(value: Any) -> list[str]:
    """Drop what is no source of a repository: what is saved can be restored without it."""
    sources: list[Any] = vol.Schema(list)(value)
    known = (one for one in sources if isinstance(one, str))
    return list(dict.fromkeys(one for one in known if one in BUILTIN_REPOSITORIES or _REPOSITORY.fullmatch(one)))


def _unique_addons(addons: list[Any]) -> list[Any]:
    if len({addon["slug"] for addon in addons}) != len(addons):
        raise vol.Invalid("expected a unique list")
    return addons


def _core(value: Any) -> Any:
    if not value or (isinstance(value, dict) and value.get("version") is None):
        return None
    return _CORE(value)


def _protected(value: Any) -> bool:
    # Old files had a text here.
    return value if isinstance(value, bool) else True


def _size(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < _MOST_MIB:
        raise vol.Invalid("expected a size")
    return float(value)


_CORE: Final = vol.Schema(
    {
        vol.Required("version"): str,
        vol.Optional("exclude_database", default=False): bool,
        vol.Optional("size", default=0.0): _size,
    },
    extra=vol.REMOVE_EXTRA,
)
_ADDON: Final = vol.Schema(
    {
        vol.Required("slug"): _slug,
        vol.Required("name"): str,
        vol.Required("version"): vol.All(vol.Any(str, int, float), str),
        vol.Optional("size", default=0.0): _size,
        vol.Optional("imageless", default=False): bool,
    },
    extra=vol.REMOVE_EXTRA,
)
_SCHEMA: Final = vol.Schema(
    {
        vol.Optional("version", default=1): vol.All(int, vol.In([1, 2])),
        vol.Optional("supervisor_version", default=_OLDEST): str,
        vol.Required("slug"): _slug,
        vol.Required("type"): vol.In([kind.value for kind in BackupType]),
        vol.Required("name"): str,
        vol.Required("date"): str,
        vol.Optional("compressed", default=True): bool,
        vol.Optional("protected", default=False): _protected,
        vol.Optional("crypto"): vol.Any(None, "aes128"),
        vol.Optional("homeassistant", default=None): _core,
        vol.Optional("folders", default=list): _folders,
        vol.Optional("addons", default=list): vol.All([_ADDON], _unique_addons),
        vol.Optional("repositories", default=list): _repositories,
        vol.Optional("extra", default=dict): dict,
    },
    extra=vol.ALLOW_EXTRA,
)


def read_metadata(content: bytes) -> Metadata:
    """Read `backup.json`.

    Raises:
        BackupInvalidError: it is no JSON, or does not describe a backup.
    """
    try:
        data = _SCHEMA(json_object(msgspec.json.decode(content)))
    except (ValueError, RecursionError) as err:
        raise BackupInvalidError(f"The description of the backup is no JSON: {err}") from err
    except vol.Invalid as err:
        raise BackupInvalidError(f"The description of the backup makes no sense: {str(err)[:500]}") from err
    data.pop("crypto", None)
    core = data.pop("homeassistant")
    return Metadata(
        slug=data.pop("slug"),
        name=data.pop("name"),
        date=data.pop("date"),
        type=BackupType(data.pop("type")),
        supervisor_version=data.pop("supervisor_version"),
        compressed=data.pop("compressed"),
        protected=data.pop("protected"),
        homeassistant=None if core is None else SavedCore(**core),
        folders=tuple(data.pop("folders")),
        addons=tuple(SavedAddon(**addon) for addon in data.pop("addons")),
        repositories=tuple(data.pop("repositories")),
        extra=data.pop("extra"),
        version=data.pop("version"),
        more=data,
    )
