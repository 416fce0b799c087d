"""What the manual says about installing the daemon, beside what the scripts do."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
# What the scripts and the examples need, and no daemon that is a service.
FOR_THE_SCRIPTS = {"busybox-static", "ca-certificates", "curl", "iproute2", "util-linux"}
# The Debian of the image has wheels that were built elsewhere, and no engine.
FOR_BUILDING = {"build-essential", "docker.io", "libsystemd-dev", "pkg-config", "python3-dev"}


def packages(script: str) -> set[str]:
    """Read the arrays of packages that a script installs by default."""
    lists = re.findall(r"^packages\+?=\(([^)]*)\)", (ROOT / "script" / script).read_text(), re.MULTILINE)
    return {name for found in lists for name in found.split()}


def test_the_manual_installs_what_a_service_needs() -> None:
    manual = (ROOT / "docs/operations.md").read_text()
    [said] = re.findall(r"^apt-get install ((?:.*\\\n)*.*)$", manual, re.MULTILINE)
    wanted = set(said.replace("\\\n", " ").split())
    assert wanted == packages("setup") - FOR_THE_SCRIPTS | {"docker.io"}
    image = packages("debian-base") - {"bash", "ca-certificates", "libsystemd0", "python3", "tzdata"}
    assert image == wanted - FOR_BUILDING
