"""Updates of the operating system: which there is, and having RAUC write it (host contract §28)."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from supervisor.const import MIB
from supervisor.drivers.dbus.rauc import Operation, Rauc
from supervisor.drivers.download import download
from supervisor.drivers.http import HttpClient
from supervisor.errors import OS_UPDATE_FAILED, Busy, Invalid, SupervisorError, Unavailable
from supervisor.jobs import Job, JobCondition, JobManager
from supervisor.managers.updater import Updater
from supervisor.model.os_release import is_safe
from supervisor.model.version import is_newer
from supervisor.paths import DataPaths

from .slots import BootSlots
from .system import OperatingSystem

_LOGGER = logging.getLogger(__name__)

# One at a time writes slots, or has the machine boot one.
OS_LOCK: Final = "os_manager"
CONDITIONS: Final = (
    JobCondition.HAOS,
    JobCondition.HEALTHY,
    JobCondition.INTERNET_SYSTEM,
    JobCondition.RUNNING,
    JobCondition.SUPERVISOR_UPDATED,
)
DOWNLOAD_SECONDS: Final = 3600.0
# Some machines have slow flash, and RAUC writes whole partitions.
INSTALL_SECONDS: Final = 3600.0
# What a download leaves free on the disk, for all the others that write.
SPARE_BYTES: Final = 256 * MIB
# The share of the way that the download is, in percent.
DOWNLOADED: Final = 50.0
_PROGRESS: Final = Rauc.progress.name


class OsUpdates:
    def __init__(
        self,
        system: OperatingSystem,
        slots: BootSlots,
        rauc: Rauc,
        updater: Updater,
        http: HttpClient,
        jobs: JobManager,
        paths: DataPaths,
    ) -> None:
        self._system = system
        self._slots = slots
        self._rauc = rauc
        self._updater = updater
        self._http = http
        self._jobs = jobs
        self._paths = paths

    async def load(self) -> None:
        """Remove what a daemon that was killed left of a download."""
        await asyncio.to_thread(_remove_bundles, self._paths.tmp)

    @property
    def latest(self) -> str | None:
        """The version to go to next, None when none is known; it may be the running one."""
        return self._updater.os_releases.latest(self._system.version) if self._system.is_haos else None

    @property
    def available(self) -> bool:
        """Whether there is a newer version than the one that runs and the one that waits for a reboot."""
        latest = self.latest
        return is_newer(latest, self._system.version) is True and latest != self._slots.pending

    async def update(self, version: str | None = None) -> None:
        """Download a version, `latest` if none is given, and write it into the slot that is not running.

        It is started by the next boot, which is left to whoever asked.

        Raises:
            Blocked: see CONDITIONS. Busy: somebody installs already.
            Invalid: there is no such version, or it is installed; RAUC refuses the bundle (`os_update_failed`).
            Unavailable, Timeout: the bundle can't be had, there is no room for it, or RAUC is away.
        """
        # On another system that is the answer, and nobody is asked about the internet for it.
        conditions = CONDITIONS if self._system.is_haos else (JobCondition.HAOS,)
        async with self._jobs.run("os_manager_update", conditions=conditions, lock=OS_LOCK, cancellable=True) as job:
            version = self._wanted(version)
            url = self._url(version)
            # Asking starts RAUC, should nobody have asked it anything yet.
            await self._rauc.refresh()
            if self._rauc.operation == Operation.INSTALLING:
                raise Busy("RAUC is installing something already")
            job.update(reference=version)
            job.validated()
            bundle = self._paths.tmp / f"hassos-{version}.raucb"
            _LOGGER.info("Fetching version %s of the operating system from %s", version, url)
            try:
                await self._fetch(url, bundle, job)
                # RAUC can't be stopped once it writes.
                job.cancellable = False
                await self._install(bundle, version, job)
            finally:
                await asyncio.shield(asyncio.to_thread(bundle.unlink, missing_ok=True))
            await self._slots.installed(version)

    def _wanted(self, version: str | None) -> str:
        version = version or self.latest
        if version is None:
            raise Invalid("The version file names no version of the operating system for this board")
        if version == self._system.version:
            raise Invalid(f"Version {version} is already installed")
        if version == self._slots.pending:
            raise Invalid(f"Version {version} is already installed, reboot the system to activate it")
        if not is_safe(version):
            raise Invalid(f"{version!r} is no version")
        return version

    def _url(self, version: str) -> str:
        try:
            return self._updater.os_releases.url(version, self._system.board or "")
        except ValueError as err:
            raise Unavailable(f"Nobody tells where version {version} of the operating system is: {err}") from err

    async def _fetch(self, url: str, bundle: Path, job: Job) -> None:
        job.stage("download")

        def tell(here: int, size: int | None) -> None:
            share = DOWNLOADED * here / size if size else None
            job.update(progress=share, extra={"current": here, "total": size})

        await download(self._http, url, bundle, seconds=DOWNLOAD_SECONDS, spare=SPARE_BYTES, tell=tell)

    async def _install(self, bundle: Path, version: str, job: Job) -> None:
        job.update(stage="install", progress=DOWNLOADED, extra={})
        with self._telling(job):
            async with self._rauc.listen(self._rauc.completed) as completed:
                await self._rauc.install(str(self._paths.on_host(bundle)))
                result = await completed.until(lambda _: True, seconds=INSTALL_SECONDS)
        if result == 0:
            return
        try:
            await self._rauc.refresh()
        except SupervisorError as err:
            _LOGGER.warning("RAUC does not tell why it failed: %s", err)
        reason = self._rauc.last_error or f"it ended with {result}"
        _LOGGER.error("RAUC could not install version %s: %s", version, reason)
        # What waited for a reboot may be overwritten in part.
        await self._slots.look_again()
        raise OS_UPDATE_FAILED(version=version, reason=reason)

    @contextmanager
    def _telling(self, job: Job) -> Iterator[None]:
        """Have the job's progress follow RAUC's."""

        def changed(names: frozenset[str]) -> None:
            progress = self._rauc.progress
            if _PROGRESS in names and progress is not None:
                job.progress = max(job.progress, DOWNLOADED + (100.0 - DOWNLOADED) * progress.percent / 100)

        unsubscribe: Callable[[], None] = self._rauc.subscribe(changed)
        try:
            yield
        finally:
            unsubscribe()


def _remove_bundles(folder: Path) -> None:
    for bundle in folder.glob("hassos-*.raucb"):
        bundle.unlink(missing_ok=True)
