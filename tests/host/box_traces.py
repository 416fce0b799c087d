"""What a test leaves in a box: the next one, whichever it is, shall find what this one found."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

from hostbox.box import Box

# What runs as long as the box does; other services come when they are asked for something.
LASTING = (
    *("dbus", "docker", "NetworkManager", "pulseaudio", "supervisor", "systemd-journald", "systemd-logind"),
    *("systemd-journal-gatewayd.socket", "systemd-resolved", "systemd-timesyncd", "udisks2"),
)
# Without the bus these go on without it, or end; nobody but a person starts them again.
LOSE_THE_BUS_FOR_GOOD = ("systemd-resolved", "systemd-timesyncd", "systemd-logind", "NetworkManager", "udisks2")
# Where tests put files of the system, and where they and the daemon put what it keeps for its users.
SETTINGS = (
    *("etc/NetworkManager", "etc/systemd/system", "run/systemd/system", "run/systemd/transient"),
    *("run/network-storage", "mnt/disks"),
)
KEPT = ("addons/local", "addons/data", "addon_configs", "backup", "media", "mounts", "share", "ssl")
CONTENTS = ("etc/hostname", "etc/os-release", "etc/pulse/system.pa")
# What containers, systemd and the kernel bring along.
OTHERS = ("/var/lib/docker/", "/run/docker/", "/run/user/", "/run/credentials", "/proc/", "/sys/", "/dev/")
# Issues that come with time, whatever a test does.
OF_ITSELF = {"no_current_backup", "free_space"}
PATIENCE_SECONDS = 40.0
SCRIPT = f"""
for unit in {" ".join(LASTING)}; do systemctl is-active -q $unit || echo "not active: $unit"; done
systemctl --failed --no-legend --plain | sed 's/^\\([^ ]*\\).*/failed: \\1/'
docker ps --all --format 'container: {{{{.Names}}}}' || true
echo "host name: $(hostname)"
echo "time zone: $(readlink -f /etc/localtime)"
echo "eth0: $(nmcli -g GENERAL.CONNECTION device show eth0), $(ip -o -4 address show dev eth0 | wc -l) addresses"
ps -eo stat=,comm= | sed -n 's/^T[^ ]* */stopped: /p'
awk '{{ print "mount: " $5 }}' /proc/self/mountinfo
for path in mounts addons resolution/info; do
  echo "$path: $(curl -s --unix-socket /run/supervisor/supervisor.sock http://supervisor/$path)"
done
"""


async def start_services(box: Box) -> None:
    """Have everything run that a test may have stopped."""
    # Those that tried in vain to do without something are started again all the same.
    await box.ask("systemctl", "reset-failed")
    await box.ask("systemctl", "start", "dbus.socket", "dbus.service")
    await box.ask("systemctl", "start", *LASTING)
    # Some that are started on demand fail with the bus.
    await box.ask("systemctl", "reset-failed")


class Traces:
    """Compares the boxes of a session before and after a test."""

    def __init__(self) -> None:
        self._known: dict[Path, set[str]] = {}

    def begin(self, box: Box) -> None:
        if box.folder in self._known:
            return
        state = box.root / "run/supervisor/state"
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not (state.exists() and state.read_text() == "running") and time.monotonic() < deadline:
            time.sleep(0.1)
        self._known[box.folder] = traces(box)

    def end(self, box: Box) -> str:
        """Return what is other than it was, once everything had the time to settle."""
        before = self._known[box.folder]
        deadline = time.monotonic() + PATIENCE_SECONDS
        while (now := traces(box)) != before and time.monotonic() < deadline:
            time.sleep(0.5)
        self._known[box.folder] = now
        lines = [f"- {line}" for line in sorted(before - now)] + [f"+ {line}" for line in sorted(now - before)]
        return "\n".join(lines)


def traces(box: Box) -> set[str]:
    found = set()
    for line in box.shell(SCRIPT).splitlines():
        kind, _, rest = line.partition(": ")
        if kind == "resolution/info" and rest.startswith('{"result":"ok"'):
            issues = [issue for issue in json.loads(rest)["data"]["issues"] if issue["type"] not in OF_ITSELF]
            found |= {f"issue: {issue['type']} {issue['reference']}" for issue in issues}
        elif kind != "mount" or not rest.startswith(OTHERS):
            found.add(line)
    for folder in SETTINGS:
        # A scope comes and goes with each container.
        files = (name for _, _, names in os.walk(box.root / folder) for name in names if not name.endswith(".scope"))
        found |= {f"file: {folder}/{name}" for name in files}
    for folder in KEPT:
        place = box.folder / "data/supervisor" / folder
        # Unlike a glob it minds no folder that vanishes meanwhile.
        for where, folders, names in os.walk(place):
            found |= {f"kept: {folder}/{(Path(where) / name).relative_to(place)}" for name in (*folders, *names)}
    for name in CONTENTS:
        found.add(f"{name}: {(box.root / name).read_text()}")
    return found
