"""Large files from elsewhere, written to the disk as they come."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, BinaryIO, Final

from supervisor.const import MIB
from supervisor.drivers.http import HttpClient
from supervisor.errors import Internal, Unavailable
from supervisor.model.amounts import size_text

WRITE_BYTES: Final = MIB


async def download(
    http: HttpClient,
    url: str,
    target: Path,
    *,
    seconds: float,
    spare: int,
    tell: Callable[[int, int | None], None],
) -> None:
    """Fetch `url` into the file `target`, which is whole when this returns, and not there when it raises.

    `spare` bytes of the disk are left free. `tell` is called with how many bytes are here and how many there are, None
    where nobody knows.

    Raises:
        Timeout: not all of it came within `seconds`, or nothing for long.
        Unavailable: it can't be had, it broke off, or there is no room for it.
        Internal: the disk refuses.
    """
    try:
        async with http.stream(url, timeout=seconds) as stream:
            room = await _room(url, target, stream.size, spare)
            file: BinaryIO = await _on_disk(target, target.open, "wb")
            try:
                await _fill(_Sink(target, file, lambda here: tell(here, stream.size)), url, stream.chunks, room)
            finally:
                await asyncio.shield(asyncio.to_thread(file.close))
    except BaseException:
        await asyncio.shield(asyncio.to_thread(target.unlink, missing_ok=True))
        raise


async def _room(url: str, target: Path, size: int | None, spare: int) -> int:
    usage = await _on_disk(target, shutil.disk_usage, target.parent)
    room = max(0, int(usage.free) - spare)
    if (size or 1) > room:
        raise _too_large(url, room)
    return room


class _Sink:
    def __init__(self, target: Path, file: BinaryIO, tell: Callable[[int], None]) -> None:
        self._target = target
        self._file = file
        self._tell = tell
        self._written = 0
        self._buffer = bytearray()

    @property
    def size(self) -> int:
        return self._written + len(self._buffer)

    async def take(self, chunk: bytes) -> None:
        self._buffer += chunk
        if len(self._buffer) >= WRITE_BYTES:
            await self.flush()

    async def flush(self) -> None:
        await _on_disk(self._target, _write_all, self._file, bytes(self._buffer))
        self._written += len(self._buffer)
        self._buffer.clear()
        self._tell(self._written)


async def _fill(sink: _Sink, url: str, chunks: AsyncIterator[bytes], room: int) -> None:
    async for chunk in chunks:
        if sink.size + len(chunk) > room:
            raise _too_large(url, room)
        await sink.take(chunk)
    await sink.flush()


def _write_all(file: BinaryIO, content: bytes) -> None:
    file.write(content)
    file.flush()


async def _on_disk(target: Path, work: Callable[..., Any], *arguments: Any) -> Any:
    try:
        return await asyncio.to_thread(work, *arguments)
    except OSError as err:
        raise Internal(f"{target} can't be written: {err.strerror or err}") from err


def _too_large(url: str, room: int) -> Unavailable:
    return Unavailable(f"There is no room for {url}: only {size_text(room)} of the disk can be used for it")
