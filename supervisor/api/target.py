"""What a request asks for, read from its first line and refused when it tries to look like something else."""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import unquote

MAX_DECODINGS: Final = 8

_HIDDEN: Final = re.compile(r"%(?:2f|5c|00)", re.IGNORECASE)
_ASSIGNED_PATH: Final = re.compile(r"[a-z0-9_]=/[a-z0-9_.]/")
# Words that must follow one another, with anything between them.
_SEQUENCES: Final = (
    ("proc/self/environ",),
    ("<", "script", ">"),
    ("../",),
    ("union", "select", "("),
    ("union", "all", "select"),
    ("concat", "("),
)


class HostileTarget(Exception):
    """The request line is refused before anything is decided about it."""


def decoded_path(target: str) -> str:
    """Return the path of a request target, percent-decoded once, which is the one reading that it has.

    Raises:
        HostileTarget: the path can be read in two ways (decoding again changes it; a backslash, a control character,
            an empty, encoded or dot segment), is not a path at all, or the exploit filter (contract §4.4) fired.
    """
    raw, _, query = target.partition("?")
    if not raw.startswith("/") or "#" in target or "//" in raw:
        raise HostileTarget("not a plain path")
    path = raw
    if "%" in raw:
        path = _decoded_once(raw)
    if not path.isprintable() or "\\" in path:
        raise HostileTarget("a character that has no business in a path")
    if "/." in path and any(segment in (".", "..") for segment in path.split("/")):
        raise HostileTarget("a dot segment")
    if _is_exploit(path) or (query and _is_exploit(_decoded_fully(query))):
        raise HostileTarget("an exploit")
    return path


def _decoded_once(raw: str) -> str:
    if _HIDDEN.search(raw):
        raise HostileTarget("an encoded separator")
    try:
        path = unquote(raw, errors="strict")
    except UnicodeDecodeError as err:
        raise HostileTarget("not UTF-8") from err
    if "%" in path and unquote(path) != path:
        raise HostileTarget("encoded more than once")
    return path


def _decoded_fully(text: str) -> str:
    for _ in range(MAX_DECODINGS):
        if "%" not in text:
            return text
        decoded = unquote(text)
        if decoded == text:
            return text
        text = decoded
    raise HostileTarget("encoded too many times")


def _is_exploit(text: str) -> bool:
    """Search in one pass for each pattern, whatever the text; a regular expression would go back and forth."""
    lower = text.lower()
    for words in _SEQUENCES:
        if words[0] in lower and _follow(lower, words):
            return True
    return "=/" in lower and _ASSIGNED_PATH.search(lower) is not None


def _follow(text: str, words: tuple[str, ...]) -> bool:
    position = 0
    for word in words:
        position = text.find(word, position)
        if position < 0:
            return False
        position += len(word)
    return True
