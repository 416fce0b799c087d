"""The host (API contract §2.13); its logs are elsewhere."""

from __future__ import annotations

from datetime import UTC, datetime

import attrs
import msgspec
import voluptuous as vol

from supervisor.api.models import host as wire
from supervisor.api.route import Access, Call, Route
from supervisor.managers.host import (
    Disks,
    Doctor,
    HostControl,
    HostInfo,
    HostManager,
    HostServices,
    UnitAction,
    Usage,
)
from supervisor.managers.host.units import PATTERNS
from supervisor.managers.mounts import MountManager
from supervisor.model.kept import Kept
from supervisor.model.validators import lenient_bool, time_zone

DEFAULT_DISK = "default"
DEEPEST = 32


OPTIONS = vol.Schema(
    {
        vol.Optional("hostname"): str,
        vol.Optional("timezone"): time_zone,
        vol.Optional("use_ntp"): lenient_bool,
    }
)
POWER = vol.Schema({vol.Optional("force", default=False): lenient_bool})
RULES = vol.Schema({vol.Optional("allowed"): PATTERNS, vol.Optional("refused"): PATTERNS})


@attrs.frozen
class HostRoutes:
    """Handlers of `/host`."""

    _host: HostManager
    _control: HostControl
    _services: HostServices
    _disks: Disks
    _mounts: MountManager
    _doctor: Doctor
    _state: Kept[HostInfo, wire.HostState] = attrs.field(init=False, factory=lambda: Kept(_wire_state))

    def routes(self) -> list[Route]:
        base, manager = "/host", Access.MANAGER
        depth = {"max_depth": "How many levels of folders are listed; 1 is the known parts alone"}
        rules = f"{base}/service/rules"
        return [
            Route("GET", f"{base}/info", Access.ALL, self._info, "Show the host", None, wire.HostInfo),
            Route("POST", f"{base}/options", manager, self._set_options, "Set the host's name and clock", OPTIONS),
            Route("POST", f"{base}/reload", manager, self._reload, "Read everything about the host anew"),
            Route("POST", f"{base}/reboot", manager, self._reboot, "Stop everything and reboot the host", POWER),
            Route("POST", f"{base}/shutdown", manager, self._shutdown, "Stop everything and switch it off", POWER),
            Route("GET", f"{base}/services", manager, self._list, "List the host's services", None, wire.Services),
            Route("GET", rules, manager, self._rules, "Show which services may be touched", None, wire.ServiceRules),
            Route("POST", rules, Access.ADMIN, self._set_rules, "Set which services may be touched", RULES),
            *(self._service_route(action) for action in UnitAction),
            Route(
                "GET",
                f"{base}/disks/{{disk}}/usage",
                manager,
                self._usage,
                "Measure what is on a disk",
                None,
                wire.DiskUsage,
                query=depth,
            ),
            Route("GET", f"{base}/doctor", manager, self._examine, "Tell what works here", None, wire.Examination),
        ]

    def _service_route(self, action: UnitAction) -> Route:
        async def act(call: Call) -> None:
            await self._services.act(action, call.path["service"])

        path = f"/host/service/{{service}}/{action.value}"
        return Route("POST", path, Access.MANAGER, act, f"{action.value.capitalize()} a service of the host")

    async def _info(self, _call: Call) -> wire.HostInfo:
        return {**self._state.of(self._host.info()), "dt_utc": datetime.now(UTC)}

    async def _set_options(self, call: Call) -> None:
        if "hostname" in call.body:
            await self._control.set_hostname(call.body["hostname"])
        if "timezone" in call.body:
            await self._control.set_timezone(call.body["timezone"])
        if "use_ntp" in call.body:
            await self._control.set_ntp(on=call.body["use_ntp"])

    async def _reload(self, _call: Call) -> None:
        await self._host.reload()

    async def _reboot(self, _call: Call) -> None:
        await self._control.reboot()

    async def _shutdown(self, _call: Call) -> None:
        await self._control.shutdown()

    async def _list(self, _call: Call) -> wire.Services:
        lines = await self._services.services()
        return wire.Services(services=[wire.Service(**attrs.asdict(line)) for line in lines])

    async def _rules(self, _call: Call) -> wire.ServiceRules:
        return wire.ServiceRules(allowed=self._services.allowed, refused=self._services.refused)

    async def _set_rules(self, call: Call) -> None:
        await self._services.set_rules(**call.body)

    async def _usage(self, call: Call) -> wire.DiskUsage:
        disk = call.path["disk"]
        if disk != DEFAULT_DISK:
            folder = await self._mounts.usable_folder(disk)
            return _wire_usage(await self._disks.mount_usage(disk, folder, _depth(call, 0)))
        return _wire_usage(await self._disks.data_usage(_depth(call, 1)))

    async def _examine(self, _call: Call) -> wire.Examination:
        findings = self._doctor.examine()
        return wire.Examination(
            findings=[
                wire.Finding(name=found.name, condition=found.condition.value, text=found.text, how=found.how)
                for found in findings
            ]
        )


def _wire_state(info: HostInfo) -> wire.HostState:
    return msgspec.convert(attrs.asdict(info), wire.HostState)


def _depth(call: Call, default: int) -> int:
    text = call.query.get("max_depth", "")
    if not (text.isascii() and text.isdigit() and len(text) <= 9):
        return default
    return min(int(text), DEEPEST)


def _wire_usage(usage: Usage) -> wire.DiskUsage:
    return wire.DiskUsage(
        id=usage.id,
        label=usage.label,
        used_bytes=usage.used,
        total_bytes=msgspec.UNSET if usage.total is None else usage.total,
        children=[_wire_usage(child) for child in usage.children] or msgspec.UNSET,
    )
