"""Comparing versions of add-ons, Core and everything else that is released; odd input is never an error here."""

from __future__ import annotations

from typing import Final

from awesomeversion import AwesomeVersion, AwesomeVersionException, AwesomeVersionStrategy

# Beyond this a "version" is an attack on the patterns that take it apart.
_MAX_LENGTH: Final = 128


def parse(text: str) -> AwesomeVersion:
    """Return `text` as a version; what follows no known scheme has the strategy `unknown`."""
    return AwesomeVersion(text[:_MAX_LENGTH])


def is_known(text: str) -> bool:
    """Tell whether `text` follows a version scheme, so that it can be compared at all."""
    return parse(text).strategy != AwesomeVersionStrategy.UNKNOWN


def major(text: str) -> int | None:
    """Return the first number of a version; none when `text` follows no known scheme."""
    version = parse(text)
    return None if version.strategy == AwesomeVersionStrategy.UNKNOWN else version.section(0)


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
