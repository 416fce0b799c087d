"""The engine's settings (API contract §2.11)."""

from __future__ import annotations

import attrs
import voluptuous as vol

from supervisor.api.models import system as wire
from supervisor.api.route import Access, Call, Route
from supervisor.drivers.docker.engine import Engine
from supervisor.managers.docker import DockerSettings
from supervisor.managers.os import STORAGE_DRIVERS, StorageDriver
from supervisor.model.registries import mirror_list, registry_host
from supervisor.model.validators import lenient_bool, non_empty_text, strict_int

OPTIONS = vol.Schema(
    {
        vol.Optional("enable_ipv6"): vol.Any(lenient_bool, None),
        vol.Optional("mtu"): vol.Any(vol.All(strict_int, vol.Range(68, 65535)), None),
    }
)
REGISTRIES = vol.Schema(
    {registry_host: {vol.Required("username"): non_empty_text, vol.Required("password"): non_empty_text}}
)
MIGRATION = vol.Schema({vol.Required("storage_driver"): vol.In(STORAGE_DRIVERS)})
MIRRORS = vol.Schema({registry_host: mirror_list})


@attrs.frozen
class DockerRoutes:
    """Handlers of `/docker`."""

    _engine: Engine
    _docker: DockerSettings
    _storage_driver: StorageDriver

    def routes(self) -> list[Route]:
        base, mirrors, manager = "/docker/registries", "/docker/mirrors", Access.MANAGER
        migrate = "/docker/migrate-storage-driver"
        return [
            Route("GET", "/docker/info", Access.ALL, self._info, "Show the engine", None, wire.DockerInfo),
            Route("POST", "/docker/options", manager, self._set_options, "Set IPv6 and MTU", OPTIONS),
            Route("POST", migrate, manager, self._migrate, "Change the storage driver with the next boot", MIGRATION),
            Route("GET", base, manager, self._registries, "List registry logins", None, wire.Registries),
            Route("POST", base, manager, self._add, "Add or replace registry logins", REGISTRIES),
            Route("DELETE", f"{base}/{{hostname}}", manager, self._remove, "Forget a registry login"),
            Route("GET", mirrors, manager, self._mirrors, "List the mirrors of registries", None, wire.Mirrors),
            Route("POST", mirrors, manager, self._set_mirrors, "Set the mirrors of registries", MIRRORS),
            Route("DELETE", f"{mirrors}/{{hostname}}", manager, self._remove_mirrors, "Forget a registry's mirrors"),
        ]

    async def _info(self, _call: Call) -> wire.DockerInfo:
        info = self._engine.info
        return wire.DockerInfo(
            version=info.version if info else "",
            storage=info.storage_driver if info else "",
            logging=info.logging_driver if info else "",
            enable_ipv6=self._docker.enable_ipv6,
            mtu=self._docker.mtu,
            registries=self._logins(),
        )

    async def _registries(self, _call: Call) -> wire.Registries:
        return wire.Registries(registries=self._logins())

    def _logins(self) -> dict[str, wire.RegistryLogin]:
        logins = self._docker.registries.items()
        return {host: wire.RegistryLogin(username=login["username"]) for host, login in logins}

    async def _set_options(self, call: Call) -> None:
        await self._docker.set_options(call.body)

    async def _migrate(self, call: Call) -> None:
        await self._storage_driver.migrate(call.body["storage_driver"])

    async def _add(self, call: Call) -> None:
        await self._docker.add_registries(call.body)

    async def _remove(self, call: Call) -> None:
        await self._docker.remove_registry(call.path["hostname"])

    async def _mirrors(self, _call: Call) -> wire.Mirrors:
        return wire.Mirrors(mirrors=dict(self._docker.mirrors.all))

    async def _set_mirrors(self, call: Call) -> None:
        await self._docker.mirrors.set(call.body)

    async def _remove_mirrors(self, call: Call) -> None:
        await self._docker.mirrors.remove(call.path["hostname"])
