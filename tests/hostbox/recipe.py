"""What a box is made of: Debian's packages, and the files laid over them."""

from __future__ import annotations

import hashlib
import platform
from pathlib import Path

HERE = Path(__file__).parent
FILES = HERE / "files"
SHIM = HERE / "shim.c"

PACKAGES = [
    "busybox-static",
    "ca-certificates",
    "curl",
    "dbus",
    "docker.io",
    "e2fsprogs",
    "fdisk",
    "iproute2",
    "iptables",
    "iputils-ping",
    "kmod",
    "libnss-myhostname",
    "libpam-systemd",
    "libpulse0",
    "network-manager",
    "openssl",
    "polkitd",
    "procps",
    "pulseaudio",
    "pulseaudio-utils",
    "python3",
    "rauc",
    "rauc-service",
    "restic",
    "squashfs-tools",
    "systemd",
    "systemd-journal-remote",
    "systemd-resolved",
    "systemd-sysv",
    "systemd-timesyncd",
    "tzdata",
    "udev",
    "udisks2",
]

ENABLED = ("systemd-journal-gatewayd.socket", "pulseaudio", "NetworkManager", "docker", "udisks2")
# What only makes noise, and what would touch a kernel that is not the box's own.
MASKED = [
    "apt-daily.timer",
    "apt-daily-upgrade.timer",
    "dpkg-db-backup.timer",
    "e2scrub_all.timer",
    "e2scrub_reap.service",
    "fstrim.timer",
    "systemd-pstore.service",
    "console-getty.service",
    "getty@tty1.service",
    "proc-sys-fs-binfmt_misc.automount",
    "systemd-binfmt.service",
    "sys-kernel-debug.mount",
    "sys-kernel-tracing.mount",
    "sys-kernel-config.mount",
    "systemd-modules-load.service",
    "pulseaudio.socket",
]
# Dispatcher of ifupdown, which is not there: it would fail at each change of a link.
DROPPED = ("etc/NetworkManager/dispatcher.d/01-ifupdown",)
# Programs that are replaced by one of ours; the original stays beside with the ending .real.
REPLACED = {
    "usr/sbin/runc": "usr/lib/hostbox/runc",
    "usr/sbin/sfdisk": "usr/lib/hostbox/partitioner",
    "usr/sbin/sgdisk": "usr/lib/hostbox/partitioner",
}
SHARE_HELPERS = ("usr/sbin/mount.cifs", "usr/sbin/mount.nfs", "usr/sbin/mount.nfs4")
SLOTS = ("kernel0", "kernel1", "rootfs0", "rootfs1")
FOLDERS = ("mnt/data", "mnt/disks", "var/lib/slots", "var/lib/rauc", "var/log/journal", "boot/slots")
DOCUMENTATION = ("usr/share/doc", "usr/share/man", "usr/share/locale")


def suite() -> str:
    """The release of Debian to build from: this machine's, so that its programs run in the box as well."""
    return platform.freedesktop_os_release().get("VERSION_CODENAME", "bookworm")


def packages_digest() -> str:
    return _digest(suite(), *PACKAGES, *DOCUMENTATION)


def files_digest() -> str:
    parts = [packages_digest(), *ENABLED, *MASKED, *DROPPED, repr(REPLACED), *SHARE_HELPERS, *FOLDERS]
    for path in sorted([SHIM, HERE / "build.py", *FILES.rglob("*")]):
        if path.is_file():
            parts += [str(path.relative_to(HERE)), hashlib.sha256(path.read_bytes()).hexdigest()]
    return _digest(*parts)


def _digest(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:12]
