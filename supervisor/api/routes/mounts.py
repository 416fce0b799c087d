"""Network storage (API contract §2.16)."""

from __future__ import annotations

from functools import partial
from typing import Any, Final

import attrs
import msgspec
import voluptuous as vol

from supervisor.api.models import mounts as wire
from supervisor.api.route import Access, Call, Route
from supervisor.errors import Invalid
from supervisor.jobs import JobManager
from supervisor.managers.mounts import MountManager
from supervisor.model.mount import Mount, MountType, MountUsage, described_mount
from supervisor.model.validators import lenient_bool, lenient_int


def _change(value: dict[str, Any]) -> dict[str, Any]:
    """Check what replaces a mount: its name stands in the path, and need not be in the body."""
    if "name" in value:
        return described_mount(value)
    return {**described_mount({**value, "name": "_"}), "name": None}


# What there is, for readers; which of it belongs together is looked at after that.
_KEYS: Final[dict[Any, Any]] = {
    vol.Required("type"): vol.In([kind.value for kind in MountType]),
    vol.Required("usage"): vol.In([usage.value for usage in MountUsage]),
    vol.Optional("read_only"): lenient_bool,
    vol.Required("server"): str,
    vol.Optional("port"): lenient_int,
    vol.Optional("share"): str,
    vol.Optional("username"): str,
    vol.Optional("password"): str,
    vol.Optional("version"): vol.Any(None, "1.0", "2.0", msg="expected 1.0 or 2.0"),
    vol.Optional("path"): str,
}
CREATE: Final = vol.Schema(
    vol.All(vol.Schema({vol.Required("name"): str, **_KEYS}, extra=vol.ALLOW_EXTRA), described_mount)
)
CHANGE: Final = vol.Schema(vol.All(vol.Schema({vol.Optional("name"): str, **_KEYS}, extra=vol.ALLOW_EXTRA), _change))
OPTIONS: Final = vol.Schema({vol.Optional("default_backup_mount"): vol.Any(str, None)})


@attrs.frozen
class MountRoutes:
    """Handlers of `/mounts`."""

    _mounts: MountManager
    _jobs: JobManager

    def routes(self) -> list[Route]:
        base, one, manager = "/mounts", "/mounts/{mount}", Access.MANAGER
        return [
            Route("GET", base, manager, self._list, "List the network storage", None, wire.Mounts),
            Route("POST", base, manager, self._create, "Mount network storage", CREATE),
            Route("POST", f"{base}/options", manager, self._set_options, "Choose where backups go", OPTIONS),
            Route("PUT", one, manager, self._update, "Replace a mount by another", CHANGE),
            Route("DELETE", one, manager, self._remove, "Unmount and forget"),
            Route("POST", f"{one}/reload", manager, self._reload, "Mount anew what does not answer"),
        ]

    async def _list(self, _call: Call) -> wire.Mounts:
        await self._mounts.look()
        return wire.Mounts(
            default_backup_mount=self._mounts.default_backup_mount,
            mounts=[shown(mount, self._mounts.status(mount.name).state) for mount in self._mounts.mounts.values()],
        )

    async def _set_options(self, call: Call) -> None:
        if "default_backup_mount" in call.body:
            await self._mounts.set_default(call.body["default_backup_mount"])

    async def _create(self, call: Call) -> None:
        await self._jobs.spawn(partial(self._mounts.create, Mount.of(call.body))).result()

    async def _update(self, call: Call) -> None:
        name = call.path["mount"]
        self._mounts.get(name)
        if call.body["name"] not in (None, name):
            raise Invalid(f"The name of mount {name} can't be changed")
        mount = Mount.of({**call.body, "name": name})
        await self._jobs.spawn(partial(self._mounts.update, mount)).result()

    async def _remove(self, call: Call) -> None:
        await self._jobs.spawn(partial(self._mounts.remove, call.path["mount"])).result()

    async def _reload(self, call: Call) -> None:
        await self._jobs.spawn(partial(self._mounts.reload_mount, call.path["mount"])).result()


def shown(mount: Mount, state: str | None) -> wire.Mount:
    """Return a mount as clients know it."""
    is_cifs = mount.type is MountType.CIFS
    return wire.Mount(
        name=mount.name,
        type=mount.type.value,
        usage=mount.usage.value,
        read_only=mount.read_only,
        server=mount.server,
        port=mount.port or msgspec.UNSET,
        share=mount.share if is_cifs else msgspec.UNSET,
        version=mount.version if is_cifs else msgspec.UNSET,
        path=msgspec.UNSET if is_cifs else mount.path,
        state=state,
        user_path=mount.user_path,
    )
