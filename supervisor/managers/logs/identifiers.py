"""Whose entries make the log of the machine (API contract §5.6)."""

from __future__ import annotations

from typing import Final

_HAOS: Final = ("apparmor", "config", "expand", "overlay", "persists", "supervisor", "zram")
_SYSTEMD: Final = (
    "coredump",
    "fsck",
    "growfs",
    "hostnamed",
    "journal-gatewayd",
    "journald",
    "logind",
    "random-seed",
    "resolved",
    "sysctl",
    "time-wait-sync",
    "timesyncd",
    "tmpfiles",
    "udevd",
)
HOST_IDENTIFIERS: Final = (
    "NetworkManager",
    "bluetoothd",
    "bthelper",
    "btuart",
    "containerd",
    "dbus-broker",
    "dbus-broker-launch",
    "docker",
    "docker-prepare",
    "dockerd",
    "dropbear",
    "fstrim",
    *(f"haos-{name}" for name in (*_HAOS, "data-disk-detach", "swapfile", "wipe")),
    *(f"hassos-{name}" for name in _HAOS),
    "kernel",
    "mount",
    "os-agent",
    "qemu-ga",
    "rauc",
    "raucdb-update",
    "sm-notify",
    "systemd",
    *(f"systemd-{name}" for name in _SYSTEMD),
    "wpa_supplicant",
)
