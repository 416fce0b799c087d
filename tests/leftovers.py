"""What a test may have left behind."""

from __future__ import annotations

import os
from pathlib import Path


def children() -> set[int]:
    """Return the child processes of this one, dead ones that nobody reaped included."""
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        # There are none, which is told at once; this is asked before and after every test.
        return set()
    found: set[int] = set()
    for task in Path("/proc/self/task").iterdir():
        try:
            found.update(map(int, (task / "children").read_text().split()))
        except OSError:
            continue
    return found
