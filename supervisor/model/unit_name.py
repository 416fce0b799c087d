"""Names of systemd units for paths, escaped as systemd wants it."""

from __future__ import annotations

import re
from pathlib import PurePath
from typing import Final

_TO_ESCAPE: Final = re.compile(rb"[^A-Za-z0-9:_./]|^\.")


def mount_unit_name(path: PurePath) -> str:
    """Return the name of the unit that mounts something at an absolute path."""
    text = str(path).encode("utf-8", "surrogateescape").strip(b"/")
    escaped = _TO_ESCAPE.sub(lambda found: b"\\x%02x" % found[0][0], text)
    return (escaped.replace(b"/", b"-") or b"-").decode("ascii") + ".mount"
