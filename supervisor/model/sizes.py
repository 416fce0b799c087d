"""Amounts of memory as people write them."""

from __future__ import annotations

import re
from typing import Any, Final

import voluptuous as vol

SIZE_EXPECTED: Final = "expected bytes, or a number with a unit such as 512M or 1.5G"
_UNITS: Final = "KMGT"
_WRITTEN = re.compile(r"([0-9]{1,15}(?:\.[0-9]{1,6})?)\s*(?:([KMGT])(?:i?B)?|B)?", re.IGNORECASE)
_LARGEST: Final = 2**53


def size(value: Any) -> int:
    """Accept a number of bytes, or a number with a unit: `512M`, `1.5G`, `64 MiB`; each unit is 1024 of the next."""
    if isinstance(value, int) and not isinstance(value, bool):
        amount: float = value
    else:
        found = _WRITTEN.fullmatch(value.strip()) if isinstance(value, str) else None
        if found is None:
            raise vol.Invalid(SIZE_EXPECTED)
        amount = float(found[1]) * 1024 ** (_UNITS.index(found[2].upper()) + 1 if found[2] else 0)
    if not 1 <= amount <= _LARGEST:
        raise vol.Invalid("expected a size of at least one byte that makes sense")
    return int(amount)
