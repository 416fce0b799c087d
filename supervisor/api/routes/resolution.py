"""What is wrong and what could help (API contract §2.21)."""

from __future__ import annotations

import attrs
import voluptuous as vol

from supervisor.api.models import system as wire
from supervisor.api.route import Access, Call, Route
from supervisor.api.routes.addons import NOTHING
from supervisor.jobs import JobManager
from supervisor.managers.resolution import OLDER_SLUGS, HealthCheck, Issue, Resolution, Suggestion
from supervisor.model.validators import lenient_bool

# Older clients know these issue types by another name (host contract §2).
OLDER_TYPES = {
    "deprecated_app": "deprecated_addon",
    "deprecated_arch_app": "deprecated_arch_addon",
    "detached_app_missing": "detached_addon_missing",
    "detached_app_removed": "detached_addon_removed",
}
CHECK_OPTIONS = vol.Schema({vol.Optional("enabled"): lenient_bool})


@attrs.frozen
class ResolutionRoutes:
    """Handlers of `/resolution`."""

    _resolution: Resolution
    _health: HealthCheck
    _jobs: JobManager

    def routes(self) -> list[Route]:
        manager = Access.MANAGER
        issue, suggestion = "/resolution/issue/{issue}", "/resolution/suggestion/{suggestion}"
        check = "/resolution/check/{check}"
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
            Route("POST", suggestion, manager, self._apply, "Do what a suggestion suggests", NOTHING),
            Route("DELETE", issue, manager, self._dismiss_issue, "Dismiss an issue"),
            Route("DELETE", suggestion, manager, self._dismiss_suggestion, "Dismiss a suggestion"),
            Route("POST", "/resolution/healthcheck", manager, self._look, "Look for problems, mend some", NOTHING),
            Route("POST", f"{check}/options", manager, self._set_check, "Switch a check on or off", CHECK_OPTIONS),
            Route("POST", f"{check}/run", manager, self._run_check, "Look with one check", NOTHING),
        ]

    async def _info(self, _call: Call) -> wire.ResolutionInfo:
        return wire.ResolutionInfo(
            unsupported=[reason.value for reason in self._resolution.unsupported],
            unhealthy=[reason.value for reason in self._resolution.unhealthy],
            issues=[_issue(issue) for issue in self._resolution.issues],
            suggestions=[self._suggestion(suggestion) for suggestion in self._resolution.suggestions],
            checks=[
                wire.Check(slug=OLDER_SLUGS.get(slug, slug), enabled=enabled)
                for slug, enabled in self._health.checks.enabled.items()
            ],
        )

    async def _suggestions(self, call: Call) -> wire.Suggestions:
        issue = self._resolution.issue(_uuid(call, "issue"))
        found = self._resolution.suggestions_for(issue)
        return wire.Suggestions(suggestions=[self._suggestion(suggestion) for suggestion in found])

    async def _dismiss_issue(self, call: Call) -> None:
        self._resolution.dismiss_issue(_uuid(call, "issue"))

    async def _dismiss_suggestion(self, call: Call) -> None:
        self._resolution.dismiss_suggestion(_uuid(call, "suggestion"))

    async def _apply(self, call: Call) -> None:
        uuid = _uuid(call, "suggestion")
        # It may take its time: who asks and goes away does not stop it half-way.
        await self._jobs.spawn(lambda: self._health.apply(uuid)).result()

    async def _look(self, _call: Call) -> None:
        await self._jobs.spawn(self._health.run).result()

    async def _set_check(self, call: Call) -> None:
        self._health.checks.make_sure(call.path["check"])
        if "enabled" in call.body:
            await self._health.checks.set_enabled(call.path["check"], enabled=call.body["enabled"])

    async def _run_check(self, call: Call) -> None:
        slug = call.path["check"]
        await self._jobs.spawn(lambda: self._health.checks.run(slug)).result()

    def _suggestion(self, suggestion: Suggestion) -> wire.Suggestion:
        return wire.Suggestion(
            uuid=suggestion.uuid,
            type=suggestion.type.value,
            context=suggestion.context.value,
            reference=suggestion.reference,
            reference_extra=suggestion.reference_extra,
            auto=self._health.fixups.is_auto(suggestion),
        )


def _uuid(call: Call, name: str) -> str:
    return call.path[name].replace("-", "").lower()


def _issue(issue: Issue) -> wire.Issue:
    return wire.Issue(
        uuid=issue.uuid,
        type=OLDER_TYPES.get(issue.type.value, issue.type.value),
        context=issue.context.value,
        reference=issue.reference,
        reference_extra=issue.reference_extra,
        reason=issue.reason,
    )
