"""Comparing versions of add-ons, Core and everything else that is released; odd input is never an error here."""

from __future__ import annotations

import re
from typing import Final

from awesomeversion import AwesomeVersion, AwesomeVersionException, AwesomeVersionStrategy

# Beyond this a "version" is an attack on the patterns that take it apart.
_MAX_LENGTH: Final = 128
_MAJOR: Final = re.compile(r"([0-9]{1,9})(?![0-9])")


def parse(text: str) -> AwesomeVersion:
    """Return `text` as a version; what follows no known scheme has the strategy `unknown`."""
    return AwesomeVersion(text[:_MAX_LENGTH])


def is_known(text: str) -> bool:
    """Tell whether `text` follows a version scheme, so that it can be compared at all."""
    return parse(text).strategy != AwesomeVersionStrategy.UNKNOWN


def major(version: str) -> int | None:
    """Return the number that a version begins with; none when it begins with no number."""
    found = _MAJOR.match(version)
    return int(found[1]) if found is not None else None


def is_newer(a: str | None, b: str | None) -> bool | None:
    """Tell whether `a` is newer than `b`; none when the two can't be compared."""
    if a is None or b is None:
        return None
    if a == b:
        return False
    try:
        return bool(parse(a) > parse(b))
    except (AwesomeVersionException, ValueError, IndexError, TypeError):
        return None


def at_least(version: str | None, floor: str) -> bool:
    """Tell whether `version` is `floor` or newer; what can't be compared is not."""
    return version is not None and is_newer(floor, version) is False
