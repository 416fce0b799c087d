"""What we write beside the files of a snapshot: which backup it belongs to, and the description of that backup.

A backup in a repository is one or more snapshots that carry the same slug. The one that was made last also carries the
description; until it is there the backup does not exist, so a run that is cut off leaves nothing that looks like one.
Tags can't hold commas: the description travels as compressed JSON in URL-safe base64, cut into pieces.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
import zlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from supervisor.errors import Invalid

MARK: Final = "supervisor"
_SLUG: Final = re.compile(r"slug=([0-9a-z_-]{1,64})")
_PIECE: Final = re.compile(r"description-(\d{1,3})-(\d{1,3})=([A-Za-z0-9_=-]*)")
# One argument of a program holds 128 KiB; all together must leave room for the rest.
_PIECE_LENGTH: Final = 100_000
_MAX_PIECES: Final = 10
_MAX_JSON: Final = 64 * 1024 * 1024


def encode(slug: str, description: Mapping[str, Any] | None = None) -> list[str]:
    """Return the tags of a snapshot of the backup `slug`.

    Raises:
        Invalid: the description is too long to be stored.
    """
    tags = [MARK, f"slug={slug}"]
    if description is None:
        return tags
    packed = zlib.compress(json.dumps(description, separators=(",", ":")).encode(), 9)
    text = base64.urlsafe_b64encode(packed).decode()
    pieces = [text[start : start + _PIECE_LENGTH] for start in range(0, len(text), _PIECE_LENGTH)]
    if len(pieces) > _MAX_PIECES:
        raise Invalid("The description of the backup is too long for a repository; shorten what is given as extra")
    return tags + [f"description-{number}-{len(pieces)}={piece}" for number, piece in enumerate(pieces, 1)]


def slug_of(tags: Iterable[str]) -> str | None:
    """Return the slug of the backup that a snapshot belongs to; None when the snapshot is not one of ours."""
    tags = list(tags)
    found = next((match[1] for tag in tags if (match := _SLUG.fullmatch(tag))), None)
    return found if MARK in tags else None


def decode(tags: Iterable[str]) -> dict[str, Any] | None:
    """Return the description in the tags; None when there is none that is whole and sound."""
    pieces: dict[int, str] = {}
    total = 0
    for number, count, text in _pieces(tags):
        total = max(total, count)
        pieces[number] = text
    if not total or sorted(pieces) != list(range(1, total + 1)):
        return None
    try:
        packed = base64.urlsafe_b64decode("".join(pieces[number] for number in sorted(pieces)))
        unpacker = zlib.decompressobj()
        plain = unpacker.decompress(packed, _MAX_JSON)
        if not unpacker.eof:
            return None
        found = json.loads(plain)
    except (binascii.Error, zlib.error, ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _pieces(tags: Iterable[str]) -> Iterator[tuple[int, int, str]]:
    for tag in tags:
        if match := _PIECE.fullmatch(tag):
            yield int(match[1]), int(match[2]), match[3]
