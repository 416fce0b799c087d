"""Installed add-ons (API contract §2.2)."""

from __future__ import annotations

from typing import Any

import attrs
import msgspec
import voluptuous as vol

from supervisor.api.background import run_job
from supervisor.api.caller import CallerKind
from supervisor.api.models import addons as wire
from supervisor.api.route import Access, Call, RawBody, Route
from supervisor.api.routes.logs import log_routes
from supervisor.api.views.addons import AddonViews
from supervisor.errors import Forbidden, Invalid
from supervisor.jobs import JobManager
from supervisor.managers.addons import Addon, AddonManager
from supervisor.managers.addons.limits import LIMITS_SCHEMA
from supervisor.managers.logs import LogManager, LogTarget
from supervisor.managers.store import StoreManager
from supervisor.model.validators import lenient_bool, network_ports

SELF = "self"
START_NEWS_SECONDS = 10.0


def _boot(value: Any) -> str:
    if value == "manual_only":
        return "manual"
    if value not in ("auto", "manual"):
        raise vol.Invalid("expected auto or manual")
    return str(value)


OPTIONS = vol.Schema(
    {
        vol.Optional("boot"): _boot,
        vol.Optional("auto_update"): lenient_bool,
        vol.Optional("network"): vol.Any(network_ports, None),
        vol.Optional("options"): vol.Any(dict, None),
        vol.Optional("audio_output"): vol.Any(str, None),
        vol.Optional("audio_input"): vol.Any(str, None),
        vol.Optional("ingress_panel"): lenient_bool,
        vol.Optional("watchdog"): lenient_bool,
        vol.Optional("limits"): vol.Any(LIMITS_SCHEMA.schema, None),
    }
)
SYSTEM_OPTIONS = vol.Schema(
    {
        vol.Optional("system_managed"): lenient_bool,
        vol.Optional("system_managed_config_entry"): vol.Any(str, None),
    }
)
SECURITY = vol.Schema({vol.Optional("protected"): lenient_bool})
UNINSTALL = vol.Schema({vol.Optional("remove_config", default=False): lenient_bool})
REBUILD = vol.Schema({vol.Optional("force", default=False): lenient_bool})
NOTHING = vol.Schema({}, extra=vol.REMOVE_EXTRA)


@attrs.frozen
class AddonRoutes:
    """Handlers of `/addons`."""

    _addons: AddonManager
    _store: StoreManager
    _views: AddonViews
    _jobs: JobManager
    _logs: LogManager

    def routes(self) -> list[Route]:
        """Return every route of installed add-ons but the older names of store routes."""
        one, manager = "/addons/{addon}", Access.MANAGER
        return [
            Route("GET", "/addons", manager, self._list, "List the installed add-ons", returns=wire.AddonList),
            Route("GET", f"{one}/info", Access.ALL, self._info, "Show an add-on", None, wire.AddonInfo, own=True),
            Route("POST", f"{one}/start", manager, self._start, "Start an add-on", NOTHING, own=True),
            Route("POST", f"{one}/stop", manager, self._stop, "Stop an add-on", NOTHING, own=True),
            Route("POST", f"{one}/restart", manager, self._restart, "Restart an add-on", NOTHING, own=True),
            Route("POST", f"{one}/rebuild", manager, self._rebuild, "Make its image anew", REBUILD, own=True),
            Route("POST", f"{one}/uninstall", manager, self._uninstall, "Remove an add-on", UNINSTALL, own=True),
            Route("POST", f"{one}/options", manager, self._set_options, "Set options", OPTIONS, own=True),
            Route(
                "POST",
                f"{one}/options/validate",
                manager,
                self._validate_options,
                "Check options without storing them; an empty body checks the present ones",
                RawBody("application/json"),
                wire.OptionsVerdict,
            ),
            Route(
                "GET",
                f"{one}/options/config",
                manager,
                self._rendered_options,
                "Show the caller's own options with secrets filled in",
                None,
                dict[str, Any],
                own=True,
            ),
            Route(
                "POST",
                f"{one}/sys_options",
                Access.CORE_PATH,
                self._set_system_options,
                "Tell who manages an add-on",
                SYSTEM_OPTIONS,
            ),
            Route(
                "POST",
                f"{one}/security",
                Access.ADMIN,
                self._set_security,
                "Switch the protection mode",
                SECURITY,
            ),
            Route(
                "POST",
                f"{one}/stdin",
                manager,
                self._write_stdin,
                "Write to an add-on's standard input",
                RawBody(),
                own=True,
            ),
            Route(
                "POST", f"{one}/rollback", manager, self._rollback, "Return to the version before an update", NOTHING
            ),
            Route(
                "GET",
                f"{one}/stats",
                manager,
                self._stats,
                "Show what an add-on uses",
                None,
                wire.Stats,
                own=True,
            ),
            *log_routes(f"{one}/logs", manager, self._logs, self._log_target, own=True),
        ]

    def _addon(self, call: Call) -> Addon:
        """Return the add-on that the path names.

        Raises:
            Invalid: `self` from somebody who is no add-on, or an add-on that is not installed.
            NotFound: nobody knows it.
        """
        return self._addons.get(self._slug(call))

    def _slug(self, call: Call) -> str:
        slug = call.path["addon"]
        if slug != SELF:
            return slug
        if call.caller.kind is not CallerKind.ADDON or call.caller.slug is None:
            raise Invalid("Only an add-on can speak of itself as self")
        return call.caller.slug

    async def _list(self, _call: Call) -> wire.AddonList:
        addons = self._addons.registry.installed.values()
        return wire.AddonList(addons=[self._views.list_item(addon) for addon in addons])

    async def _info(self, call: Call) -> msgspec.Raw | wire.AddonInfo:
        slug = self._slug(call)
        store = self._store.addons.get(slug)
        if slug not in self._addons.registry.installed and store is not None:
            return await self._views.not_installed(store)
        addon = self._addons.get(slug)
        if call.caller.slug == slug and not addon.running and self._addons.runner.busy(addon):
            await addon.noticed(START_NEWS_SECONDS)
        trusted = call.caller.may_manage or call.caller.slug == slug
        return await self._views.info(addon, with_options=trusted)

    async def _start(self, call: Call) -> None:
        addon = self._addon(call)
        await self._addons.runner.start(addon)
        await self._addons.runner.settled(addon)

    async def _stop(self, call: Call) -> None:
        await self._addons.runner.stop(self._addon(call))

    async def _restart(self, call: Call) -> None:
        addon = self._addon(call)
        await self._addons.runner.restart(addon)
        await self._addons.runner.settled(addon)

    async def _rebuild(self, call: Call) -> Any:
        addon = self._addon(call)
        force = call.body["force"]
        await run_job(self._jobs, lambda: self._addons.installer.rebuild(addon.slug, force=force), background=False)
        await self._addons.runner.settled(addon)

    async def _rollback(self, call: Call) -> None:
        addon = self._addon(call)
        await self._jobs.spawn(lambda: self._addons.rollbacks.roll_back(addon)).result()
        await self._addons.runner.settled(addon)

    async def _uninstall(self, call: Call) -> None:
        slug = self._addon(call).slug
        remove_config = call.body["remove_config"]
        work = self._jobs.spawn(lambda: self._addons.installer.uninstall(slug, remove_config=remove_config))
        await work.result()
        self._views.drop(slug)

    async def _set_options(self, call: Call) -> None:
        if "limits" in call.body and not call.caller.may_manage:
            raise Forbidden("An add-on can't change its own limits")
        await self._addons.set_options(self._addon(call), call.body)

    async def _validate_options(self, call: Call) -> wire.OptionsVerdict:
        addon = self._addon(call)
        try:
            submitted = msgspec.json.decode(call.body) if call.body.strip() else None
        except (msgspec.DecodeError, RecursionError) as err:
            raise Invalid("The body is no valid JSON") from err
        verdict = await self._addons.judge_options(addon, submitted)
        return wire.OptionsVerdict(message=verdict.message, valid=verdict.valid, pwned=verdict.pwned)

    async def _rendered_options(self, call: Call) -> dict[str, Any]:
        if call.path["addon"] != SELF:
            raise Forbidden("An add-on may read its own configuration only")
        return (await self._addons.options.check_effective(self._addon(call))).resolved

    async def _set_system_options(self, call: Call) -> None:
        addon = self._addon(call)
        managed = call.body.get("system_managed", addon.record.system_managed)
        entry = call.body.get("system_managed_config_entry", addon.record.system_managed_config_entry)
        await self._addons.registry.change(
            addon, system_managed=managed, system_managed_config_entry=entry if managed else None
        )

    async def _set_security(self, call: Call) -> None:
        addon = self._addon(call)
        if "protected" in call.body:
            await self._addons.registry.change(addon, protected=call.body["protected"])

    async def _write_stdin(self, call: Call) -> None:
        await self._addons.runner.write_stdin(self._addon(call), call.body)

    async def _stats(self, call: Call) -> wire.Stats:
        stats = await self._addons.runner.stats(self._addon(call))
        return wire.Stats(**attrs.asdict(stats))

    def _log_target(self, call: Call) -> LogTarget:
        addon = self._addon(call)
        return LogTarget(identifiers=(f"addon_{addon.slug}", f"app_{addon.slug}"), container=addon.container_name)
