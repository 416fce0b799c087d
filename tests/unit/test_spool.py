from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from supervisor.drivers.spool import receive
from supervisor.errors import Invalid


async def pieces(*content: bytes) -> AsyncIterator[bytes]:
    for piece in content:
        await asyncio.sleep(0)
        yield piece


async def test_what_comes_is_kept_without_a_name_and_gone_when_closed(tmp_path: Path) -> None:
    spool = await receive(pieces(b"a" * 1_500_000, b"", b"b"), tmp_path, room=2_000_000)
    assert spool.size == 1_500_001
    spool.file.seek(1_499_999)
    assert spool.file.read() == b"ab"
    assert await asyncio.to_thread(os.listdir, tmp_path) == []
    await spool.close()
    assert spool.file.closed


async def test_more_than_there_is_room_for_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Invalid, match="more than the 10 bytes"):
        await receive(pieces(b"a" * 6, b"b" * 5), tmp_path, room=10)
    spool = await receive(pieces(b"a" * 10), tmp_path, room=10)
    assert spool.size == 10
    await spool.close()


async def test_a_sender_that_fails_leaves_nothing_open(tmp_path: Path) -> None:
    async def broken() -> AsyncIterator[bytes]:
        yield b"a"
        raise Invalid("it broke off")

    with pytest.raises(Invalid, match="broke off"):
        await receive(broken(), tmp_path, room=10)
