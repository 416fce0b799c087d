"""What is wrong and what could help (API contract §2.21)."""

from __future__ import annotations

import attrs

from supervisor.api.models import system as wire
from supervisor.api.route import Access, Call, Route
from supervisor.managers.resolution import Issue, Resolution, Suggestion

# Older clients know these issue types by another name (host contract §2).
OLDER_TYPES = {
    "deprecated_app": "deprecated_addon",
    "deprecated_arch_app": "deprecated_arch_addon",
    "detached_app_missing": "detached_addon_missing",
    "detached_app_removed": "detached_addon_removed",
}


@attrs.frozen
class ResolutionRoutes:
    """Handlers of `/resolution`."""

    _resolution: Resolution

    def routes(self) -> list[Route]:
        manager = Access.MANAGER
        issue, suggestion = "/resolution/issue/{issue}", "/resolution/suggestion/{suggestion}"
        return [
            Route("GET", "/resolution/info", Access.ALL, self._info, "Show what is wrong", None, wire.ResolutionInfo),
            Route(
                "GET",
                f"{issue}/suggestions",
                manager,
                self._suggestions,
                "Show what helps",
                None,
                wire.Suggestions,
            ),
            Route("DELETE", issue, manager, self._dismiss_issue, "Dismiss an issue"),
            Route("DELETE", suggestion, manager, self._dismiss_suggestion, "Dismiss a suggestion"),
        ]

    async def _info(self, _call: Call) -> wire.ResolutionInfo:
        return wire.ResolutionInfo(
            unsupported=[reason.value for reason in self._resolution.unsupported],
            unhealthy=[reason.value for reason in self._resolution.unhealthy],
            issues=[_issue(issue) for issue in self._resolution.issues],
            suggestions=[_suggestion(suggestion) for suggestion in self._resolution.suggestions],
            checks=[],
        )

    async def _suggestions(self, call: Call) -> wire.Suggestions:
        issue = self._resolution.issue(_uuid(call, "issue"))
        found = self._resolution.suggestions_for(issue)
        return wire.Suggestions(suggestions=[_suggestion(suggestion) for suggestion in found])

    async def _dismiss_issue(self, call: Call) -> None:
        self._resolution.dismiss_issue(_uuid(call, "issue"))

    async def _dismiss_suggestion(self, call: Call) -> None:
        self._resolution.dismiss_suggestion(_uuid(call, "suggestion"))


def _uuid(call: Call, name: str) -> str:
    return call.path[name].replace("-", "").lower()


def _issue(issue: Issue) -> wire.Issue:
    return wire.Issue(
        uuid=issue.uuid,
        type=OLDER_TYPES.get(issue.type.value, issue.type.value),
        context=issue.context.value,
        reference=issue.reference,
        reference_extra=issue.reference_extra,
    )


def _suggestion(suggestion: Suggestion) -> wire.Suggestion:
    """No suggestion is carried out by itself yet, so `auto` is off."""
    return wire.Suggestion(
        uuid=suggestion.uuid,
        type=suggestion.type.value,
        context=suggestion.context.value,
        reference=suggestion.reference,
        reference_extra=suggestion.reference_extra,
        auto=False,
    )
