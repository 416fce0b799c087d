"""A file as an answer: which ranges of it are sent, and when all of it is (RFC 9110, 13.1.5 and 14)."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from types import SimpleNamespace

import aiohttp
import attrs
import pytest
from aiohttp import web

from supervisor.api import download
from supervisor.api.download import send_file
from web_stand import serving

pytestmark = pytest.mark.usefixtures("no_blocking_calls")

CONTENT = bytes(range(200))
# 2026-01-02 03:04:05 UTC and a bit, which a date in a header does not have.
MTIME = 1767323045_250_000_000
SENT = "Fri, 02 Jan 2026 03:04:06 GMT"


@attrs.frozen
class Answer:
    status: int
    body: bytes
    headers: Mapping[str, str]


@attrs.frozen
class Asking:
    url: str
    path: Path
    session: aiohttp.ClientSession

    async def __call__(self, method: str = "GET", **headers: str) -> Answer:
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        async with self.session.request(method, f"{self.url}/file", headers=sent) as answer:
            return Answer(answer.status, await answer.read(), answer.headers)


@pytest.fixture
async def ask(tmp_path: Path) -> AsyncIterator[Asking]:
    path = tmp_path / "backup.tar"
    path.write_bytes(CONTENT)
    os.utime(path, ns=(MTIME, MTIME))

    async def handle(_request: web.Request) -> web.StreamResponse:
        return await send_file(path, "application/tar", "backup.tar")

    async with serving(handle) as url, aiohttp.ClientSession() as session:
        yield Asking(url, path, session)


@pytest.mark.parametrize(
    ("asked", "first", "last"),
    [
        ("bytes=0-0", 0, 0),
        ("bytes=100-", 100, 199),
        ("bytes=100-120", 100, 120),
        ("bytes=100-999", 100, 199),
        ("bytes=-10", 190, 199),
        ("bytes=-999", 0, 199),
        ("BYTES=7-8", 7, 8),
    ],
)
async def test_one_range_is_sent_alone(ask: Asking, asked: str, first: int, last: int) -> None:
    answer = await ask(Range=asked)
    assert (answer.status, answer.body) == (206, CONTENT[first : last + 1])
    assert answer.headers["Content-Range"] == f"bytes {first}-{last}/200"


@pytest.mark.parametrize("asked", ["bytes=200-", "bytes=999-1000"])
async def test_a_range_behind_the_end_can_not_be_satisfied(ask: Asking, asked: str) -> None:
    answer = await ask(Range=asked)
    assert (answer.status, answer.headers["Content-Range"]) == (416, "bytes */200")


@pytest.mark.parametrize(
    "asked",
    [
        "bytes=0-0,-1",
        "bytes=0-9, 50-59",
        "bytes=999-1000,0-9",
        "lines=1-2",
        "bytes=9-3",
        "bytes=x-",
        "bytes=",
        "bytes=-",
        "bytes=-0",
        f"bytes=0-{'9' * 5000}",
    ],
)
async def test_several_ranges_and_what_is_none_are_answered_by_the_whole(ask: Asking, asked: str) -> None:
    answer = await ask(Range=asked)
    assert (answer.status, answer.body) == (200, CONTENT)
    assert "Content-Range" not in answer.headers


async def test_a_range_is_sent_only_of_the_file_that_the_client_knows(ask: Asking) -> None:
    whole = await ask()
    tag = whole.headers["ETag"]
    assert whole.headers["Last-Modified"] == SENT
    assert whole.headers["Accept-Ranges"] == "bytes"
    for known in (tag, SENT):
        answer = await ask(Range="bytes=5-9", If_Range=known)
        assert (answer.status, answer.body) == (206, CONTENT[5:10]), known
    later, before = SENT.replace("03:04:06", "03:04:07"), SENT.replace("03:04:06", "03:04:05")
    for other in ('"other"', f"W/{tag}", tag.strip('"'), later, before, "yesterday", ""):
        answer = await ask(Range="bytes=5-9", If_Range=other)
        assert (answer.status, answer.body) == (200, CONTENT), other
    ask.path.write_bytes(CONTENT[::-1])
    for known in (tag, SENT):
        answer = await ask(Range="bytes=5-9", If_Range=known)
        assert (answer.status, answer.body) == (200, CONTENT[::-1]), known


async def test_a_date_is_no_proof_for_a_file_that_may_have_changed_within_its_second(
    ask: Asking, monkeypatch: pytest.MonkeyPatch
) -> None:
    ask.path.write_bytes(CONTENT)
    changed = ask.path.stat().st_mtime
    monkeypatch.setattr(download, "time", SimpleNamespace(time=lambda: changed + 0.1))
    whole = await ask()
    fresh = await ask(Range="bytes=5-9", If_Range=whole.headers["Last-Modified"])
    assert (fresh.status, fresh.body) == (200, CONTENT)
    assert (await ask(Range="bytes=5-9", If_Range=whole.headers["ETag"])).status == 206


async def test_ranges_are_for_get_alone_and_conditions_come_before_them(ask: Asking) -> None:
    head = await ask("HEAD", Range="bytes=5-9")
    assert (head.status, head.headers["Content-Length"]) == (200, "200")
    tag = head.headers["ETag"]
    assert (await ask(Range="bytes=5-9", If_None_Match=tag)).status == 304
    assert (await ask(Range="bytes=5-9,20-30", If_Match='"other"')).status == 412
