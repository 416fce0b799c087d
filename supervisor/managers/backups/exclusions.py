"""What is left out of backups (backup contract §4.2, §4.3): globs, compiled once, asked for each path."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Final

from supervisor.errors import Invalid

Exclude = Callable[[str], bool]

CORE_PATTERNS: Final = (
    "**/__pycache__/*",
    "**/.DS_Store",
    "*.db-shm",
    "*.corrupt.*",
    "*.log.*",
    "*.log",
    ".storage/*.corrupt.*",
    "OZW_Log.txt",
    "backups/*.tar",
    "tmp_backups/*.tar",
    "tts/*",
    ".cache/*",
)
DATABASE_PATTERNS: Final = ("home-assistant_v?.db", "home-assistant_v?.db-wal")
MAX_PATTERNS: Final = 100
MAX_LENGTH: Final = 200
_MAX_STARS: Final = 10


def check_pattern(pattern: str) -> str:
    """Return a pattern that somebody wrote.

    Raises:
        Invalid: it is empty, leads outside, or is made to keep us busy.
    """
    parts = pattern.split("/")
    if not pattern or len(pattern) > MAX_LENGTH or not pattern.isprintable():
        raise Invalid(f"{pattern!r} is no pattern of files to leave out")
    if pattern.startswith("/") or ".." in parts:
        raise Invalid(f"{pattern} leads out of the add-on's own folders; write it as in data/cache or *.log")
    if pattern.count("*") > _MAX_STARS:
        raise Invalid(f"{pattern} has more than {_MAX_STARS} stars")
    return pattern


def anchored(patterns: Iterable[str]) -> Exclude:
    """Match whole paths below the folder; `*` stays within a name, `**` is any number of folders."""
    return _any_of([_expression(pattern.split("/"), recursive=True) for pattern in patterns])


def from_the_right(patterns: Iterable[str]) -> Exclude:
    """Match the end of a path, at any depth, as add-ons write their own patterns."""
    ends = [_expression(pattern.strip("/").split("/"), recursive=False) for pattern in patterns]
    return _any_of([f"(?:.*/)?{end}" for end in ends])


def _any_of(expressions: list[str]) -> Exclude:
    if not expressions:
        return lambda _path: False
    match = re.compile("|".join(f"(?:{one})" for one in expressions), re.DOTALL).fullmatch
    return lambda path: match(path) is not None


def _expression(parts: list[str], *, recursive: bool) -> str:
    text = ""
    for number, part in enumerate(parts):
        last = number == len(parts) - 1
        if recursive and part == "**":
            text += ".*" if last else "(?:.*/)?"
        else:
            text += _name(part) + ("" if last else "/")
    return text


def _name(pattern: str) -> str:
    """Translate the glob of a single name.

    What stands between two stars is taken where it is found first: nothing later can need it elsewhere. Without that, a
    few stars would keep us busy for minutes.
    """
    first, *others = re.split(r"\*+", pattern) if "[" not in pattern else _split(pattern)
    if not others:
        return _literal(first)
    *middle, last = others
    between = "".join(f"(?>[^/]*?{_literal(part)})" for part in middle if part)
    return f"{_literal(first)}{between}[^/]*{_literal(last)}"


def _split(pattern: str) -> list[str]:
    """Split at stars that stand in no set of letters."""
    parts, at = [""], 0
    while at < len(pattern):
        end = pattern.find("]", at + 2) if pattern[at] == "[" else -1
        if end > 0:
            parts[-1] += pattern[at : end + 1]
            at = end + 1
        else:
            if pattern[at] != "*":
                parts[-1] += pattern[at]
            elif at == 0 or pattern[at - 1] != "*":
                parts.append("")
            at += 1
    return parts


def _literal(pattern: str) -> str:
    """Translate what has no stars."""
    text, at = "", 0
    while at < len(pattern):
        letter = pattern[at]
        at += 1
        if letter == "?":
            text += "[^/]"
        elif letter == "[" and (end := pattern.find("]", at + 1)) > 0:
            text += _letters(pattern[at:end])
            at = end + 1
        else:
            text += re.escape(letter)
    return text


def _letters(inner: str) -> str:
    """Translate a set such as `a-z` or `!abc`."""
    negated = inner.startswith("!")
    inner = inner.removeprefix("!")
    ranges, at = "", 0
    while at < len(inner):
        if at + 2 < len(inner) and inner[at + 1] == "-":
            low, high = inner[at], inner[at + 2]
            if low <= high:
                ranges += f"{re.escape(low)}-{re.escape(high)}"
            at += 3
        else:
            ranges += re.escape(inner[at])
            at += 1
    if not ranges:
        # A set without a letter matches nothing, its opposite anything.
        return "[^/]" if negated else "(?!)"
    return f"(?!/)[{'^' if negated else ''}{ranges}]"
