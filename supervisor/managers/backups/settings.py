"""What is remembered about backups besides their files."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, Final

import attrs
import voluptuous as vol

from supervisor.errors import Invalid
from supervisor.state import StateFile

from .backup import LOCAL_ATTRIBUTE, Location
from .exclusions import MAX_PATTERNS, check_pattern

DAYS_UNTIL_STALE: Final = 30

BACKUPS_SCHEMA: Final = vol.Schema(
    {vol.Optional("days_until_stale", default=DAYS_UNTIL_STALE): vol.All(int, vol.Range(min=1))},
    extra=vol.REMOVE_EXTRA,
)
_CHECK: Final = vol.Schema(
    {
        vol.Required("checked"): str,
        vol.Required("good"): bool,
        vol.Optional("problems", default=list): [str],
        vol.Optional("files", default=0): int,
        vol.Optional("size", default=0): int,
    },
    extra=vol.REMOVE_EXTRA,
)
BACKUP_NOTES_SCHEMA: Final = vol.Schema(
    {
        vol.Optional("excludes", default=dict): {str: [str]},
        vol.Optional("checks", default=dict): {str: {str: _CHECK}},
    },
    extra=vol.REMOVE_EXTRA,
)


@attrs.frozen
class Verdict:
    """What a check of a copy found. `size` and `files` are what it would restore.

    `problems` may be kept and shown to anybody: of what is encrypted they name nothing. `told` is for whoever gave the
    password; nothing keeps it.
    """

    good: bool
    problems: tuple[str, ...] = ()
    files: int = 0
    size: int = 0
    checked: datetime = attrs.field(factory=lambda: datetime.now(UTC))
    told: tuple[str, ...] = attrs.field(kw_only=True, eq=False, repr=False)

    @told.default
    def _same(self) -> tuple[str, ...]:
        return self.problems


class BackupSettings:
    """`state` is the contract's file; `notes` is ours, with patterns to leave out and the last checks."""

    def __init__(self, state: StateFile, notes: StateFile) -> None:
        self._state = state
        self._notes = notes
        self.days_until_stale = DAYS_UNTIL_STALE
        self._excludes: dict[str, tuple[str, ...]] = {}
        self._checks: dict[str, dict[str, Verdict]] = {}

    async def load(self) -> None:
        self.days_until_stale = (await self._state.load())["days_until_stale"]
        notes = await self._notes.load()
        self._excludes = {slug: tuple(patterns) for slug, patterns in notes["excludes"].items()}
        self._checks = {
            slug: {place: _verdict(check) for place, check in checks.items()}
            for slug, checks in notes["checks"].items()
        }

    async def set_days_until_stale(self, days: int) -> None:
        await self._state.save({"days_until_stale": days})
        self.days_until_stale = days

    @property
    def excludes(self) -> Mapping[str, tuple[str, ...]]:
        """The patterns that people chose, by add-on."""
        return self._excludes

    async def set_excludes(self, slug: str, patterns: Iterable[str]) -> None:
        """Choose what is left out of an add-on's backups, beside what the add-on says itself; nothing forgets it.

        Raises:
            Invalid: a pattern makes no sense.
        """
        chosen = tuple(dict.fromkeys(check_pattern(pattern) for pattern in patterns))
        if len(chosen) > MAX_PATTERNS:
            raise Invalid(f"No more than {MAX_PATTERNS} patterns are taken for an add-on")
        others = {known: kept for known, kept in self._excludes.items() if known != slug}
        self._excludes = {**others, slug: chosen} if chosen else others
        await self._save()

    def check_of(self, slug: str, location: Location) -> Verdict | None:
        """Return what the last check of a copy found."""
        return self._checks.get(slug, {}).get(location or LOCAL_ATTRIBUTE)

    async def keep_check(self, slug: str, location: Location, verdict: Verdict) -> None:
        self._checks.setdefault(slug, {})[location or LOCAL_ATTRIBUTE] = attrs.evolve(verdict, told=verdict.problems)
        await self._save()

    async def forget_checks(self, known: Iterable[str]) -> None:
        """Forget the checks of backups that are gone."""
        gone = self._checks.keys() - set(known)
        if gone:
            for slug in gone:
                del self._checks[slug]
            await self._save()

    async def _save(self) -> None:
        await self._notes.save(
            {
                "excludes": {slug: list(patterns) for slug, patterns in self._excludes.items()},
                "checks": {
                    slug: {place: _stored(verdict) for place, verdict in checks.items()}
                    for slug, checks in self._checks.items()
                },
            }
        )


def _stored(verdict: Verdict) -> dict[str, Any]:
    return {
        "checked": verdict.checked.isoformat(),
        "good": verdict.good,
        "problems": list(verdict.problems),
        "files": verdict.files,
        "size": verdict.size,
    }


def _verdict(stored: Mapping[str, Any]) -> Verdict:
    try:
        checked = datetime.fromisoformat(stored["checked"])
    except ValueError:
        checked = datetime.fromtimestamp(0, UTC)
    return Verdict(stored["good"], tuple(stored["problems"]), stored["files"], stored["size"], checked)
