"""Names that strangers gave to members of an archive."""

from __future__ import annotations

import os
from typing import Final

from supervisor.errors import ArchiveDamaged, ArchiveRefused

MAX_NAME: Final = 4096
MAX_PART: Final = 255
MAX_DEPTH: Final = 128


def shown(name: str) -> str:
    """Return the name as it can stand in a message, whatever bytes it was made of."""
    text = name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    text = "".join(letter if letter.isprintable() else f"\\x{ord(letter):02x}" for letter in text)
    return text if len(text) <= 120 else f"{text[:60]}…{text[-50:]}"


def refused(name: str, why: str, *, unnamed: str | None = None) -> ArchiveRefused:
    """Return the error about what has this name in an archive; `unnamed` is `why` without further names."""
    return ArchiveRefused(f"{shown(name)}: {why}", unnamed=_of_something(why, unnamed))


def damaged(name: str, why: str, *, unnamed: str | None = None) -> ArchiveDamaged:
    """As `refused`, where nobody can have meant it."""
    return ArchiveDamaged(f"{shown(name)}: {why}", unnamed=_of_something(why, unnamed))


def _of_something(why: str, unnamed: str | None) -> str:
    return f"Something in it: {why if unnamed is None else unnamed}"


def parts_of(name: str) -> tuple[str, ...]:
    """Split a member's name into its folders and its own name; the root itself is the empty tuple.

    Raises:
        ArchiveRefused: the name is absolute, climbs, or is more than a file system takes.
    """
    if name.startswith("/"):
        raise refused(name, "an absolute path")
    if "\0" in name:
        raise refused(name, "a NUL in the name")
    if not name:
        raise ArchiveRefused("A member without a name")
    try:
        raw = os.fsencode(name)
    except UnicodeEncodeError:
        raise refused(name.encode("utf-8", "backslashreplace").decode(), "no name of a file") from None
    parts = tuple(part for part in name.split("/") if part not in ("", "."))
    if ".." in parts:
        raise refused(name, "climbs out of its folder")
    if len(raw) > MAX_NAME or any(len(os.fsencode(part)) > MAX_PART for part in parts):
        raise refused(name, "the name is too long")
    if len(parts) > MAX_DEPTH:
        raise refused(name, f"more than {MAX_DEPTH} folders deep")
    return parts


def can_be_read(name: str) -> bool:
    """Tell whether `parts_of` takes the name that a file or folder of the disk would have in an archive."""
    # The slash that ends the name of a folder counts, too.
    raw = os.fsencode(name)
    return raw.count(b"/") < MAX_DEPTH and len(raw) < MAX_NAME and len(raw.rpartition(b"/")[2]) <= MAX_PART


def stays_inside(parts: tuple[str, ...], target: str) -> bool:
    """Tell whether a symbolic link at `parts` leads to something below the root, whatever else is there.

    Climbing is counted from the folder that holds the link. It may only come first: behind the name of a folder, which
    may be a link itself, nobody can say where it leads.
    """
    if not target or target.startswith("/") or "\0" in target:
        return False
    steps = [step for step in target.split("/") if step not in ("", ".")]
    climbs = 0
    while climbs < len(steps) and steps[climbs] == "..":
        climbs += 1
    return climbs <= len(parts) - 1 and ".." not in steps[climbs:]
