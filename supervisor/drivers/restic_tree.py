"""What a snapshot holds, looked at before it is restored.

restic writes what it finds under the names that it finds, one after the other: of two entries of one name, the second
goes through the link that the first one is, to wherever that leads.
"""

from __future__ import annotations

import json
from array import array
from collections.abc import Iterator
from contextlib import suppress
from itertools import pairwise
from typing import Any, Final

from supervisor.drivers.archive.names import shown
from supervisor.drivers.archive.rules import Limits
from supervisor.errors import ArchiveRefused

# Stands for what is no text. Names that differ only in that look alike, and honest folders hold some.
_UNREADABLE: Final = "\ufffd"
_MAX_LINE: Final = 1024 * 1024
_HARMLESS: Final = ({"file"}, {"dir"})


class Paths:
    """Takes down the paths of a listing, eight bytes for each. Everything here blocks."""

    def __init__(self) -> None:
        self._listing = Listing()
        # Python's hash has a key of this process: nobody can make two paths that have the same.
        self._seen = array("q")

    def feed(self, block: bytes) -> None:
        """Take the next bytes of the listing.

        Raises:
            ArchiveRefused: it has more entries than any backup.
        """
        self._seen.extend(hash(node["path"]) for node in self._listing.feed(block))
        if len(self._seen) > Limits().members:
            raise ArchiveRefused(f"The backup holds more than {Limits().members} files")

    def __len__(self) -> int:
        return len(self._seen)

    def doubles(self) -> frozenset[int]:
        """Return the hashes of the paths that came more than once."""
        return frozenset(one for one, other in pairwise(sorted(self._seen)) if one == other)


class Doubles:
    """Judges the paths with these hashes, in a second listing."""

    def __init__(self, hashes: frozenset[int]) -> None:
        self._listing = Listing()
        self._hashes = hashes
        self._found: dict[str, list[str]] = {}

    def feed(self, block: bytes) -> None:
        for node in self._listing.feed(block):
            if hash(node["path"]) in self._hashes:
                self._found.setdefault(node["path"], []).append(str(node.get("type")))

    def check(self) -> None:
        """Raise ArchiveRefused when two entries have one name."""
        for path, kinds in self._found.items():
            if len(kinds) > 1 and (_UNREADABLE not in path or set(kinds) not in _HARMLESS):
                twice = "is in the backup twice"
                raise ArchiveRefused(f"{shown(path)} {twice}", unnamed=f"Something {twice}")


class Listing:
    """What the lines of JSON tell that `restic ls` writes: of each entry at least the `path`, a text."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, block: bytes) -> Iterator[dict[str, Any]]:
        *lines, self._rest = (self._rest + block).split(b"\n")
        if len(self._rest) > _MAX_LINE:
            raise ArchiveRefused("The backup holds a name that is too long")
        for line in lines:
            said: Any = None
            # Old versions say something else before.
            with suppress(ValueError):
                said = json.loads(line)
            if isinstance(said, dict) and said.get("struct_type") == "node" and isinstance(said.get("path"), str):
                yield said
