"""A file as an answer, whole or a range of it."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from urllib.parse import quote

from aiohttp import web
from aiohttp.abc import AbstractStreamWriter
from multidict import CIMultiDict


class FileAnswer(web.FileResponse):
    """Sends an open file; others may change what lies at its path meanwhile."""

    def __init__(self, descriptor: int, media_type: str, name: str) -> None:
        disposition = f"attachment; filename=\"{_plain(name)}\"; filename*=UTF-8''{quote(name)}"
        headers = CIMultiDict({"Content-Type": media_type, "Content-Disposition": disposition})
        super().__init__(f"/proc/self/fd/{descriptor}", headers=headers)
        self._descriptor = descriptor

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        try:
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


def _plain(name: str) -> str:
    """Return what every client understands in quotes."""
    return "".join(
        letter if letter.isascii() and letter.isprintable() and letter not in '"\\' else "_" for letter in name
    )
