"""What is sent to us and too large to be held: kept in a file without a name, gone with us whatever happens."""

from __future__ import annotations

import asyncio
import errno
import tempfile
from collections.abc import AsyncIterable
from pathlib import Path
from typing import BinaryIO, Final, cast

import attrs

from supervisor.errors import DOCKER_NO_SPACE, Internal, Invalid, SupervisorError

WRITE_BYTES: Final = 1024 * 1024


@attrs.define(eq=False)
class Spool:
    """`size` bytes in `file`; whoever has it closes it."""

    file: BinaryIO
    size: int = 0

    async def close(self) -> None:
        await asyncio.to_thread(self.file.close)


async def receive(chunks: AsyncIterable[bytes], folder: Path, *, room: int) -> Spool:
    """Write what comes to a nameless file in `folder`, at most `room` bytes.

    Raises:
        Invalid: more comes than there is room for; SupervisorError: of kind DOCKER_NO_SPACE.
    """
    spool = Spool(cast("BinaryIO", await asyncio.to_thread(tempfile.TemporaryFile, dir=folder)))
    try:
        await _fill(spool, chunks, room)
    except BaseException:
        await asyncio.shield(spool.close())
        raise
    return spool


async def _fill(spool: Spool, chunks: AsyncIterable[bytes], room: int) -> None:
    buffer = bytearray()
    async for chunk in chunks:
        buffer += chunk
        if spool.size + len(buffer) > room:
            raise Invalid(f"The upload has more than the {room} bytes that there is room for")
        if len(buffer) >= WRITE_BYTES:
            await _write(spool, bytes(buffer))
            buffer.clear()
    await _write(spool, bytes(buffer))


async def _write(spool: Spool, content: bytes) -> None:
    try:
        await asyncio.to_thread(_write_all, spool.file, content)
    except OSError as err:
        raise _refused(err) from err
    spool.size += len(content)


def _write_all(file: BinaryIO, content: bytes) -> None:
    file.write(content)
    file.flush()


def _refused(err: OSError) -> SupervisorError:
    return DOCKER_NO_SPACE() if err.errno == errno.ENOSPC else Internal(f"The upload can't be stored: {err.strerror}")
