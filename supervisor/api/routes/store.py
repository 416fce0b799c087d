"""The store, and the older names of its routes under `/addons` (API contract §2.24, §2.2)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import Any

import attrs
import voluptuous as vol
from aiohttp import web

from supervisor.api.background import run_job
from supervisor.api.caller import CallerKind
from supervisor.api.models import store as wire
from supervisor.api.models.system import StartedJob
from supervisor.api.route import MARKDOWN, PNG, Access, Call, Route
from supervisor.api.routes.addons import NOTHING
from supervisor.api.views.addons import AddonViews
from supervisor.errors import Forbidden, NotFound, SupervisorError
from supervisor.jobs import JobManager
from supervisor.managers.addons import Addon, AddonManager
from supervisor.managers.store import AssetKind, Repository, StoreAddon, StoreManager
from supervisor.model.validators import non_empty_text, strict_bool

INSTALL = vol.Schema({vol.Optional("background", default=False): strict_bool})
UPDATE = vol.Schema(
    {vol.Optional("backup", default=False): strict_bool, vol.Optional("background", default=False): strict_bool}
)
ADD = vol.Schema({vol.Required("repository"): non_empty_text})


@attrs.frozen
class StoreRoutes:
    """Handlers of `/store`. `save` makes a backup of an add-on that is about to be updated."""

    _store: StoreManager
    _addons: AddonManager
    _views: AddonViews
    _jobs: JobManager
    _save: Callable[[Addon], Awaitable[object]]

    def routes(self) -> list[Route]:
        """Return every route of the store."""
        return [*self._addon_routes(), *self._repository_routes(), *self._legacy_routes()]

    def _addon_routes(self) -> list[Route]:
        base, manager = "/store/addons", Access.MANAGER
        one = f"{base}/{{addon}}"
        details = wire.StoreAddonExtended
        return [
            Route("GET", "/store", manager, self._info, "Show the store", None, wire.StoreInfo),
            Route("GET", base, manager, self._list, "List the store's add-ons", None, wire.StoreAddonList),
            Route("GET", one, manager, self._details, "Show an add-on of the store", None, details),
            Route("GET", f"{one}/{{version}}", manager, self._details, "The same for any version", None, details),
            Route("GET", f"{one}/availability", manager, self._availability, "Tell whether an add-on can run here"),
            *self._asset_routes(one),
            Route("POST", f"{one}/install", manager, self._install, "Install an add-on", INSTALL, StartedJob),
            Route("POST", f"{one}/install/{{version}}", manager, self._install, "The same", INSTALL, StartedJob),
            Route("POST", f"{one}/update", manager, self._update, "Update an add-on", UPDATE, StartedJob),
            Route("POST", f"{one}/update/{{version}}", manager, self._update, "The same", UPDATE, StartedJob),
            Route("POST", "/store/reload", manager, self._reload, "Look for news in every repository", NOTHING),
        ]

    def _repository_routes(self) -> list[Route]:
        base, manager = "/store/repositories", Access.MANAGER
        one = f"{base}/{{repository}}"
        return [
            Route("GET", base, manager, self._repositories, "List the repositories", None, list[wire.Repository]),
            Route("POST", base, manager, self._add, "Add a repository", ADD),
            Route("GET", one, manager, self._repository, "Show a repository", None, wire.Repository),
            Route("DELETE", one, manager, self._remove, "Remove a repository"),
            Route("POST", f"{one}/repair", manager, self._repair, "Fetch a repository anew", NOTHING),
        ]

    def _legacy_routes(self) -> list[Route]:
        """Return the routes that the store answers under `/addons`; there `self` passes and names no add-on."""
        one, manager = "/addons/{addon}", Access.MANAGER
        return [
            Route("POST", "/addons/reload", manager, self._reload, "Older name of /store/reload", NOTHING),
            Route("POST", f"{one}/install", manager, self._install, "Older name", INSTALL, StartedJob, own=True),
            Route("POST", f"{one}/update", manager, self._update, "Older name", UPDATE, StartedJob),
            *self._asset_routes(one, own=True),
        ]

    def _asset_routes(self, one: str, *, own: bool = False) -> Iterable[Route]:
        pictures = (("icon", AssetKind.ICON), ("logo", AssetKind.LOGO))
        texts = (("changelog", AssetKind.CHANGELOG), ("documentation", AssetKind.DOCUMENTATION))
        for name, kind in pictures:
            yield Route("GET", f"{one}/{name}", Access.OPEN, self._picture(kind), f"The {name}", None, PNG)
        for name, kind in texts:
            read = self._text(kind)
            yield Route("GET", f"{one}/{name}", Access.MANAGER, read, f"The {name}", None, MARKDOWN, own=own)

    async def _info(self, call: Call) -> wire.StoreInfo:
        return wire.StoreInfo(addons=(await self._list(call)).addons, repositories=await self._repositories(call))

    async def _list(self, _call: Call) -> wire.StoreAddonList:
        return wire.StoreAddonList(addons=[self._views.store_item(addon) for addon in self._store.addons.values()])

    async def _details(self, call: Call) -> wire.StoreAddonExtended:
        return await self._views.store_details(self._addon(call))

    async def _availability(self, call: Call) -> None:
        self._addons.installer.check_available(self._addon(call))

    async def _install(self, call: Call) -> StartedJob | None:
        slug = self._addon(call).slug
        return await run_job(
            self._jobs, lambda: self._addons.installer.install(slug), background=call.body["background"]
        )

    async def _update(self, call: Call) -> StartedJob | None:
        slug = self._addon(call).slug
        if call.caller.kind is CallerKind.ADDON and call.caller.slug == slug:
            raise Forbidden(f"Add-on {slug} can't update itself")
        addon = self._addons.get(slug)
        save = self._save if call.body["backup"] else None
        started = await run_job(
            self._jobs, lambda: self._addons.installer.update(slug, save=save), background=call.body["background"]
        )
        if started is None:
            await self._addons.runner.settled(addon)
        return started

    async def _reload(self, _call: Call) -> None:
        await self._jobs.spawn(self._store.reload).result()

    async def _repositories(self, _call: Call) -> list[wire.Repository]:
        return [_wire(repository) for repository in self._store.repositories.values()]

    async def _repository(self, call: Call) -> wire.Repository:
        return _wire(self._one(call))

    async def _add(self, call: Call) -> None:
        source = call.body["repository"]
        await self._jobs.spawn(lambda: self._store.add_repository(source)).result()

    async def _remove(self, call: Call) -> None:
        repository = self._one(call)
        used = [addon.record.repository for addon in self._addons.registry.installed.values()]
        await self._store.remove_repository(repository.slug, in_use=used)

    async def _repair(self, call: Call) -> None:
        slug = self._one(call).slug
        await self._jobs.spawn(lambda: self._store.repair_repository(slug)).result()

    def _addon(self, call: Call) -> StoreAddon:
        return self._store.get(call.path["addon"])

    def _one(self, call: Call) -> Repository:
        repository = self._store.repositories.get(call.path["repository"])
        if repository is None:
            raise NotFound(f"No repository {call.path['repository']}")
        return repository

    async def _asset(self, call: Call, kind: AssetKind) -> bytes:
        addon = self._addon(call)
        content = await self._store.read_file(addon.slug, kind)
        if content is None:
            raise SupervisorError(f"Add-on {addon.slug} has no {kind.value}")
        return content

    def _picture(self, kind: AssetKind) -> Any:
        async def handler(call: Call) -> web.Response:
            return web.Response(body=await self._asset(call, kind), content_type="image/png")

        return handler

    def _text(self, kind: AssetKind) -> Any:
        async def handler(call: Call) -> web.Response:
            content = await self._asset(call, kind)
            return web.Response(text=content.decode(errors="replace"), content_type="text/plain")

        return handler


def _wire(repository: Repository) -> wire.Repository:
    return wire.Repository(
        slug=repository.slug,
        name=repository.name,
        source=repository.source,
        url=repository.url,
        maintainer=repository.maintainer,
    )
