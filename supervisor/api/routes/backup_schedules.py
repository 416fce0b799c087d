"""Schedules of backups (ours, see docs/api.md)."""

from __future__ import annotations

from datetime import datetime
from typing import Final

import attrs
import voluptuous as vol

from supervisor.api.background import run_job
from supervisor.api.models import backup_repositories as wire
from supervisor.api.models.system import StartedJob
from supervisor.api.route import Access, Call, Route
from supervisor.api.routes.backup_repositories import retention
from supervisor.jobs import JobManager
from supervisor.managers.backups.retention import RETENTION_SCHEMA, Retention
from supervisor.managers.backups.schedule_record import PLAN, WISH, Schedule
from supervisor.managers.backups.schedules import ScheduleManager
from supervisor.model.validators import strict_bool

CHANGE: Final = vol.Schema(WISH)
CHECK: Final = vol.Schema(PLAN)
RUN: Final = vol.Schema({vol.Optional("background", default=False): strict_bool})
KEEP: Final = vol.Schema({vol.Optional("retention"): RETENTION_SCHEMA, vol.Optional("automatic"): strict_bool})


@attrs.frozen
class BackupScheduleRoutes:
    """Handlers of `/backups/schedules`, and of what else happens by itself."""

    _schedules: ScheduleManager
    _jobs: JobManager

    def routes(self) -> list[Route]:
        """Return every route of the schedules."""
        base, access = "/backups/schedules", Access.BACKUP
        one, plan, kept = f"{base}/{{schedule}}", "/backups/verification", "/backups/update_retention"
        return [
            Route("GET", base, access, self._list, "List the schedules", None, wire.ScheduleList),
            Route("POST", base, access, self._add, "Add a schedule", CHANGE, wire.Schedule),
            Route("GET", one, access, self._show, "Show a schedule", None, wire.Schedule),
            Route("POST", one, access, self._change, "Change a schedule", CHANGE, wire.Schedule),
            Route("DELETE", one, access, self._remove, "Remove a schedule; what it made stays"),
            Route("POST", f"{one}/run", access, self._run, "Make its backup now", RUN, StartedJob),
            Route("GET", plan, access, self._plan, "Show what is checked by itself", None, wire.VerificationPlan),
            Route("POST", plan, access, self._set_plan, "Set what is checked", CHECK, wire.VerificationPlan),
            Route("GET", kept, access, self._kept, "Show what is saved before updates", None, wire.UpdateRetention),
            Route("POST", kept, access, self._keep, "Set what is saved before updates, and how many are kept", KEEP),
        ]

    async def _list(self, _call: Call) -> wire.ScheduleList:
        return wire.ScheduleList(schedules=[self._wire(schedule) for schedule in self._schedules.schedules])

    async def _show(self, call: Call) -> wire.Schedule:
        return self._wire(self._one(call))

    async def _add(self, call: Call) -> wire.Schedule:
        return self._wire(await self._schedules.add(call.body))

    async def _change(self, call: Call) -> wire.Schedule:
        return self._wire(await self._schedules.change(self._one(call).id, call.body))

    async def _remove(self, call: Call) -> None:
        await self._schedules.remove(self._one(call).id)

    async def _run(self, call: Call) -> StartedJob | None:
        identifier = self._one(call).id
        return await run_job(
            self._jobs, lambda: self._schedules.run_now(identifier), background=call.body["background"]
        )

    async def _plan(self, _call: Call) -> wire.VerificationPlan:
        plan = self._schedules.plan
        last = plan.last
        return wire.VerificationPlan(
            enabled=plan.enabled,
            cron=plan.timing.cron,
            time_zone=self._schedules.zone_of(plan.timing).key,
            share=plan.share,
            next_due=self._schedules.next_due(plan.timing) if plan.enabled else None,
            last_due=last.due if last is not None else None,
            last_ended=last.ended if last is not None else None,
            last_error=last.error if last is not None else None,
        )

    async def _set_plan(self, call: Call) -> wire.VerificationPlan:
        await self._schedules.change_plan(call.body)
        return await self._plan(call)

    async def _kept(self, _call: Call) -> wire.UpdateRetention:
        known = self._schedules.before_updates
        return wire.UpdateRetention(retention=retention(known.retention), automatic=known.automatic)

    async def _keep(self, call: Call) -> None:
        wish = dict(call.body)
        if "retention" in wish:
            wish["retention"] = Retention(**wish["retention"])
        await self._schedules.set_before_updates(attrs.evolve(self._schedules.before_updates, **wish))

    def _one(self, call: Call) -> Schedule:
        return self._schedules.get(call.path["schedule"])

    def _wire(self, schedule: Schedule) -> wire.Schedule:
        last = schedule.last
        due: datetime | None = self._schedules.next_due(schedule.timing) if schedule.enabled else None
        return wire.Schedule(
            id=schedule.id,
            name=schedule.name,
            enabled=schedule.enabled,
            cron=schedule.timing.cron,
            time_zone=self._schedules.zone_of(schedule.timing).key,
            contents=schedule.included.as_state(),
            locations=list(schedule.locations),
            compressed=schedule.compressed,
            password=schedule.password is not None,
            retention=retention(schedule.retention),
            next_due=due,
            last_due=last.due if last is not None else None,
            last_ended=last.ended if last is not None else None,
            last_slug=last.slug if last is not None else None,
            last_error=last.error if last is not None else None,
        )
