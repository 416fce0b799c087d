"""One mount with all that belongs to it: its unit, its login, the folder where add-ons find it (host contract §43)."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Iterable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeVar

import attrs

from supervisor.drivers.dbus.systemd import UnitState
from supervisor.drivers.detached import detached
from supervisor.drivers.mount_point import (
    TargetTaken,
    check_target,
    drop_target,
    is_alive,
    is_mount_point,
    make_target,
    set_aside,
)
from supervisor.errors import (
    MOUNT_TARGET_NOT_DIRECTORY,
    MOUNT_TARGET_NOT_EMPTY,
    Failed,
    NotFound,
    SupervisorError,
    Timeout,
    Unavailable,
)
from supervisor.model.mount import Mount, MountType, MountUsage, is_mount_name
from supervisor.paths import DataPaths
from supervisor.state import write_atomic

from .units import MountUnits, Plan

_LOGGER = logging.getLogger(__name__)

T = TypeVar("T")

PROBE_SECONDS: Final = 35.0
_LOCAL_SECONDS: Final = 20.0
# A look at a server that is dead may go on in the kernel; nobody else looks at the same mount before it has ended.
_HANGING_SECONDS: Final = 3600.0
_EMERGENCY_MODE: Final = 0o444
HELPERS: Final = (Path("/usr/sbin"), Path("/sbin"))
_PACKAGES: Final = {MountType.CIFS: "cifs-utils", MountType.NFS: "nfs-common"}


@attrs.frozen
class MountStatus:
    """What was last known: the state of the unit, and whether there is a server behind it that answers.

    The state is one of the words that there always were: clients take no others. None is any other, or no unit at all.
    """

    state: str | None = None
    usable: bool = False

    @classmethod
    def of(cls, state: UnitState | str | None, *, usable: bool) -> MountStatus:
        return cls(state.value if isinstance(state, UnitState) else None, usable)


class Mounting:
    """Works on mounts that are given; which there are is somebody else's to know.

    `helpers` are the folders in which the host has the programs for kinds of mounts; none where they can't be seen.
    """

    def __init__(self, paths: DataPaths, units: MountUnits, *, helpers: Sequence[Path] = ()) -> None:
        self._paths = paths
        self._units = units
        self._helpers = tuple(helpers)
        self._probes: dict[str, asyncio.Task[bool]] = {}

    async def stop(self) -> None:
        for probe in self._probes.values():
            probe.cancel()
        await asyncio.gather(*self._probes.values(), return_exceptions=True)

    def folder(self, mount: Mount) -> Path:
        return self._paths.mounts / mount.name

    def bound_folder(self, mount: Mount) -> Path | None:
        """Return where add-ons are given it; None for those that aren't."""
        match mount.usage:
            case MountUsage.MEDIA:
                return self._paths.media / mount.name
            case MountUsage.SHARE:
                return self._paths.share / mount.name
            case MountUsage.BACKUP:
                return None

    def plan(self, mount: Mount) -> Plan:
        """Describe the mount of the server's share."""
        return Plan(
            self._paths.on_host(self.folder(mount)),
            mount.what,
            f"Supervisor {mount.type.value} mount: {mount.name}",
            tuple(mount.options(self._paths.on_host(self._credentials(mount)))),
            mount.type.value,
        )

    def bind_plan(self, mount: Mount, bound: Path, *, emergency: bool = False) -> Plan:
        """Describe what add-ons are given: the mount, or in an emergency an empty folder that nobody can fill."""
        source = self._paths.emergency / mount.name if emergency else self.folder(mount)
        name = f"{'emergency' if emergency else 'bind'}_{mount.name}"
        options = ("ro", "bind") if emergency or mount.read_only else ("bind",)
        return Plan(
            self._paths.on_host(bound), str(self._paths.on_host(source)), f"Supervisor bind mount: {name}", options
        )

    def unit_names(self, mount: Mount) -> set[str]:
        """Return the units that systemd may have for it."""
        bound = self.bound_folder(mount)
        return {self.plan(mount).unit, *({self.bind_plan(mount, bound).unit} if bound is not None else ())}

    async def status(self, mount: Mount, known: MountStatus) -> MountStatus:
        """Ask systemd alone, which takes no time; what is known of the server stays."""
        state = await self._units.state(self.plan(mount).unit)
        return MountStatus.of(state, usable=known.usable and state == UnitState.ACTIVE)

    async def examine(self, mount: Mount) -> MountStatus:
        """Ask systemd and the server."""
        state = await self._units.state(self.plan(mount).unit)
        return MountStatus.of(state, usable=state == UnitState.ACTIVE and await self.probe(mount))

    async def probe(self, mount: Mount) -> bool:
        """Tell whether the server answers; who asks while another look hangs waits with it, and not for long."""
        probe = self._probes.get(mount.name)
        if probe is None:
            look = partial(is_alive, self.folder(mount))
            work = detached(look, name=f"look at {mount.name}", seconds=_HANGING_SECONDS)
            probe = asyncio.get_running_loop().create_task(work, name=f"look at mount {mount.name}")
            self._probes[mount.name] = probe
            probe.add_done_callback(lambda _: self._probes.pop(mount.name, None))
        try:
            async with asyncio.timeout(PROBE_SECONDS):
                return await asyncio.shield(probe)
        except TimeoutError:
            return False

    async def check_targets(self, mount: Mount) -> None:
        """See that nothing is in the way.

        Raises:
            Invalid: something is.
        """
        for target in filter(None, (self.folder(mount), self.bound_folder(mount))):
            await self._local(mount.name, partial(check_target, target))

    async def up(self, mount: Mount) -> None:
        """Have it mounted, and given to add-ons. What is mounted already stays so.

        Raises:
            SupervisorError: it can't be mounted; add-ons are given the empty folder.
        """
        await self._given(mount, self._mounted(mount), anew=False)

    async def reload(self, mount: Mount) -> None:
        """Mount anew what is not there or does not answer, and give it to add-ons anew.

        Raises:
            SupervisorError: it can't be mounted; add-ons are given the empty folder.
        """
        await self._given(mount, self._reloaded(mount), anew=True)

    async def down(self, mount: Mount) -> None:
        """Unmount it, and forget its login.

        Raises:
            SupervisorError: it can't be unmounted, as when it is in use.
        """
        bound = self.bound_folder(mount)
        if bound is not None:
            await self._unmount(mount.name, self.bind_plan(mount, bound).unit)
        await self._unmount(mount.name, self.plan(mount).unit)
        await self._local(mount.name, partial(self._clear, mount))

    async def names(self) -> set[str]:
        """Return the names of all mounts that there are traces of, here and not in systemd.

        Raises:
            Timeout, Failed: the folders can't be read.
        """
        folders = (self._paths.mounts, self._paths.mounts_credentials)
        return {name for name in await self._local("mounts", partial(_names, folders)) if is_mount_name(name)}

    async def clear(self, name: str) -> bool:
        """Unmount what a daemon that died, or lost systemd, had begun to mount; tell whether there was anything.

        Raises:
            SupervisorError: it can't be unmounted, as when it is in use.
        """
        ghosts = [Mount(name=name, type=kind, usage=usage, server="") for kind in MountType for usage in MountUsage]
        bound = [(ghost, folder) for ghost in ghosts if (folder := self.bound_folder(ghost)) is not None]
        plans = [self.bind_plan(ghost, folder, emergency=closed) for ghost, folder in bound for closed in (False, True)]
        found = False
        for plan in (*plans, *map(self.plan, ghosts)):
            if await self._units.describes(plan):
                found = True
                await self._unmount(name, plan.unit)
        for ghost in ghosts:
            # Where nothing was given to add-ons, an empty folder of theirs is somebody's own.
            if found or self.bound_folder(ghost) is None:
                await self._local(name, partial(self._clear, ghost))
        return found

    async def set_aside(self, mount: Mount) -> None:
        """Move local data that are in the way of the mount to where people find them, all into one folder.

        Raises:
            Failed: they can't be moved.
        """
        root = {MountUsage.MEDIA: self._paths.media, MountUsage.SHARE: self._paths.share}.get(
            mount.usage, self._paths.backup
        )
        recovery = root / f"{mount.name}_local_recovery"
        for target in filter(None, (self.folder(mount), self.bound_folder(mount))):
            place = await self._local(mount.name, partial(set_aside, target, recovery))
            if place is not None:
                _LOGGER.warning("Mount %s: local data from %s were moved to %s", mount.name, target, place)
                if await self._local(mount.name, place.is_dir):
                    recovery = place / root.name

    async def _given(self, mount: Mount, work: Coroutine[Any, Any, bool], *, anew: bool) -> None:
        bound = self.bound_folder(mount)
        try:
            changed = await work
        except SupervisorError:
            if bound is not None:
                await self._bind_emergency(mount, bound)
            raise
        if bound is not None:
            plan = self.bind_plan(mount, bound)
            if anew or changed or not await self._units.holds(plan):
                await self._bind(mount, plan, bound)

    async def _mounted(self, mount: Mount) -> bool:
        """Tell whether anything had to be done."""
        state = await self._units.settled(self.plan(mount).unit)
        if state is None:
            await self._mount(mount)
        elif state == UnitState.ACTIVE and await self.probe(mount):
            return False
        else:
            await self._reloaded(mount)
        return True

    async def _mount(self, mount: Mount) -> None:
        await self._local(mount.name, partial(make_target, self.folder(mount)))
        await self._local(mount.name, partial(self._write_credentials, mount))
        plan = self.plan(mount)
        done = await self._units.start(plan)
        await self._require(mount, plan, done=done)

    async def _reloaded(self, mount: Mount) -> bool:
        """Tell whether anything had to be done."""
        if (await self.examine(mount)).usable:
            return False
        plan = self.plan(mount)
        await self._local(mount.name, partial(self._write_credentials, mount))
        try:
            done = await self._units.reload(plan.unit)
        except NotFound:
            await self._mount(mount)
            return True
        except SupervisorError as err:
            _LOGGER.debug("Mount %s can't be reloaded: %s", mount.name, err)
            done = False
        state = await self._units.state(plan.unit)
        if state is None:
            await self._mount(mount)
            return True
        if state == UnitState.RELOADING:
            raise Unavailable(f"Mount {mount.name} is still being reloaded; {_see(plan)}")
        if not (done and await self.probe(mount)):
            done = await self._units.restart(plan.unit)
            await self._require(mount, plan, done=done)
        return True

    async def _require(self, mount: Mount, plan: Plan, *, done: bool) -> None:
        state = await self._units.state(plan.unit)
        if done and state == UnitState.ACTIVE and await self.probe(mount):
            return
        why = await asyncio.to_thread(self._lacking, mount.type) or _see(plan)
        raise Unavailable(f"Mounting {mount.name} ({mount.what}) did not succeed; {why}")

    def _lacking(self, kind: MountType) -> str | None:
        """Say which program this kind of mount would need, when the host lacks it."""
        program = f"mount.{kind.value}"
        if not self._helpers or any((folder / program).exists() for folder in self._helpers):
            return None
        return f"this machine has no {program}: install {_PACKAGES[kind]}"

    async def _bind(self, mount: Mount, plan: Plan, bound: Path) -> None:
        """Give add-ons what `plan` says, in place of what they have been given."""
        await self._unmount(mount.name, plan.unit)
        await self._local(mount.name, partial(make_target, bound))
        done = await self._units.start(plan)
        if not done or not await self._local(mount.name, partial(is_mount_point, bound)):
            raise Unavailable(f"Mount {mount.name} can't be given to add-ons at {mount.user_path}; {_see(plan)}")

    async def _bind_emergency(self, mount: Mount, bound: Path) -> None:
        """Keep add-ons from filling this machine's disk in place of the server's; whatever fails is logged."""
        try:
            await self._local(mount.name, partial(_make_emergency, self._paths.emergency / mount.name))
            plan = self.bind_plan(mount, bound, emergency=True)
            if not await self._units.holds(plan):
                await self._bind(mount, plan, bound)
        except SupervisorError as err:
            _LOGGER.error("Mount %s: its folder can't be closed while it is away: %s", mount.name, err)

    async def _unmount(self, name: str, unit: str) -> None:
        if not await self._units.stop(unit):
            raise Unavailable(f"Mount {name} can't be unmounted; is it in use? See journalctl -u {unit}")

    async def _local(self, name: str, work: Callable[[], T]) -> T:
        """Work on this machine's own folders, where a mount in the way could still hold us."""
        try:
            return await detached(work, name=f"folders of {name}", seconds=_LOCAL_SECONDS)
        except TargetTaken as err:
            kind = MOUNT_TARGET_NOT_EMPTY if err.is_folder else MOUNT_TARGET_NOT_DIRECTORY
            raise kind(name=name, path=str(err.path)) from err
        except TimeoutError:
            raise Timeout(f"The folders of mount {name} do not answer") from None
        except OSError as err:
            raise Failed(f"The folders of mount {name}: {err.strerror or err}") from err

    def _credentials(self, mount: Mount) -> Path:
        return self._paths.mounts_credentials / mount.name

    def _write_credentials(self, mount: Mount) -> None:
        content = mount.credentials()
        if content is None:
            self._credentials(mount).unlink(missing_ok=True)
            return
        self._paths.mounts_credentials.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._paths.mounts_credentials.chmod(0o700)
        write_atomic(self._credentials(mount), content)

    def _clear(self, mount: Mount) -> None:
        self._credentials(mount).unlink(missing_ok=True)
        for target in filter(None, (self.bound_folder(mount), self.folder(mount))):
            drop_target(target)
        drop_target(self._paths.emergency / mount.name)


def _names(folders: Iterable[Path]) -> set[str]:
    found: set[str] = set()
    for folder in folders:
        with suppress(FileNotFoundError):
            found.update(path.name for path in folder.iterdir())
    return found


def _make_emergency(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(_EMERGENCY_MODE)


def _see(plan: Plan) -> str:
    return f"the host's journal tells why (journalctl -u {plan.unit})"
