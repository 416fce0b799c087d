"""The levels of log entries: syslog's priorities, 0 (emergency) to 7 (debug)."""

from __future__ import annotations

from typing import Final

from supervisor.errors import Invalid

ERROR: Final = 3
INFO: Final = 6
NAMES: Final = ("emerg", "alert", "crit", "err", "warning", "notice", "info", "debug")
_NUMBERS: Final = {
    **{name: number for number, name in enumerate(NAMES)},
    **{str(number): number for number in range(len(NAMES))},
    "panic": 0,
    "critical": 2,
    "error": 3,
    "warn": 4,
}


def parse_levels(text: str) -> frozenset[int] | None:
    """Read a level, which means it and what is graver, or two with `..` between, which means what lies between.

    Where that is all of them the result is None, which includes entries without a level.

    Raises:
        Invalid: it is neither.
    """
    first, dots, last = text.strip().lower().partition("..")
    try:
        numbers = _NUMBERS[first], _NUMBERS[last] if dots else 0
    except KeyError as err:
        raise Invalid(f"The level of a log is one of {', '.join(NAMES)}, or two of them as in err..notice") from err
    found = frozenset(range(min(numbers), max(numbers) + 1))
    return None if len(found) == len(NAMES) else found


def level_of_stream(stream: str) -> int:
    """Return the level that the engine gives to what a container writes there, when it logs to the journal."""
    return ERROR if stream == "stderr" else INFO


def level_of_record(name: str) -> int:
    """Return the level of a record of ours, by the name that Python gives it."""
    return _NUMBERS.get(name.lower(), INFO)
