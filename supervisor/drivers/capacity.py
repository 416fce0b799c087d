"""How much this machine has to give."""

from __future__ import annotations

import os

import attrs

# The kernel can't number more of them.
MOST_PROCESSES = 2**22


@attrs.frozen
class Capacity:
    """`memory` is in bytes."""

    memory: int
    cpus: int


def read_capacity() -> Capacity:
    """Ask the kernel; it says the same inside a container."""
    return Capacity(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"), os.cpu_count() or 1)
