"""What a suggestion does when it is carried out, and which are carried out unasked (host contract §6)."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterable
from typing import Final

import attrs

from supervisor.errors import Blocked, Busy, SupervisorError, Unavailable, Unsupported
from supervisor.jobs import JobCondition, JobManager

from .data import ContextType, Suggestion, SuggestionType
from .manager import Resolution

_LOGGER = logging.getLogger(__name__)

FIRST_PAUSE_SECONDS: Final = 60.0
LONGEST_PAUSE_SECONDS: Final = 6 * 3600.0
AUTO_CONDITIONS: Final = (JobCondition.HEALTHY, JobCondition.RUNNING)

Work = Callable[[Suggestion], Awaitable[object]]
Subject = tuple[ContextType, SuggestionType, str | None]


@attrs.frozen
class Fixup:
    """How one kind of suggestion is carried out.

    `apply` raises when it did not help; a subject that is gone needs no help and is a success. One that is `auto` is
    also carried out unasked, at most `attempts` times in a row for one subject in the life of the daemon. One that is
    `online` needs the internet: when that is back, it is not put off any longer.
    """

    context: ContextType
    type: SuggestionType
    apply: Work
    auto: bool = False
    attempts: int | None = None
    online: bool = False


@attrs.define
class _Failures:
    """How often an unasked repair failed in a row, and when it may be tried again (monotonic seconds).

    `attempts` are those of them that count against the limit: when something that it needs was away, nothing was tried.
    """

    row: int = 0
    attempts: int = 0
    not_before: float = 0.0


class Fixups:
    """Carries suggestions out: on demand, and those that may be by themselves, with growing pauses after failures."""

    def __init__(self, resolution: Resolution, jobs: JobManager, *, first_pause: float = FIRST_PAUSE_SECONDS) -> None:
        self._resolution = resolution
        self._jobs = jobs
        self._first_pause = first_pause
        self._fixups: dict[tuple[ContextType, SuggestionType], Fixup] = {}
        self._failures: dict[Subject, _Failures] = {}
        self._repairing = asyncio.Lock()

    def add(self, fixups: Iterable[Fixup]) -> None:
        self._fixups.update(((fixup.context, fixup.type), fixup) for fixup in fixups)

    @property
    def known(self) -> frozenset[tuple[ContextType, SuggestionType]]:
        return frozenset(self._fixups)

    def is_auto(self, suggestion: Suggestion) -> bool:
        """Tell whether the suggestion is carried out by itself."""
        fixup = self._of(suggestion)
        return fixup is not None and fixup.auto

    async def apply(self, suggestion: Suggestion) -> None:
        """Carry a suggestion out. It and the issues it helps against are dismissed when that worked, else they stay.

        Raises:
            Unsupported: nothing here can do that; a person has to.
            SupervisorError: it was tried and did not help.
        """
        fixup = self._of(suggestion)
        if fixup is None:
            raise Unsupported(f"{suggestion.type.value} can't be carried out by the Supervisor: do it by hand")
        await self._carry_out(fixup, suggestion)

    async def run_auto(self) -> None:
        """Carry out what may be by itself and is due; failures are logged and tried again later.

        Nothing happens while the system is unhealthy or not running.
        """
        async with self._repairing:
            due = [found for found in self._resolution.suggestions if self._due(found)]
            if not due:
                return
            try:
                async with self._jobs.run("resolution_fixup_run_autofix", conditions=AUTO_CONDITIONS):
                    for suggestion in due:
                        # An earlier one may have helped against this one's issues, too.
                        if suggestion in self._resolution.suggestions:
                            await self._try(suggestion)
            except Blocked as err:
                _LOGGER.debug("Nothing is repaired by itself now: %s", err)

    def internet_is_back(self) -> None:
        """Put off no longer what may have failed for want of it."""
        for (context, type_, _), failures in self._failures.items():
            if self._fixups[context, type_].online:
                failures.not_before = 0.0

    def _of(self, suggestion: Suggestion) -> Fixup | None:
        return self._fixups.get((suggestion.context, suggestion.type))

    def _due(self, suggestion: Suggestion) -> bool:
        fixup = self._of(suggestion)
        if fixup is None or not fixup.auto:
            return False
        failures = self._failures.get(_subject(suggestion), _Failures())
        exhausted = fixup.attempts is not None and failures.attempts >= fixup.attempts
        return not exhausted and time.monotonic() >= failures.not_before

    async def _try(self, suggestion: Suggestion) -> None:
        fixup = self._fixups[suggestion.context, suggestion.type]
        subject = _subject(suggestion)
        what = f"{suggestion.type.value} of {suggestion.context.value} {suggestion.reference or ''}".rstrip()
        try:
            await self._carry_out(fixup, suggestion)
        except (Blocked, Busy, Unavailable) as err:
            pause = self._pause(subject)
            _LOGGER.info("%s is put off for %.0f s: %s", what, pause, err)
        except SupervisorError as err:
            self._failed(fixup, subject, what, str(err))
        except Exception:
            _LOGGER.exception("%s failed", what)
            self._failed(fixup, subject, what, "unexpected error")
        else:
            _LOGGER.info("%s helped", what)

    def _failed(self, fixup: Fixup, subject: Subject, what: str, reason: str) -> None:
        pause = self._pause(subject)
        failures = self._failures[subject]
        failures.attempts += 1
        if failures.attempts == fixup.attempts:
            _LOGGER.error("%s did not help in %d attempts and is left to you: %s", what, failures.attempts, reason)
        else:
            _LOGGER.warning("%s did not help and is tried again in %.0f s: %s", what, pause, reason)

    def _pause(self, subject: Subject) -> float:
        """Put the next attempt off, longer each time; return for how many seconds."""
        failures = self._failures.setdefault(subject, _Failures())
        pause = min(self._first_pause * 2.0 ** min(failures.row, 20), LONGEST_PAUSE_SECONDS)
        failures.row += 1
        failures.not_before = time.monotonic() + pause
        return pause

    async def _carry_out(self, fixup: Fixup, suggestion: Suggestion) -> None:
        before = self._resolution.helped_by(suggestion)
        helps = [[found.type for found in self._resolution.suggestions_for(issue)] for issue in before]
        try:
            await fixup.apply(suggestion)
        except BaseException:
            # It may have looked well for a moment: what starts and falls over at once was started.
            for issue, suggestions in zip(before, helps, strict=True):
                if issue not in self._resolution.issues:
                    self._resolution.raise_issue(
                        issue.type,
                        issue.context,
                        reference=issue.reference,
                        extra=issue.reference_extra,
                        suggestions=suggestions,
                    )
            raise
        for issue in self._resolution.helped_by(suggestion):
            self._resolution.withdraw(issue)
        self._resolution.withdraw_suggestion(suggestion)
        self._failures.pop(_subject(suggestion), None)


def _subject(suggestion: Suggestion) -> Subject:
    return suggestion.context, suggestion.type, suggestion.reference
