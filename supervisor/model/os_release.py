"""Which version of the Home Assistant Operating System comes next, and where it is (host contract §28, §44)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final
from urllib.parse import urlsplit

import attrs

from supervisor.model.version import at_least, is_newer, major

# Since then it is called otherwise, and one image serves all boards with an x86 processor.
_RENAMED: Final = "6"
_MERGED_BOARDS: Final = {"intel-nuc": "generic-x86-64"}
_PLACEHOLDER: Final = re.compile(r"\{([^{}]*)\}")
# A version and a board become parts of a URL, a version that of a file's name.
_SAFE: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9.+~_-]{0,63}")


@attrs.frozen
class OsReleases:
    """What the version file says: the newest version for our board, the last one of each major version, and `ota`.

    `ota` is the template of the URL that bundles are at.
    """

    newest: str | None = None
    last_of_major: Mapping[str, str] = attrs.field(factory=dict)
    ota: str | None = None

    def latest(self, running: str | None) -> str | None:
        """Return the version to go to from `running`: no major version is left out, each is left from its last one."""
        number = major(running) if running is not None else None
        if running is None or number is None:
            return self.newest
        last = self.last_of_major.get(str(number))
        if last is not None and is_newer(last, running):
            return last
        return self.last_of_major.get(str(number + 1), self.newest)

    def url(self, version: str, board: str) -> str:
        """Return where the bundle is.

        Raises:
            ValueError: the version or the board is none, or the template makes no URL of them.
        """
        if self.ota is None:
            raise ValueError("the version file does not tell where bundles are")
        for value in (version, board):
            if not is_safe(value):
                raise ValueError(f"{value!r} can be no part of a URL")
        renamed = at_least(version, _RENAMED)
        values = {
            "version": version,
            "os_name": "haos" if renamed else "hassos",
            "board": _MERGED_BOARDS.get(board, board) if renamed else board,
        }
        unknown = {name for name in _PLACEHOLDER.findall(self.ota) if name not in values}
        if unknown:
            raise ValueError(f"the template {self.ota} has the unknown placeholder {min(unknown)!r}")
        url = _PLACEHOLDER.sub(lambda found: values[found[1]], self.ota)
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"the template {self.ota} makes no URL")
        return url


def is_safe(text: str) -> bool:
    """Tell whether a version or a board may stand in a URL and in the name of a file."""
    return _SAFE.fullmatch(text) is not None
