"""Names of architectures and machines in manifests (add-on contract §1.3, §7.3)."""

from __future__ import annotations

from typing import Final

ARCHES: Final = ("aarch64", "amd64")
DEAD_ARCHES: Final = frozenset({"armhf", "armv7", "i386"})
KNOWN_ARCHES: Final = frozenset(ARCHES) | DEAD_ARCHES

DEPRECATED_MACHINES: Final = frozenset(
    {"odroid-xu", "qemuarm", "qemux86", "raspberrypi", "raspberrypi2", "raspberrypi3", "raspberrypi4", "tinker"}
)
KNOWN_MACHINES: Final = DEPRECATED_MACHINES | {
    "intel-nuc",
    "khadas-vim3",
    "generic-aarch64",
    "generic-x86-64",
    "odroid-c2",
    "odroid-c4",
    "odroid-m1",
    "odroid-n2",
    "qemuarm-64",
    "qemux86-64",
    "raspberrypi3-64",
    "raspberrypi4-64",
    "raspberrypi5-64",
    "yellow",
    "green",
}
