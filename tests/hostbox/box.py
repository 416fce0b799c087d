"""A box as tests use it."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import json
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path

import attrs

from hostbox import boot, build, cgroups
from hostbox.network import Net

TESTS = Path(__file__).parents[1]
BOOT_SECONDS = 180.0
ENVIRONMENT = ("HOME=/root", "LANG=C.UTF-8", "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
_BACKING_FILE = 0x4C05  # LOOP_GET_STATUS64


class Failed(AssertionError):
    """A command in the box ended with an error."""


@attrs.define(eq=False)
class Box:
    """One box, with everything it keeps below `folder`, which must lie on a disk and not on an overlay.

    `name` is its host name, of ten characters at most. `binds` show paths of this machine in it: source, target, and
    whether it is read-only. `nets` are the nets its cards are on, eth0 first. Give `files` a tree to lay over the root
    before the boot.
    """

    folder: Path
    name: str = "box"
    nets: Sequence[Net] = ()
    binds: Sequence[tuple[Path, Path, bool]] = ()
    files: Path | None = None
    _power: subprocess.Popen[bytes] | None = None

    @property
    def group(self) -> str:
        return f"{self.name}-{os.getpid()}"

    @property
    def state(self) -> boot.State:
        return boot.read_state(self.folder)

    @property
    def running(self) -> bool:
        leader = self.state.leader
        return leader is not None and boot.started_at(leader[0]) == leader[1]

    @property
    def root(self) -> Path:
        """Its root as seen from here, for sockets and files; another path after each boot."""
        return Path(f"/proc/{self._leader()}/root")

    def up(self) -> None:
        """Switch it on and wait until everything has started; what it kept from an earlier time is still there."""
        if self._power is not None:
            assert self._power.stdin is not None
            before = self.state.boots
            self._power.stdin.write(b"!")
            self._power.stdin.flush()
            self.wait_until_up(boots=before + 1)
            return
        layers = build.ensure()
        for name in ("upper/etc", "work", "root.mount", "docker", "data", "disks"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        identity = self.folder / "upper/etc/machine-id"
        if not identity.exists():
            identity.write_text(uuid.uuid4().hex + "\n")
            (self.folder / "upper/etc/hostname").write_text(self.name + "\n")
        plan = boot.Plan(
            self.name,
            self.group,
            str(layers),
            [net.number for net in self.nets],
            [(os.path.realpath(source), str(target), read_only) for source, target, read_only in self.binds],
            str(self.files) if self.files else None,
        )
        (self.folder / "box.json").write_text(json.dumps(attrs.asdict(plan)))
        (self.folder / "state.json").unlink(missing_ok=True)
        with (self.folder / "power.log").open("ab") as log:
            self._power = subprocess.Popen(
                [sys.executable, "-m", "hostbox.boot", str(self.folder)],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                start_new_session=True,
                env={**os.environ, "PYTHONPATH": str(TESTS)},
            )
        self.wait_until_up(boots=1)

    def wait_until_up(self, *, boots: int) -> str:
        """Wait for the end of a boot; return systemd's word for the state of the machine."""
        end = time.monotonic() + BOOT_SECONDS
        word = ""
        while time.monotonic() < end:
            power = self._power
            assert power is not None, "the box was not switched on"
            assert power.poll() is None, f"the box did not boot\n{self._logs()}"
            if self.state.boots >= boots and self.running and (self.root / "run/systemd/private").exists():
                # With --wait it misses the end of a boot at times.
                with contextlib.suppress(Failed):
                    word = self.attempt("systemctl", "is-system-running").stdout.strip()
                if word in ("running", "degraded"):
                    return word
            time.sleep(0.1)
        raise AssertionError(f"the box is not up, but {word or 'silent'}\n{self._logs()}")

    @contextlib.contextmanager
    def powered(self) -> Iterator[Box]:
        """Have it on; whatever comes of that, nothing of it is left afterwards."""
        try:
            self.up()
            yield self
        finally:
            self.down()
            self.erase()

    def down(self) -> None:
        """Cut its power. Its files stay where they are."""
        self._let_go()
        self._detach_loops()
        cgroups.remove(self.group)

    def erase(self) -> None:
        """Remove everything it kept."""
        build.remove(self.folder)

    # Commands.

    def attempt(self, *command: str, seconds: float = 120, stdin: str = "") -> subprocess.CompletedProcess[str]:
        """Run a command in the box, whatever comes of it."""
        groups = " ".join(
            f"{hierarchy.where}/{cgroups.TOP}/{self.group}/commands" for hierarchy in cgroups.hierarchies()
        )
        for hierarchy in cgroups.hierarchies():
            cgroups.make_group(hierarchy.where / cgroups.TOP / self.group / "commands", hierarchy)
        enter = f'for group in {groups}; do echo 0 >"$group/cgroup.procs"; done; exec "$@"'
        return subprocess.run(
            [
                *("sh", "-c", enter, "sh", "setpriv", "--bounding-set=-sys_time"),
                *("nsenter", "--target", str(self._leader()), "--all", "env", "-i", *ENVIRONMENT, *command),
            ],
            input=stdin,
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )

    def run(self, *command: str, seconds: float = 120, stdin: str = "") -> str:
        """Run a command in the box and return what it printed, without the last line's end."""
        done = self.attempt(*command, seconds=seconds, stdin=stdin)
        if done.returncode:
            raise Failed(f"{' '.join(command)} in {self.name}: {done.returncode}\n{done.stdout}{done.stderr}")
        return done.stdout.rstrip("\n")

    async def ask(self, *command: str, seconds: float = 120, stdin: str = "") -> str:
        """Do what `run` does, without holding up the event loop."""
        return await asyncio.to_thread(self.run, *command, seconds=seconds, stdin=stdin)

    def shell(self, script: str, *arguments: str, seconds: float = 120) -> str:
        return self.run("sh", "-euc", script, "sh", *arguments, seconds=seconds)

    # Disks.

    def add_disk(self, disk: str, size: str = "1G") -> str:
        """Plug in a disk that UDisks2 shows as a drive, with what it held before; return its device node."""
        path = f"/mnt/disks/{disk}.img"
        self.shell('test -e "$1" || truncate -s "$2" "$1"', path, size)
        device = self.run("losetup", "-Pf", "--show", path)
        self.run("udevadm", "trigger", "--settle", "--action=add", device)
        return device

    def remove_disk(self, disk: str) -> None:
        """Pull it out, mounted or not, also when it was plugged in before a reboot."""
        script = """
        own=$(stat -Lc '%i %Hd:%Ld' "/mnt/disks/$1.img")
        losetup -nO NAME,BACK-INO,BACK-MAJ:MIN | while read -r device there; do
          [ "$(echo $there)" = "$own" ] || continue
          for node in "$device"p* "$device"; do
            [ -b "$node" ] || continue
            udevadm trigger --settle --action=remove "$node"
            umount -ql "$node" || true
          done
          partx -d "$device" || true
          losetup -d "$device"
          udevadm trigger --settle --action=add "$device"
        done
        """
        self.shell(script, disk)

    def throw_away_disk(self, disk: str) -> None:
        """Pull it out and forget what it held; nothing happens without such a disk."""
        if (self.folder / f"disks/{disk}.img").exists():
            self.remove_disk(disk)
            (self.folder / f"disks/{disk}.img").unlink()

    # Power.

    def power_button(self) -> None:
        """Tell systemd to shut down, and wait until it has."""
        os.kill(self._leader(), signal.SIGRTMIN + 4)
        end = time.monotonic() + BOOT_SECONDS
        while self.running and time.monotonic() < end:
            time.sleep(0.02)

    def _let_go(self) -> None:
        """End the power supply, and what it still feeds."""
        power, self._power = self._power, None
        if power is not None:
            assert power.stdin is not None
            power.stdin.close()
            power.wait(60)

    def _leader(self) -> int:
        leader = self.state.leader
        if leader is None or not self.running:
            raise Failed(f"{self.name} does not run\n{self._logs()}")
        return leader[0]

    def _logs(self) -> str:
        texts = [self.folder / name for name in ("power.log", "console.log")]
        return "\n".join(path.read_text(errors="replace")[-3000:] for path in texts if path.exists())

    def _detach_loops(self) -> None:
        """Loop devices are the kernel's: they would outlive the box."""
        own = {(self.folder.stat().st_dev, path.stat().st_ino) for path in (self.folder / "disks").glob("*")}
        own |= {(self.folder.stat().st_dev, path.stat().st_ino) for path in (self.folder / "data").rglob("*.raucb")}
        with contextlib.suppress(FileNotFoundError):
            overlay = int((self.folder / "root.device").read_text())
            own |= {(overlay, -1)}
        for known in Path("/sys/block").glob("loop*/loop/backing_file"):
            device = Path("/dev") / known.parts[3]
            try:
                with device.open("rb") as opened:
                    information = fcntl.ioctl(opened, _BACKING_FILE, bytes(232))
            except OSError:
                continue
            where = int.from_bytes(information[:8], "little")
            if (where, int.from_bytes(information[8:16], "little")) in own or (where, -1) in own:
                subprocess.run(["partx", "-d", device], capture_output=True, check=False)
                subprocess.run(["losetup", "-d", device], capture_output=True, check=False)
