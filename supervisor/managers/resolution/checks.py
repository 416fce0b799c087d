"""Looking for problems: what is looked at, when, and which looks are switched off (host contract §3)."""

from __future__ import annotations

import asyncio
import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from typing import Any, ClassVar, Final

import voluptuous as vol

from supervisor.errors import CHECK_NOT_FOUND, SupervisorError
from supervisor.events import CoreState
from supervisor.state import StateFile

from .data import ContextType, Issue, IssueType
from .manager import Resolution

_LOGGER = logging.getLogger(__name__)

# Existing installations store these checks under their older names; both are read, the older ones are written.
OLDER_SLUGS: Final = {
    "app_pwned": "addon_pwned",
    "deprecated_app": "deprecated_addon",
    "deprecated_arch_app": "deprecated_arch_addon",
    "detached_app_missing": "detached_addon_missing",
    "detached_app_removed": "detached_addon_removed",
}
_NEWER_SLUGS: Final = {older: newer for newer, older in OLDER_SLUGS.items()}
# One subject with an issue says nothing about the others of these contexts.
_MANY_SUBJECTS: Final = frozenset({ContextType.ADDON, ContextType.PLUGIN, ContextType.DNS_SERVER})

RESOLUTION_SCHEMA = vol.Schema(
    {
        vol.Optional("checks", default=dict): {
            str: vol.Schema({vol.Optional("enabled", default=True): bool}, extra=vol.REMOVE_EXTRA)
        }
    },
    extra=vol.REMOVE_EXTRA,
)


class Check(ABC):
    """One look for one kind of problem, in the given states of the daemon."""

    slug: ClassVar[str]
    issue: ClassVar[IssueType]
    context: ClassVar[ContextType]
    states: ClassVar[frozenset[CoreState]]
    # Whether each subject has an issue of its own, so that a known one says nothing about the others.
    many_subjects: ClassVar[bool] = False

    @abstractmethod
    async def run(self) -> None:
        """Look, and raise an issue for each problem found."""

    @abstractmethod
    async def approve(self, issue: Issue) -> bool | None:
        """Tell whether an issue of this kind still stands; None when nobody can tell, and it stays."""


class Checks:
    """Every check this daemon has. A check that fails is logged and keeps no other from looking."""

    def __init__(self, resolution: Resolution, state_file: StateFile, state: Callable[[], CoreState]) -> None:
        self._resolution = resolution
        self._file = state_file
        self._state = state
        self._checks: dict[str, Check] = {}
        # Of checks that this version lacks, too: another version of the daemon may have them.
        self._stored: dict[str, dict[str, Any]] = {}
        self._changing = asyncio.Lock()
        self._looking = asyncio.Lock()

    def add(self, checks: Iterable[Check]) -> None:
        self._checks.update((check.slug, check) for check in checks)

    async def load(self) -> None:
        """Read which checks are switched off."""
        stored = (await self._file.load())["checks"]
        self._stored = {_NEWER_SLUGS.get(slug, slug): entry for slug, entry in stored.items()}

    @property
    def enabled(self) -> dict[str, bool]:
        """Slug of each check -> whether it is switched on."""
        return {slug: self._enabled(slug) for slug in sorted(self._checks)}

    async def set_enabled(self, slug: str, *, enabled: bool) -> None:
        """Switch a check on or off, for good.

        Raises:
            NotFound: there is no such check.
        """
        check = self._get(slug)
        async with self._changing:
            stored = {**self._stored, check.slug: {"enabled": enabled}}
            await self._file.save({"checks": {OLDER_SLUGS.get(known, known): stored[known] for known in stored}})
            self._stored = stored

    def make_sure(self, slug: str) -> None:
        """Raise NotFound when there is no such check."""
        self._get(slug)

    async def run(self, slug: str) -> None:
        """Look once with one check; nothing happens in a state that it is not for.

        Raises:
            NotFound: there is no such check.
        """
        check = self._get(slug)
        async with self._looking:
            await self._run(check)

    async def run_all(self) -> None:
        """Look with every check that is switched on and fits the state."""
        async with self._looking:
            for slug, check in self._checks.items():
                if self._enabled(slug):
                    await self._guarded(check)

    def _get(self, slug: str) -> Check:
        check = self._checks.get(_NEWER_SLUGS.get(slug, slug))
        if check is None:
            raise CHECK_NOT_FOUND(check=slug)
        return check

    def _enabled(self, slug: str) -> bool:
        return bool(self._stored.get(slug, {}).get("enabled", True))

    async def _guarded(self, check: Check) -> None:
        try:
            await self._run(check)
        except SupervisorError as err:
            _LOGGER.warning("The check %s could not look: %s", check.slug, err)
        except Exception:
            _LOGGER.exception("The check %s failed", check.slug)

    async def _run(self, check: Check) -> None:
        if self._state() not in check.states:
            return
        known = [
            issue for issue in self._resolution.issues if (issue.type, issue.context) == (check.issue, check.context)
        ]
        for issue in known:
            if await check.approve(issue) is False:
                self._resolution.withdraw(issue)
        if not known or check.many_subjects or check.context in _MANY_SUBJECTS:
            await check.run()
