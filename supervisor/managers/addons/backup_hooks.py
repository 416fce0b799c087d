"""Makes a running add-on hold still for its backup (add-on contract §1.12, backup contract §9)."""

from __future__ import annotations

import asyncio
import logging

import attrs

from supervisor.drivers.docker.engine import Engine
from supervisor.errors import ADDON_BACKUP_COMMAND, ADDON_UNKNOWN, SupervisorError, Timeout, Unavailable
from supervisor.jobs import JobManager
from supervisor.model.manifest import AddonBackup

from .addon import Addon
from .runner import AddonRunner

_LOGGER = logging.getLogger(__name__)

COMMAND_SECONDS = 3600.0
MAX_LOGGED = 2000
DEBUG_COMMAND = "supervisor supervisor options --logging debug"


@attrs.define(eq=False)
class BackupHooks:
    """A cold backup stops the add-on; a hot one runs the commands of its manifest inside the container.

    The caller holds the add-on's lock from `begin` to `end`. Each command gets `command_seconds`.
    """

    _engine: Engine
    _jobs: JobManager
    _runner: AddonRunner
    command_seconds: float = COMMAND_SECONDS

    async def begin(self, addon: Addon) -> bool:
        """Make a running add-on hold still; tell whether `end` has to follow. One that does not run is left alone.

        Raises:
            Invalid: the command before the backup said no; the add-on goes on as before, `end` is not wanted.
            Timeout: that command took too long.
            Internal, Unavailable: the engine refused.
        """
        async with self._jobs.run("app_begin_backup", reference=addon.slug, lock=addon.lock):
            if not addon.running:
                return False
            if addon.manifest.backup is AddonBackup.COLD:
                await self._stop(addon)
            elif addon.manifest.backup_pre:
                await self._run(addon, addon.manifest.backup_pre)
            return True

    async def end(self, addon: Addon) -> asyncio.Task[None] | None:
        """Let the add-on go on as it was before `begin`.

        Returns:
            Of one that was stopped, the wait until its new start is decided, for the caller to end.

        Raises:
            Invalid: the command after the backup said no.
            Timeout: that command took too long.
            Internal, Unavailable: the engine refused.
        """
        async with self._jobs.run("app_end_backup", reference=addon.slug, lock=addon.lock):
            if addon.manifest.backup is AddonBackup.COLD:
                await self._runner.start(addon)
                return self._jobs.begin(self._runner.settled(addon), name=f"start of {addon.slug}")
            if addon.manifest.backup_post:
                if addon.running:
                    await self._run(addon, addon.manifest.backup_post)
                else:
                    _LOGGER.warning("%s: ended during its backup", addon.slug, extra={"ADDON": addon.slug})
            return None

    async def bring_back(self, addon: Addon) -> None:
        """Let one go on of which nobody knows how far it came between `begin` and `end`.

        Raises:
            SupervisorError: as `end`.
        """
        if addon.record.should_run and not addon.running and addon.container_id is None:
            await self._runner.start(addon)
        else:
            await self.end(addon)

    async def _stop(self, addon: Addon) -> None:
        """Stop it; given up half-way, it may be stopped already and has to run again."""
        try:
            await self._runner.pause(addon)
        except asyncio.CancelledError:
            try:
                await asyncio.shield(self._runner.start(addon))
            except SupervisorError as err:
                _LOGGER.error("%s: does not run again: %s", addon.slug, err, extra={"ADDON": addon.slug})
            raise

    async def _run(self, addon: Addon, command: str) -> None:
        try:
            result = await self._engine.containers.exec(addon.container_name, command, timeout=self.command_seconds)
        except Timeout as err:
            raise Timeout(
                f"The backup command of add-on {addon.slug} did not end within {self.command_seconds:g} s"
            ) from err
        except Unavailable:
            raise
        except SupervisorError as err:
            _LOGGER.error("%s: its backup command can't be run: %s", addon.slug, err, extra={"ADDON": addon.slug})
            raise ADDON_UNKNOWN(app=addon.slug) from err
        output = result.output.decode(errors="replace").strip()[-MAX_LOGGED:]
        if result.exit_code:
            _LOGGER.error(
                "%s: its backup command ended with exit code %d: %s",
                addon.slug,
                result.exit_code,
                output,
                extra={"ADDON": addon.slug},
            )
            raise ADDON_BACKUP_COMMAND(app=addon.slug, exit_code=result.exit_code, debug_logging_command=DEBUG_COMMAND)
        _LOGGER.debug("%s: its backup command said: %s", addon.slug, output, extra={"ADDON": addon.slug})
