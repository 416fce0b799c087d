"""What add-ons provide to each other: the broker and the database (add-on contract §6.1)."""

from __future__ import annotations

import asyncio
import logging
from typing import Any, Final

import attrs
import voluptuous as vol

from supervisor.errors import SERVICE_NOT_PROVIDED, SERVICE_PROVIDED, Forbidden, Invalid, NotFound
from supervisor.events import AddonRemoved, EventBus
from supervisor.jobs import JobManager
from supervisor.managers.addons import Addon
from supervisor.managers.addons.registry import AddonRegistry
from supervisor.model.manifest import ServiceRole
from supervisor.model.validators import lenient_bool, non_empty_text, port, text
from supervisor.state import StateFile

_LOGGER = logging.getLogger(__name__)

_LOGIN: Final[dict[Any, Any]] = {
    vol.Required("host"): non_empty_text,
    vol.Required("port"): port,
    vol.Optional("username"): text,
    vol.Optional("password"): text,
}
_RECORDS: Final[dict[str, dict[Any, Any]]] = {
    "mqtt": {
        **_LOGIN,
        vol.Optional("ssl", default=False): lenient_bool,
        vol.Optional("protocol", default="3.1.1"): vol.In(["3.1", "3.1.1"]),
    },
    "mysql": _LOGIN,
}
# What an add-on must send to provide a service.
SERVICE_SCHEMAS: Final = {service: vol.Schema(fields) for service, fields in _RECORDS.items()}


def _stored(fields: dict[Any, Any]) -> vol.Schema:
    """Describe a record in the file: empty, or what was sent and its owner; newer installations call that `app`."""
    record = vol.Schema(
        {**fields, vol.Exclusive("addon", "owner"): str, vol.Exclusive("app", "owner"): str}, extra=vol.REMOVE_EXTRA
    )
    return vol.Schema(vol.Any({}, record))


SERVICES_SCHEMA = vol.Schema(
    {vol.Optional(service, default=dict): _stored(fields) for service, fields in _RECORDS.items()},
    extra=vol.REMOVE_EXTRA,
)


@attrs.frozen
class ServiceRecord:
    """How to reach a service; `owner` is the slug of the add-on that provides it."""

    owner: str
    data: dict[str, Any] = attrs.field(repr=False)


class ServiceManager:
    """One record for each service, written and deleted by add-ons whose manifest says that they provide it.

    A record lives until its owner deletes it or is uninstalled, or the machine boots.
    """

    def __init__(self, state: StateFile, registry: AddonRegistry, jobs: JobManager, bus: EventBus) -> None:
        self._state = state
        self._registry = registry
        self._jobs = jobs
        self._bus = bus
        self._records: dict[str, ServiceRecord] = {}
        self._changing = asyncio.Lock()

    async def load(self) -> None:
        """Read what was provided; what add-ons left behind that are gone doesn't count. Add-ons are loaded before."""
        for service, stored in (await self._state.load()).items():
            owner = stored.get("app") or stored.get("addon")
            if isinstance(owner, str) and owner in self._registry.installed:
                data = {key: value for key, value in stored.items() if key not in ("app", "addon")}
                self._records[service] = ServiceRecord(owner, data)
        self._bus.subscribe(AddonRemoved, self._removed)

    def record(self, service: str) -> ServiceRecord | None:
        """Return what is provided, without asking who wants to know; what an add-on left behind is nothing."""
        record = self._records.get(service)
        return record if record is not None and record.owner in self._registry.installed else None

    def providers(self, service: str) -> list[str]:
        """Return the installed add-ons that say they provide the service, whether or not they did."""
        installed = self._registry.installed.items()
        return [slug for slug, addon in installed if addon.manifest.services.get(service) == ServiceRole.PROVIDE]

    def read(self, service: str, addon: Addon) -> ServiceRecord:
        """Return what is provided, for an add-on that has to do with it.

        Raises:
            NotFound: there is no such service.
            Forbidden: the add-on's manifest does not name it.
            Invalid: nobody provides it.
        """
        self._role(service, addon)
        record = self.record(service)
        if record is None:
            raise Invalid(f"The service {service} is not enabled")
        return record

    async def provide(self, service: str, addon: Addon, data: dict[str, Any]) -> None:
        """Store what an add-on provides; `data` is what the service's schema made of it.

        Raises:
            NotFound: there is no such service.
            Forbidden: the add-on's manifest does not say that it provides it.
            Conflict: the service is provided already, be it by the same add-on.
        """
        self.check_provider(service, addon)
        async with self._changing:
            known = self.record(service)
            if known is not None:
                raise SERVICE_PROVIDED(service=service, app=known.owner)
            await self._save({**self._records, service: ServiceRecord(addon.slug, data)})
        _LOGGER.info("%s: provides %s", addon.slug, service, extra={"ADDON": addon.slug})

    async def withdraw(self, service: str, addon: Addon) -> None:
        """Delete what an add-on provided.

        Raises:
            NotFound: there is no such service, or nobody provides it.
            Forbidden: the add-on does not provide it, or another one did.
        """
        self.check_provider(service, addon)
        async with self._changing:
            known = self.record(service)
            if known is None:
                raise SERVICE_NOT_PROVIDED(service=service)
            if known.owner != addon.slug:
                raise Forbidden(f"The service {service} is provided by add-on {known.owner}")
            await self._save({name: record for name, record in self._records.items() if name != service})
        _LOGGER.info("%s: no longer provides %s", addon.slug, service, extra={"ADDON": addon.slug})

    async def reset(self) -> None:
        """Forget everything, as at each boot of the machine before its providers start."""
        async with self._changing:
            if self._records:
                await self._save({})

    def check_provider(self, service: str, addon: Addon) -> None:
        """Make sure that the add-on may provide the service.

        Raises:
            NotFound: there is no such service.
            Forbidden: the add-on's manifest does not say that it provides it.
        """
        if self._role(service, addon) != ServiceRole.PROVIDE:
            raise Forbidden(f"Add-on {addon.slug} does not say that it provides the service {service}")

    def _role(self, service: str, addon: Addon) -> ServiceRole:
        if service not in SERVICE_SCHEMAS:
            raise NotFound(f"There is no service {service}")
        role = addon.manifest.services.get(service)
        if role is None:
            raise Forbidden(f"Add-on {addon.slug} has nothing to do with the service {service}")
        return role

    def _removed(self, event: AddonRemoved) -> None:
        self._jobs.spawn(lambda: self._forget(event.slug))

    async def _forget(self, slug: str) -> None:
        async with self._changing:
            left = {name: record for name, record in self._records.items() if record.owner != slug}
            if left != self._records:
                await self._save(left)

    async def _save(self, records: dict[str, ServiceRecord]) -> None:
        given = {service: {**record.data, "addon": record.owner} for service, record in records.items()}
        await self._state.save({service: given.get(service, {}) for service in SERVICE_SCHEMAS})
        self._records = records
