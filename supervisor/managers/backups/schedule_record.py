"""A schedule: when backups are made by themselves, of what, where to, and how long they are kept."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

import attrs
import voluptuous as vol

from supervisor.model.validators import non_empty_text, strict_bool, strict_int, text, time_zone

from .metadata import SLUG
from .repository_record import iso, moment
from .retention import RETENTION_SCHEMA, Retention
from .schedule_times import cron

FOLDERS: Final = ("homeassistant", "share", "addons/local", "ssl", "media")
ALL: Final = "ALL"
_ID: Final = re.compile(r"[0-9a-f]{16}")


def _unique(values: list[Any]) -> list[Any]:
    if len(set(values)) != len(values):
        raise vol.Invalid("contains the same twice")
    return values


def _identifier(value: Any) -> str:
    if not isinstance(value, str) or not _ID.fullmatch(value):
        raise vol.Invalid("expected the identifier of a schedule")
    return value


def _location(value: Any) -> str | None:
    if value is None or value in ("", ".local"):
        return None
    return non_empty_text(value)


def _slug(value: Any) -> str:
    if not isinstance(value, str) or not SLUG.fullmatch(value):
        raise vol.Invalid("expected the slug of an add-on")
    return value


@attrs.frozen
class Included:
    """What is saved: everything, or these things; `addons` None means all that are installed then."""

    full: bool = True
    homeassistant: bool = False
    addons: tuple[str, ...] | None = ()
    folders: tuple[str, ...] = ()
    exclude_database: bool | None = None

    def as_state(self) -> dict[str, Any]:
        addons: Any = ALL if self.addons is None else list(self.addons)
        return {
            "full": self.full,
            "homeassistant": self.homeassistant,
            "addons": addons,
            "folders": list(self.folders),
            "exclude_database": self.exclude_database,
        }


@attrs.frozen
class LastRun:
    """When it was last due, when its work began and ended, and how. Without `ended` it is running or was cut off.

    `error` beside a `slug` tells what is not in that backup, or in which place it is not.
    """

    due: datetime
    began: datetime
    ended: datetime | None = None
    slug: str | None = None
    error: str | None = None
    attempts: int = 1


@attrs.frozen
class Timing:
    """When something is due. Without a zone the daemon's own counts; `since` is from when on a time can be missed."""

    cron: str
    time_zone: str | None
    since: datetime


@attrs.frozen
class Schedule:
    """`locations` are as in the API; none is the default one. The password encrypts archives."""

    id: str
    name: str
    timing: Timing
    included: Included = attrs.field(factory=Included)
    locations: tuple[str | None, ...] = ()
    compressed: bool = True
    password: str | None = attrs.field(default=None, repr=False)
    retention: Retention = attrs.field(factory=Retention)
    enabled: bool = True
    last: LastRun | None = None

    def as_state(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "cron": self.timing.cron,
            "time_zone": self.timing.time_zone,
            "since": self.timing.since.isoformat(),
            "contents": self.included.as_state(),
            "locations": list(self.locations),
            "compressed": self.compressed,
            "password": self.password,
            "retention": attrs.asdict(self.retention),
            "enabled": self.enabled,
            "last": None if self.last is None else run_state(self.last),
        }


@attrs.frozen
class VerificationPlan:
    """How often a share (in percent) of the backups is checked by itself; archives take turns, oldest check first."""

    timing: Timing
    share: int = 10
    enabled: bool = False
    last: LastRun | None = None

    def as_state(self) -> dict[str, Any]:
        return {
            "cron": self.timing.cron,
            "time_zone": self.timing.time_zone,
            "since": self.timing.since.isoformat(),
            "share": self.share,
            "enabled": self.enabled,
            "last": None if self.last is None else run_state(self.last),
        }


@attrs.frozen
class BeforeUpdates:
    """What is kept of the backups from before updates, for each add-on and for Core.

    `automatic` tells whether one is made before an update that nobody asked for; without it the update is not undone
    so easily, but large add-ons take no time and no space.
    """

    retention: Retention = attrs.field(factory=lambda: Retention(last=3))
    automatic: bool = True


def run_state(run: LastRun) -> dict[str, Any]:
    ended = None if run.ended is None else run.ended.isoformat()
    return {**attrs.asdict(run), "due": run.due.isoformat(), "began": run.began.isoformat(), "ended": ended}


CONTENTS: Final = vol.Schema(
    {
        vol.Optional("full", default=False): strict_bool,
        vol.Optional("homeassistant", default=False): strict_bool,
        vol.Optional("addons", default=list): vol.Any(ALL, vol.All([_slug], _unique)),
        vol.Optional("folders", default=list): vol.All([vol.In(FOLDERS)], _unique),
        vol.Optional("exclude_database", default=None): vol.Any(strict_bool, None),
    }
)
FULL: Final = {"full": True}
_PASSWORD: Final = vol.Any(non_empty_text, None)
_ZONE: Final = vol.Any(time_zone, None)
_LOCATIONS: Final = vol.All([_location], _unique)
NAME: Final = vol.All(non_empty_text, vol.Length(max=64))
# What people say of a schedule; a change names only what changes.
WISH: Final[dict[Any, Any]] = {
    vol.Optional("name"): NAME,
    vol.Optional("cron"): cron,
    vol.Optional("time_zone"): _ZONE,
    vol.Optional("contents"): CONTENTS,
    vol.Optional("locations"): _LOCATIONS,
    vol.Optional("compressed"): strict_bool,
    vol.Optional("password"): _PASSWORD,
    vol.Optional("retention"): RETENTION_SCHEMA,
    vol.Optional("enabled"): strict_bool,
}
PLAN: Final[dict[Any, Any]] = {
    vol.Optional("cron"): cron,
    vol.Optional("time_zone"): _ZONE,
    vol.Optional("share"): vol.All(strict_int, vol.Range(1, 100)),
    vol.Optional("enabled"): strict_bool,
}
_LAST: Final = vol.Any(
    None,
    vol.Schema(
        {
            vol.Required("due"): iso,
            vol.Required("began"): iso,
            vol.Optional("ended", default=None): vol.Any(None, iso),
            vol.Optional("slug", default=None): vol.Any(None, text),
            vol.Optional("error", default=None): vol.Any(None, text),
            vol.Optional("attempts", default=1): vol.All(int, vol.Range(1)),
        },
        extra=vol.REMOVE_EXTRA,
    ),
)
# A zone that is not known any more must not cost all schedules; which counts then is decided when it is asked for.
_STORED_ZONE: Final = vol.Any(None, text)
_START: Final = "1970-01-01T00:00:00+00:00"
_STORED: Final = vol.Schema(
    {
        vol.Required("name"): NAME,
        vol.Required("cron"): cron,
        vol.Optional("time_zone", default=None): _STORED_ZONE,
        vol.Required("since"): iso,
        vol.Optional("contents", default=FULL): CONTENTS,
        vol.Optional("locations", default=list): _LOCATIONS,
        vol.Optional("compressed", default=True): strict_bool,
        vol.Optional("password", default=None): _PASSWORD,
        vol.Optional("retention", default=dict): RETENTION_SCHEMA,
        vol.Optional("enabled", default=True): strict_bool,
        vol.Optional("last", default=None): _LAST,
    },
    extra=vol.REMOVE_EXTRA,
)
_STORED_PLAN: Final = vol.Schema(
    {
        vol.Optional("cron", default="0 4 * * 0"): cron,
        vol.Optional("time_zone", default=None): _STORED_ZONE,
        vol.Optional("since", default=_START): iso,
        vol.Optional("share", default=10): vol.All(int, vol.Range(1, 100)),
        vol.Optional("enabled", default=False): strict_bool,
        vol.Optional("last", default=None): _LAST,
    },
    extra=vol.REMOVE_EXTRA,
)
SCHEDULES_SCHEMA: Final = vol.Schema(
    {
        vol.Optional("schedules", default=dict): {_identifier: _STORED},
        vol.Optional("verification", default=dict): _STORED_PLAN,
        vol.Optional("update_retention", default={"last": 3}): RETENTION_SCHEMA,
        vol.Optional("save_before_auto_update", default=True): strict_bool,
    },
    extra=vol.REMOVE_EXTRA,
)


def included(contents: Mapping[str, Any]) -> Included:
    """Return what checked contents say."""
    addons = None if contents["addons"] == ALL else tuple(contents["addons"])
    return Included(
        contents["full"],
        contents["homeassistant"],
        addons,
        tuple(contents["folders"]),
        contents["exclude_database"],
    )


def last_run(stored: Mapping[str, Any] | None) -> LastRun | None:
    if stored is None:
        return None
    ended = None if stored["ended"] is None else moment(stored["ended"])
    return LastRun(
        moment(stored["due"]), moment(stored["began"]), ended, stored["slug"], stored["error"], stored["attempts"]
    )


def schedule(identifier: str, stored: Mapping[str, Any]) -> Schedule:
    """Return the schedule that a checked state file holds."""
    return Schedule(
        identifier,
        stored["name"],
        Timing(stored["cron"], stored["time_zone"], moment(stored["since"])),
        included(stored["contents"]),
        tuple(stored["locations"]),
        stored["compressed"],
        stored["password"],
        Retention(**stored["retention"]),
        stored["enabled"],
        last_run(stored["last"]),
    )


def verification_plan(stored: Mapping[str, Any]) -> VerificationPlan:
    """Return the plan that a checked state file holds."""
    return VerificationPlan(
        Timing(stored["cron"], stored["time_zone"], moment(stored["since"])),
        stored["share"],
        stored["enabled"],
        last_run(stored["last"]),
    )
