"""A file as an answer, whole or a range of it."""

from __future__ import annotations

import asyncio
import math
import os
import re
import time
from email.utils import formatdate
from pathlib import Path
from typing import Final
from urllib.parse import quote

from aiohttp import web
from aiohttp.abc import AbstractStreamWriter
from multidict import CIMultiDict

_RANGE: Final = re.compile(
    r"bytes=(?:(?P<first>\d{1,18})-(?P<last>\d{0,18})|-0*[1-9]\d{0,17})", re.ASCII | re.IGNORECASE
)
_CONDITIONS: Final = ("Range", "If-Range")


class FileAnswer(web.FileResponse):
    """Sends an open file; others may change what lies at its path meanwhile."""

    def __init__(self, descriptor: int, media_type: str, name: str) -> None:
        disposition = f"attachment; filename=\"{_plain(name)}\"; filename*=UTF-8''{quote(name)}"
        headers = CIMultiDict({"Content-Type": media_type, "Content-Disposition": disposition})
        super().__init__(f"/proc/self/fd/{descriptor}", headers=headers)
        self._descriptor = descriptor

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        try:
            if any(name in request.headers for name in _CONDITIONS):
                status = await asyncio.to_thread(os.fstat, self._descriptor)
                # What is beyond the library: it refuses several ranges, and knows no tags in If-Range.
                keep = ("Range",) if _wants_range(request, status) else ()
                left_out = {name.lower() for name in _CONDITIONS if name not in keep}
                headers = [pair for pair in request.headers.items() if pair[0].lower() not in left_out]
                request = request.clone(headers=CIMultiDict(headers))
            return await super().prepare(request)
        finally:
            self.close()

    def close(self) -> None:
        """Let go of the file; sending it does so by itself."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)


async def send_file(path: Path, media_type: str, name: str) -> FileAnswer:
    """Open a file to be sent; a link in its place is not followed.

    Raises:
        FileNotFoundError, OSError: it can't be read.
    """
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    return FileAnswer(await asyncio.to_thread(os.open, path, flags), media_type, name)


def _wants_range(request: web.BaseRequest, status: os.stat_result) -> bool:
    """Tell whether one range is to be sent (RFC 9110, 13.1.5 and 14.2); else it is the whole file.

    Several ranges are answered by the whole, as is allowed: nobody asks for an archive in pieces that are far apart.
    """
    asked = _RANGE.fullmatch(request.headers.get("Range", "").strip())
    if asked is None or request.method != "GET":
        return False
    if asked["last"] and int(asked["last"]) < int(asked["first"]):
        return False
    known = request.headers.get("If-Range")
    if known is None:
        return True
    modified = math.ceil(status.st_mtime)
    if known == formatdate(modified, usegmt=True):
        # Within the same second the file may change once more, which the date would not tell.
        return modified < time.time() - 1
    return known == f'"{status.st_mtime_ns:x}-{status.st_size:x}"'


def _plain(name: str) -> str:
    """Return what every client understands in quotes."""
    return "".join(
        letter if letter.isascii() and letter.isprintable() and letter not in '"\\' else "_" for letter in name
    )
