"""The registry of issues that every manager can raise into."""

from __future__ import annotations

import errno
import logging
from collections.abc import Iterable
from typing import Any, Final

import attrs

from supervisor.errors import ISSUE_NOT_FOUND, SUGGESTION_NOT_FOUND
from supervisor.events import (
    EventBus,
    HealthChanged,
    IssueChanged,
    IssueRemoved,
    StateEntryRefused,
    StateFileCorrupt,
    StateFileUnwritten,
    SupportedChanged,
)

from .data import (
    REMEDIES,
    ContextType,
    Issue,
    IssueType,
    Suggestion,
    SuggestionType,
    UnhealthyReason,
    UnsupportedReason,
)

_LOGGER = logging.getLogger(__name__)

# What each reason means, and how to get rid of it.
MORE_INFO: Final = "https://www.home-assistant.io/more-info/unsupported"
_LONGEST_REASON: Final = 500


class Resolution:
    """Issues, suggestions and the two sets of reasons, all in memory.

    Unhealthy reasons stay until the next start of the daemon; unsupported reasons come and go.
    """

    def __init__(self, bus: EventBus) -> None:
        self._bus = bus
        self._issues: list[Issue] = []
        self._suggestions: list[Suggestion] = []
        self._unsupported: set[UnsupportedReason] = set()
        self._unhealthy: set[UnhealthyReason] = set()
        bus.subscribe(StateFileCorrupt, self._state_file_corrupt)
        bus.subscribe(StateFileUnwritten, lambda event: self.judge_disk(event.errno))
        bus.subscribe(StateEntryRefused, self._state_entry_refused)

    @property
    def issues(self) -> tuple[Issue, ...]:
        return tuple(self._issues)

    @property
    def suggestions(self) -> tuple[Suggestion, ...]:
        return tuple(self._suggestions)

    @property
    def unsupported(self) -> tuple[UnsupportedReason, ...]:
        return tuple(sorted(self._unsupported))

    @property
    def unhealthy(self) -> tuple[UnhealthyReason, ...]:
        return tuple(sorted(self._unhealthy))

    @property
    def supported(self) -> bool:
        return not self._unsupported

    @property
    def healthy(self) -> bool:
        return not self._unhealthy

    def raise_issue(
        self,
        type_: IssueType,
        context: ContextType,
        *,
        reference: str | None = None,
        extra: dict[str, Any] | None = None,
        reason: str | None = None,
        suggestions: Iterable[SuggestionType] = (),
    ) -> Issue:
        """Add an issue and what could help against it; what is there already stays, with the newest reason."""
        more = [Suggestion(suggested, context, reference, extra) for suggested in suggestions]
        more = [suggestion for suggestion in more if suggestion not in self._suggestions]
        self._suggestions += more
        issue = Issue(type_, context, reference, extra, reason[:_LONGEST_REASON] if reason else None)
        if issue in self._issues:
            return self._renew(self._issues.index(issue), issue.reason, more)
        _LOGGER.info("Issue: %s of %s", type_.value, " ".join(filter(None, (context.value, reference))))
        self._issues.append(issue)
        self._bus.publish(IssueChanged(self._with_suggestions(issue)))
        return issue

    def _renew(self, place: int, reason: str | None, more: list[Suggestion]) -> Issue:
        """Take a newer reason for an issue that is known; tell where that, or a suggestion, is news."""
        before = self._issues[place]
        known = self._issues[place] = attrs.evolve(before, reason=reason or before.reason)
        if known.reason != before.reason or any(_helps(suggestion, known) for suggestion in more):
            self._bus.publish(IssueChanged(self._with_suggestions(known)))
        return known

    def ask_for_reboot(self) -> None:
        """Raise the issue that something waits for the next boot of the machine."""
        self.raise_issue(IssueType.REBOOT_REQUIRED, ContextType.SYSTEM, suggestions=(SuggestionType.EXECUTE_REBOOT,))

    def dismiss_issue_of(self, type_: IssueType, context: ContextType, reference: str | None = None) -> None:
        """Drop every issue of this type and subject; none is fine."""
        for issue in self.issues:
            if (issue.type, issue.context, issue.reference) == (type_, context, reference):
                self._drop(issue)

    def dismiss_issue(self, uuid: str) -> None:
        """Drop one issue and the suggestions that no longer help against any.

        Raises:
            NotFound: there is no such issue.
        """
        self._drop(self.issue(uuid))

    def dismiss_suggestion(self, uuid: str) -> None:
        """Drop one suggestion; its issue stays.

        Raises:
            NotFound: there is no such suggestion.
        """
        self.withdraw_suggestion(self.suggestion(uuid))

    def withdraw_suggestion(self, suggestion: Suggestion) -> None:
        """Drop a suggestion that may be gone already; its issue stays."""
        if suggestion not in self._suggestions:
            return
        self._suggestions.remove(suggestion)
        for issue in self._issues:
            if _helps(suggestion, issue):
                self._bus.publish(IssueChanged(self._with_suggestions(issue)))

    def withdraw(self, issue: Issue) -> None:
        """Drop an issue that may be gone already."""
        if issue in self._issues:
            self._drop(issue)

    def forget(self, context: ContextType, reference: str) -> None:
        """Drop every issue and suggestion about a subject that is gone."""
        for issue in self.issues:
            if (issue.context, issue.reference) == (context, reference):
                self._drop(issue)
        self._suggestions = [
            known for known in self._suggestions if (known.context, known.reference) != (context, reference)
        ]

    def suggestion(self, uuid: str) -> Suggestion:
        """Return the suggestion.

        Raises:
            NotFound: there is no such suggestion.
        """
        for suggestion in self._suggestions:
            if suggestion.uuid == uuid:
                return suggestion
        raise SUGGESTION_NOT_FOUND(uuid=uuid)

    def issue(self, uuid: str) -> Issue:
        """Return the issue.

        Raises:
            NotFound: there is no such issue.
        """
        for issue in self._issues:
            if issue.uuid == uuid:
                return issue
        raise ISSUE_NOT_FOUND(uuid=uuid)

    def suggestions_for(self, issue: Issue) -> tuple[Suggestion, ...]:
        return tuple(suggestion for suggestion in self._suggestions if _helps(suggestion, issue))

    def helped_by(self, suggestion: Suggestion) -> tuple[Issue, ...]:
        """Return the issues that a suggestion, present or not, helps against."""
        return tuple(issue for issue in self._issues if _helps(suggestion, issue))

    def add_unhealthy(self, reason: UnhealthyReason) -> None:
        if reason not in self._unhealthy:
            _LOGGER.error("The system is unhealthy: %s", reason.value)
            self._unhealthy.add(reason)
            self._bus.publish(HealthChanged(self.unhealthy))

    def judge_disk(self, error: int | None) -> None:
        """Take what the disk of the data folder said (an `errno`) for what it is: EBADMSG is its file system's end.

        Not for network storage, which may say so when only its server is in trouble.
        """
        if error == errno.EBADMSG:
            self.add_unhealthy(UnhealthyReason.OSERROR_BAD_MESSAGE)

    def set_unsupported(self, reason: UnsupportedReason, present: bool) -> None:  # noqa: FBT001 - it mirrors a fact
        """Add or take away a reason."""
        if present == (reason in self._unsupported):
            return
        if present:
            _LOGGER.warning("The system is unsupported: %s (%s/%s)", reason.value, MORE_INFO, reason.value)
            self._unsupported.add(reason)
        else:
            self._unsupported.discard(reason)
        self._bus.publish(SupportedChanged(self.unsupported))

    def _drop(self, issue: Issue) -> None:
        self._issues.remove(issue)
        self._bus.publish(IssueRemoved(issue.as_wire()))
        self._suggestions = [
            suggestion
            for suggestion in self._suggestions
            if not _helps(suggestion, issue) or any(_helps(suggestion, other) for other in self._issues)
        ]

    def _with_suggestions(self, issue: Issue) -> dict[str, Any]:
        suggestions = [suggestion.as_wire() for suggestion in self.suggestions_for(issue)]
        return {**issue.as_wire(), "suggestions": suggestions}

    def _state_file_corrupt(self, event: StateFileCorrupt) -> None:
        self.judge_disk(event.errno)
        self.raise_issue(
            IssueType.CORRUPT_STATE_FILE,
            ContextType.SUPERVISOR,
            reference=event.path.name,
            extra={"kept": event.kept.name, "reason": event.reason[:500], "recovered": event.recovered},
        )

    def _state_entry_refused(self, event: StateEntryRefused) -> None:
        self.raise_issue(
            IssueType.CORRUPT_STATE_FILE,
            ContextType.SUPERVISOR,
            reference=event.path.name,
            extra={"entry": event.entry, "kept": event.kept.name, "reason": event.reason[:500]},
        )


def _helps(suggestion: Suggestion, issue: Issue) -> bool:
    return (
        issue.type in REMEDIES.get((suggestion.context, suggestion.type), frozenset())
        and suggestion.context == issue.context
        and suggestion.reference == issue.reference
        and suggestion.reference_extra == issue.reference_extra
    )
