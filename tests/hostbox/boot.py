"""The power supply of a box: `python -m hostbox.boot FOLDER` boots it, and boots it again when it reboots.

FOLDER/box.json says what to boot (see `Plan`); FOLDER/state.json what came of it. The box lives as long as this
process, and this process as long as the pipe on its standard input is open; a byte there is the power button.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import shutil
import signal
import stat
import sys
import time
import traceback
import uuid
from pathlib import Path

import attrs

from hostbox import cgroups, network
from hostbox import namespaces as kernel

LOOPS = 64
CAP_SYS_TIME = 25
# How reboot(2) ends the first process of a namespace.
REBOOT, POWER_OFF = signal.SIGHUP, signal.SIGINT
CHARACTER_DEVICES = {
    "null": (0o666, 1, 3),
    "zero": (0o666, 1, 5),
    "full": (0o666, 1, 7),
    "random": (0o666, 1, 8),
    "urandom": (0o666, 1, 9),
    "tty": (0o666, 5, 0),
    "kmsg": (0o644, 1, 11),
    "fuse": (0o666, 10, 229),
    "autofs": (0o600, 10, 235),
    "loop-control": (0o660, 10, 237),
    "net/tun": (0o666, 10, 200),
}


@attrs.frozen
class Plan:
    """`group` is the name of the box's control groups; `binds` are source, target, and whether it is read-only."""

    name: str
    group: str
    layers: str
    nets: list[int]
    binds: list[tuple[str, str, bool]]
    files: str | None = None


@attrs.frozen
class State:
    """`leader` is the box's first process and when it started, in ticks; `ended` how the last run ended."""

    boots: int = 0
    leader: tuple[int, int] | None = None
    ended: str | None = None


def read_state(folder: Path) -> State:
    try:
        content = json.loads((folder / "state.json").read_text())
    except FileNotFoundError:
        return State()
    leader = content["leader"]
    return State(content["boots"], None if leader is None else (leader[0], leader[1]), content["ended"])


def started_at(process: int) -> int | None:
    """Return when a process started, None when it has ended: process ids are given away again."""
    try:
        fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in "ZX" else int(fields[19])


def _write_state(folder: Path, state: State) -> None:
    temporary = folder / "state.new"
    temporary.write_text(json.dumps(attrs.asdict(state)))
    temporary.rename(folder / "state.json")


def main() -> None:
    folder = Path(sys.argv[1])
    plan = Plan(**json.loads((folder / "box.json").read_text()))
    boots = 0
    with (folder / "console.log").open("ab", buffering=0) as console:
        while True:
            boots += 1
            ended = _run(folder, plan, console.fileno(), boots)
            _write_state(folder, State(boots, None, ended))
            # A machine that is off stays off until somebody presses the button.
            if ended != "reboot" and not os.read(sys.stdin.fileno(), 1):
                return


def _run(folder: Path, plan: Plan, console: int, boots: int) -> str:
    """One life of the box, from the first process to the last; return how it ended."""
    cgroups.make(plan.group)
    ours, theirs = os.openpty()
    tell_read, tell_write = os.pipe()
    go_read, go_write = os.pipe()
    launcher = os.fork()
    if launcher == 0:
        for end in (tell_read, go_write, ours):
            os.close(end)
        _as_child(lambda: _launch(folder, plan, os.ttyname(theirs), tell_write, go_read), 98)
    os.close(tell_write)
    os.close(go_read)
    leader = os.read(tell_read, 32).decode()
    os.close(tell_read)
    if leader:
        for number, net in enumerate(plan.nets):
            network.plug(plan.name, number, net, int(leader))
        _write_state(folder, State(boots, (int(leader), started_at(int(leader)) or 0)))
        os.write(go_write, b"!")
    os.close(go_write)
    _attend(launcher, ours, console)
    os.close(theirs)
    _, status = os.waitpid(launcher, 0)
    code = os.waitstatus_to_exitcode(status)
    return {128 + REBOOT: "reboot", 128 + POWER_OFF: "power off"}.get(code, f"exit code {code}")


def _attend(launcher: int, terminal: int, console: int) -> None:
    """Copy the console to its file until the box ends; cut its power when nobody needs us any more."""
    watched = os.pidfd_open(launcher)
    button = sys.stdin.fileno()
    sources = [terminal, watched, button]
    while True:
        ready, _, _ = select.select(sources, [], [])
        if terminal in ready:
            with contextlib.suppress(OSError):
                os.write(console, os.read(terminal, 65536))
                continue
        if watched in ready:
            break
        if button in ready and not os.read(button, 1):
            os.kill(launcher, signal.SIGKILL)
            sources.remove(button)
        time.sleep(0.02)
    os.close(watched)
    os.close(terminal)


def _as_child(work, code: int) -> None:
    """Do the work of a forked process, and never come back from it."""
    try:
        work()
    except BaseException:  # noqa: BLE001 - said in the log of the power supply
        traceback.print_exc()
    os._exit(code)


def _launch(folder: Path, plan: Plan, terminal: str, tell: int, go: int) -> None:
    kernel.die_with_parent(signal.SIGKILL)
    os.setsid()
    cgroups.join(plan.group)
    kernel.leave_everything()
    # A machine that was just switched on has been up for no time at all.
    uptime = int(float(Path("/proc/uptime").read_text().split()[0]))
    Path("/proc/self/timens_offsets").write_text(f"monotonic -{uptime} 0\nboottime -{uptime} 0\n")
    first = os.fork()
    if first == 0:
        kernel.die_with_parent(signal.SIGKILL)
        os.close(tell)
        # The cards must be in place before anybody looks for them.
        if os.read(go, 1):
            _as_child(lambda: _become_init(folder, plan, terminal), 99)
        os._exit(99)
    os.close(go)
    os.write(tell, str(first).encode())
    os.close(tell)
    _, status = os.waitpid(first, 0)
    code = os.waitstatus_to_exitcode(status)
    os._exit(code if code >= 0 else 128 - code)


def _become_init(folder: Path, plan: Plan, terminal: str) -> None:
    root = folder / "root.mount"
    kernel.mount(None, "/", None, kernel.RECURSIVE | kernel.PRIVATE)
    writable = f"upperdir={folder}/upper,workdir={folder}/work"
    kernel.mount("overlay", root, "overlay", options=f"lowerdir={plan.layers},{writable}")
    (folder / "root.device").write_text(str(root.stat().st_dev))
    if plan.files is not None:
        shutil.copytree(plan.files, root, symlinks=True, dirs_exist_ok=True)
    kernel.set_host_name((root / "etc/hostname").read_text().strip())
    _mount_kernel_files(root)
    _mount_control_groups(root / "sys/fs/cgroup")
    _make_devices(root, folder, terminal)
    # What can't lie on an overlay: other overlays, and the files behind loop devices.
    for name, target in (("docker", "var/lib/docker"), ("data", "mnt/data"), ("disks", "mnt/disks")):
        (root / target).mkdir(parents=True, exist_ok=True)
        kernel.bind(folder / name, root / target)
    for source, target, read_only in plan.binds:
        kernel.bind(source, _mount_point(root, source, target), read_only=read_only)
    kernel.pivot(root)
    kernel.mount(None, "/", None, kernel.RECURSIVE | kernel.SHARED)
    kernel.drop_capability(CAP_SYS_TIME)
    for number in (signal.SIGPIPE, signal.SIGINT, signal.SIGXFSZ):
        signal.signal(number, signal.SIG_DFL)
    console = os.open("/dev/console", os.O_RDWR)
    for standard in range(3):
        os.dup2(console, standard)
    os.closerange(3, 1024)
    os.execve("/sbin/init", ["/sbin/init"], {"container": "hostbox", "LANG": "C.UTF-8"})


def _mount_point(root: Path, source: str, target: str) -> Path:
    point = root / target.lstrip("/")
    if Path(source).is_dir():
        point.mkdir(parents=True, exist_ok=True)
    elif not point.exists():
        point.parent.mkdir(parents=True, exist_ok=True)
        point.touch()
    return point


def _mount_kernel_files(root: Path) -> None:
    kernel.mount("proc", root / "proc", "proc", kernel.STRICT)
    kernel.mount("sysfs", root / "sys", "sysfs", kernel.STRICT)
    kernel.mount("tmpfs", root / "run", "tmpfs", kernel.NO_SUID | kernel.NO_DEVICES, "mode=755")
    settings = root / "proc/sys"
    # Those of the network are the box's own; the others are the kernel's, which is not.
    for folder, flag in ((settings, kernel.READ_ONLY), (settings / "net", 0)):
        kernel.mount(folder, folder, None, kernel.BIND)
        kernel.mount(None, folder, None, kernel.BIND | kernel.REMOUNT | kernel.STRICT | flag)
    fresh = root / "run/hostbox"
    fresh.mkdir()
    (fresh / "boot_id").write_text(f"{uuid.uuid4()}\n")
    (fresh / "cmdline").write_text(f"root=hostbox rauc.slot={_slot(root / 'boot/slots')} quiet\n")
    kernel.bind(fresh / "boot_id", settings / "kernel/random/boot_id", read_only=True)
    kernel.bind(fresh / "cmdline", root / "proc/cmdline", read_only=True)
    if (root / "proc/sysrq-trigger").exists():
        kernel.bind("/dev/null", root / "proc/sysrq-trigger")
    hidden = [disk.resolve() for disk in Path("/sys/block").iterdir() if not disk.name.startswith("loop")]
    for folder in (*hidden, Path("/sys/power")):
        if (root / str(folder).lstrip("/")).exists():
            kernel.mount("tmpfs", root / str(folder).lstrip("/"), "tmpfs", kernel.READ_ONLY, "size=0,mode=755")


def _slot(folder: Path) -> str:
    """Choose as firmware would: the primary slot, unless that is marked as bad."""
    first = (folder / "primary").read_text().strip()
    second = "B" if first == "A" else "A"
    return second if (folder / first).read_text().strip() == "bad" else first


def _mount_control_groups(target: Path) -> None:
    hierarchies = cgroups.hierarchies()
    if any(hierarchy.where == Path("/sys/fs/cgroup") for hierarchy in hierarchies):
        # The machine has nothing but version 2.
        kernel.mount("cgroup2", target, "cgroup2", kernel.STRICT)
        return
    kernel.mount("tmpfs", target, "tmpfs", kernel.STRICT, "mode=755,size=4m")
    for hierarchy in hierarchies:
        point = target / hierarchy.where.name
        point.mkdir()
        named = hierarchy.options.startswith("name=")
        options = f"none,{hierarchy.options}" if named else hierarchy.options or None
        kernel.mount(hierarchy.kind, point, hierarchy.kind, kernel.STRICT, options)


def _make_devices(root: Path, folder: Path, terminal: str) -> None:
    devices = root / "dev"
    kernel.mount("tmpfs", devices, "tmpfs", kernel.NO_SUID, "mode=755,size=16m")
    os.umask(0)
    for name, (mode, major, minor) in CHARACTER_DEVICES.items():
        (devices / name).parent.mkdir(exist_ok=True)
        os.mknod(devices / name, stat.S_IFCHR | mode, os.makedev(major, minor))
    for number in range(LOOPS):
        os.mknod(devices / f"loop{number}", stat.S_IFBLK | 0o660, os.makedev(7, number))
    # The disk below /mnt/data, for those that look up its node; the control group lets nobody open it.
    disk = folder.stat().st_dev
    known = Path(f"/sys/dev/block/{os.major(disk)}:{os.minor(disk)}")
    if known.exists():
        os.mknod(devices / known.resolve().name, stat.S_IFBLK | 0o600, disk)
    os.umask(0o022)
    for name, kind, options in (
        ("pts", "devpts", "newinstance,ptmxmode=0666,mode=620,gid=5"),
        ("shm", "tmpfs", "mode=1777"),
        ("mqueue", "mqueue", None),
    ):
        (devices / name).mkdir()
        kernel.mount(kind, devices / name, kind, kernel.NO_SUID | kernel.NO_EXEC, options)
    standard = {"fd": "fd", "stdin": "fd/0", "stdout": "fd/1", "stderr": "fd/2"}
    for name, target in standard.items():
        (devices / name).symlink_to(f"/proc/self/{target}")
    (devices / "ptmx").symlink_to("pts/ptmx")
    (devices / "console").touch()
    kernel.bind(terminal, devices / "console")


if __name__ == "__main__":
    main()
