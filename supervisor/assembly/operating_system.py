"""Builds what looks after the operating system below the daemon."""

from __future__ import annotations

import attrs

from supervisor.managers.os import OperatingSystem

from .parts import Parts


@attrs.frozen(eq=False)
class OsParts:
    system: OperatingSystem


def build_operating_system(parts: Parts) -> OsParts:
    return OsParts(OperatingSystem(parts.system))
