"""A D-Bus daemon of a test's own, with the rules of nobody: everyone may own every name."""

from __future__ import annotations

import asyncio
from pathlib import Path

import attrs

CONFIGURATION = """\
<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <listen>unix:path={folder}/bus</listen>
  <auth>EXTERNAL</auth>
  <servicedir>{folder}/services</servicedir>
  <policy context="default">
    <allow send_destination="*" eavesdrop="true"/>
    <allow eavesdrop="true"/>
    <allow own="*"/>
    <allow user="*"/>
  </policy>
</busconfig>
"""


@attrs.define(eq=False)
class BusDaemon:
    folder: Path
    process: asyncio.subprocess.Process | None = None

    @property
    def socket(self) -> Path:
        return self.folder / "bus"

    @property
    def address(self) -> str:
        return f"unix:path={self.socket}"

    async def start(self) -> None:
        """Start it and wait until it listens."""
        (self.folder / "services").mkdir(exist_ok=True)
        configuration = self.folder / "bus.conf"
        configuration.write_text(CONFIGURATION.format(folder=self.folder))
        self.process = await asyncio.create_subprocess_exec(
            "dbus-daemon",
            f"--config-file={configuration}",
            "--nofork",
            "--nopidfile",
            "--print-address=1",
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
        )
        assert self.process.stdout is not None
        assert await self.process.stdout.readline()

    async def stop(self) -> None:
        process, self.process = self.process, None
        if process is not None:
            process.kill()
            await process.wait()
            self.socket.unlink(missing_ok=True)

    def startable(self, name: str, *command: str) -> None:
        """Have the bus start `command` when somebody calls `name`; takes effect at the daemon's next start."""
        folder = self.folder / "services"
        folder.mkdir(exist_ok=True)
        (folder / f"{name}.service").write_text(f"[D-BUS Service]\nName={name}\nExec={' '.join(command)}\n")
