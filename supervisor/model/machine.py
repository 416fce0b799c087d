"""What kind of machine this is and which add-ons it can run (add-on contract §1.13, §7.3)."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from typing import Final

from supervisor.errors import ADDON_UNSUPPORTED_ARCH, ADDON_UNSUPPORTED_CORE, ADDON_UNSUPPORTED_MACHINE
from supervisor.model.manifest import Manifest
from supervisor.model.platforms import DEAD_ARCHES, DEPRECATED_MACHINES, KNOWN_MACHINES
from supervisor.model.version import is_newer

_AMD64_MACHINES: Final = frozenset({"intel-nuc", "generic-x86-64", "qemux86-64"})


def detect_arch(cpu: str | None = None, *, image_arch: str | None = None) -> str:
    """Return this machine's architecture in add-on words.

    `cpu` is the kernel's name for it (default: this machine's); `image_arch`, the architecture of the image that the
    daemon runs in, answers for names that mean nothing here.
    """
    name = cpu or platform.machine()
    if name == "x86_64":
        return "amd64"
    if name == "aarch64" or name.startswith("armv8"):
        return "aarch64"
    return image_arch or name


def supported_arch(machine: str | None, native: str) -> tuple[str, ...]:
    """Return the architectures of add-ons that run here, best first."""
    arches: list[str] = []
    if machine in _AMD64_MACHINES:
        arches.append("amd64")
    elif machine in KNOWN_MACHINES and machine not in DEPRECATED_MACHINES:
        arches.append("aarch64")
    if native not in arches:
        arches.append(native)
    return tuple(arches)


def match_arch(wanted: Sequence[str], arches: Sequence[str]) -> str | None:
    """Return the first of this machine's `arches` that an add-on offers; 32-bit ones never match."""
    return next((arch for arch in arches if arch in wanted and arch not in DEAD_ARCHES), None)


def match_machine(wanted: Sequence[str], machine: str | None) -> bool:
    """Tell whether an add-on's machine list admits this machine.

    `!name` excludes; a list of nothing but exclusions admits every other machine (contract §7.4, no. 1).
    """
    allowed = [name for name in wanted if not name.startswith("!")]
    if machine is not None and f"!{machine}" in wanted:
        return False
    return not allowed or machine in allowed


def check_availability(
    manifest: Manifest,
    *,
    arches: Sequence[str],
    machine: str | None,
    core_version: str | None,
    slug: str | None = None,
) -> None:
    """Make sure that an add-on can run on this machine; `slug` is the full slug for the error.

    Raises:
        Unsupported: wrong architecture, wrong machine or too old a Core, checked in this order.
    """
    fields = {"app": manifest.name, "slug": slug or manifest.slug}
    if match_arch(manifest.arch, arches) is None:
        raise ADDON_UNSUPPORTED_ARCH(**fields, architectures=", ".join(manifest.arch))
    if not match_machine(manifest.machine, machine):
        raise ADDON_UNSUPPORTED_MACHINE(**fields, machine_types=", ".join(manifest.machine))
    if is_newer(manifest.homeassistant, core_version):
        raise ADDON_UNSUPPORTED_CORE(**fields, version=manifest.homeassistant)


def is_for_gone_machines(manifest: Manifest) -> bool:
    """Tell whether an add-on is made for architectures or machines only that nothing runs on any more (§3.6)."""
    machines = [name for name in manifest.machine if not name.startswith("!")]
    return _only_gone(manifest.arch, DEAD_ARCHES) or _only_gone(machines, DEPRECATED_MACHINES)


def _only_gone(names: Sequence[str], gone: frozenset[str]) -> bool:
    return bool(names) and gone.issuperset(names)
