"""What is remembered of a configured repository; secrets are elsewhere (`repository_files.py`)."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any, Final

import attrs
import voluptuous as vol

from supervisor.model.validators import strict_bool, text

from .repository_place import Place, parse
from .retention import RETENTION_SCHEMA, Retention

_NAME: Final = re.compile(r"[a-z0-9][a-z0-9_-]{0,31}")
PREFIX: Final = "repository:"


def repository_name(value: Any) -> str:
    """Accept what names a repository: it becomes a folder's name and a location."""
    if not isinstance(value, str) or not _NAME.fullmatch(value):
        raise vol.Invalid("expected a name of at most 32 lower-case letters, digits, '-' and '_'")
    return value


@attrs.frozen
class Verification:
    """The last check: when, how it ended, and which of how many shares of the data was read (0 of 0: none)."""

    when: datetime
    good: bool
    reason: str = ""
    part: int = 0
    parts: int = 0


@attrs.frozen
class RepositoryRecord:
    """`identity` tells this repository from another one that takes its place; `retention` is what prune goes by."""

    name: str
    place: Place
    identity: str
    created: datetime
    retention: Retention = attrs.field(factory=Retention)
    verification: Verification | None = None

    @property
    def location(self) -> str:
        """What stands among the locations of a backup; no mount can be called so."""
        return f"{PREFIX}{self.name}"

    def as_state(self) -> dict[str, Any]:
        last = self.verification
        return {
            "place": str(self.place),
            "identity": self.identity,
            "created": self.created.isoformat(),
            "retention": attrs.asdict(self.retention),
            "verification": None if last is None else {**attrs.asdict(last), "when": last.when.isoformat()},
        }


def moment(value: Any) -> datetime:
    """Accept a time in ISO 8601; one without a zone is UTC."""
    try:
        parsed = datetime.fromisoformat(text(value))
    except ValueError as err:
        raise vol.Invalid("expected a time in ISO 8601") from err
    return parsed if parsed.tzinfo is not None else parsed.replace(tzinfo=UTC)


def iso(value: Any) -> str:
    """Accept a time in ISO 8601; the result is the text, fit for JSON."""
    return moment(value).isoformat()


_COUNT: Final = vol.All(int, vol.Range(0))
_RECORD: Final = vol.Schema(
    {
        vol.Required("place"): text,
        vol.Optional("identity", default=""): text,
        vol.Required("created"): iso,
        vol.Optional("retention", default=dict): RETENTION_SCHEMA,
        vol.Optional("verification", default=None): vol.Any(
            None,
            vol.Schema(
                {
                    vol.Required("when"): iso,
                    vol.Required("good"): strict_bool,
                    vol.Optional("reason", default=""): text,
                    vol.Optional("part", default=0): _COUNT,
                    vol.Optional("parts", default=0): _COUNT,
                },
                extra=vol.REMOVE_EXTRA,
            ),
        ),
    },
    extra=vol.REMOVE_EXTRA,
)
REPOSITORIES_SCHEMA: Final = vol.Schema(
    {vol.Optional("repositories", default=dict): {repository_name: _RECORD}}, extra=vol.REMOVE_EXTRA
)


def record(name: str, stored: dict[str, Any]) -> RepositoryRecord:
    """Return the record that a checked state file holds.

    Raises:
        Invalid: its place makes no sense.
    """
    last = stored["verification"]
    return RepositoryRecord(
        name,
        parse(stored["place"]),
        stored["identity"],
        moment(stored["created"]),
        Retention(**stored["retention"]),
        None if last is None else Verification(**{**last, "when": moment(last["when"])}),
    )
