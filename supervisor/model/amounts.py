"""Amounts of memory and disk as people read them: one unit and one shape in messages, issues, logs and the command."""

from __future__ import annotations


def size_text(amount: float) -> str:
    """Return bytes as `100 B`, `64.0 MiB` or `1.5 GiB`."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if abs(amount) < 1024:
            return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1024
    return f"{amount:.1f} TiB"
