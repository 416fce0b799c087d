"""The same question gets the same entries from us as from journalctl."""

from __future__ import annotations

import asyncio
import contextlib
import json
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from journal_stand import BOOTS, START, fields, needs_journal_tools, real_gateway, write_journal
from log_engine_stand import EngineStand
from multidict import CIMultiDict

from supervisor.drivers.journal import DirectJournal, JournalGateway, JournalSource
from supervisor.drivers.journal.gateway import BOOT_FINISHED
from supervisor.events import EventBus
from supervisor.managers.logs import LogManager, LogRequest, LogTarget
from supervisor.managers.logs.levels import NAMES

pytestmark = needs_journal_tools

WORDS = ("alpha", "Beta", "gamma ray", "error: no way", "two\nlines", "ünï", "\x1b[31mred\x1b[0m alarm", "x" * 3000)
IDENTIFIERS = ("addon_x", "kernel", "systemd", "other")
SIZE = 240
PATTERNS = (
    "alpha",
    "beta",
    "Beta",
    r"^1\d",
    "a|no",
    "lines$",
    "two.lines",
    r"[0-4] \S+$",
    "ünï",
    "red|x{99}",
    "nothing",
)


@attrs.frozen
class Story:
    """A journal of three boots in two files, and a gateway to it."""

    folder: Path
    gateway: Path


def write_story(folder: Path) -> None:
    time, entries = 0, []
    for number in range(SIZE):
        # Entries of one moment in two files have no order that a cursor could keep.
        time += 1 if number == SIZE // 2 else (0, 1, 400_000, 1_000_000)[number * 7 % 4]
        entry = fields(
            0,
            f"{number} {WORDS[number * 5 % len(WORDS)]}",
            boot=number * 3 // SIZE,
            SYSLOG_IDENTIFIER=IDENTIFIERS[number * 11 % 7 % 4],
        )
        entry["__REALTIME_TIMESTAMP"] = str(START + time)
        entry["__MONOTONIC_TIMESTAMP"] = str(1000 + time)
        if number % 9:
            entry["PRIORITY"] = str(number * 13 % 8)
        if number % (SIZE // len(BOOTS)) == 9:
            entry["MESSAGE_ID"] = BOOT_FINISHED
        entries.append(entry)
    write_journal(folder / "one.journal", entries[: SIZE // 2])
    write_journal(folder / "two.journal", entries[SIZE // 2 :])


def journalctl(folder: Path, *arguments: str) -> list[dict[str, Any]]:
    command = ["journalctl", "-D", folder, "--quiet", "--no-pager", "--all", "-o", "json", *arguments]
    text = subprocess.run(command, capture_output=True, timeout=60, check=False).stdout.decode()
    return [json.loads(line) for line in text.splitlines()]


def message(entry: dict[str, Any]) -> str:
    text = entry["MESSAGE"]
    return text if isinstance(text, str) else bytes(text).decode()


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    folder = tmp_path_factory.mktemp("journal")
    write_story(folder)
    gateway = tmp_path_factory.mktemp("gateway") / "socket"
    with real_gateway(folder, gateway):
        yield Story(folder, gateway)


@contextlib.asynccontextmanager
async def source_of(story: Story, way: str) -> AsyncIterator[JournalSource]:
    source = DirectJournal(story.folder) if way == "files" else JournalGateway(socket=story.gateway)
    await source.start()
    try:
        yield source
    finally:
        await source.close()


async def ours(story: Story, way: str, asked: LogRequest, identifiers: tuple[str, ...]) -> list[str]:
    async with source_of(story, way) as source:
        engine = EngineStand(EventBus())
        logs = LogManager(source, engine, engine.bus, story.folder / "kept")
        async with contextlib.aclosing(await logs.stream(LogTarget(identifiers), asked)) as stream:
            return [line async for line in stream.lines]


@attrs.frozen
class Question:
    identifiers: tuple[str, ...]
    boot: int | None
    level: str | None
    since: int | None
    until: int | None
    grep: str | None

    @property
    def query(self) -> dict[str, str]:
        asked = {"level": self.level, "since": _epoch(self.since), "until": _epoch(self.until), "grep": self.grep}
        return {name: value for name, value in asked.items() if value is not None}

    @property
    def arguments(self) -> list[str]:
        """The same for journalctl."""
        found = [f"--identifier={name}" for name in self.identifiers]
        if self.boot is not None:
            found.append(f"_BOOT_ID={boot_id(self.boot)}")
        if self.level is not None:
            found.append(f"--priority={self.level}")
        if self.since is not None:
            found.append(f"--since=@{_epoch(self.since)}")
        if self.until is not None:
            found.append(f"--until=@{_epoch(self.until)}")
        if self.grep is not None:
            found.append(f"--grep={self.grep}")
        return found

    @property
    def has_span(self) -> bool:
        return self.since is not None or self.until is not None


def _epoch(time: int | None) -> str | None:
    return None if time is None else f"{time // 1_000_000}.{time % 1_000_000:06d}"


def boot_id(boot: int) -> str:
    return BOOTS[boot - 1] if boot > 0 else BOOTS[len(BOOTS) - 1 + boot]


def in_order(question: Question) -> Question:
    """Nothing lies between moments of the wrong order: that is refused, here and by journalctl."""
    if question.since is None or question.until is None:
        return question
    first, last = sorted((question.since, question.until))
    return attrs.evolve(question, since=first, until=last)


levels = st.sampled_from(NAMES) | st.tuples(st.sampled_from(NAMES), st.sampled_from(NAMES)).map("..".join)
moments = st.integers(START - 1_000_000, START + SIZE * 400_000)
questions = st.builds(
    Question,
    st.lists(st.sampled_from([*IDENTIFIERS, "nobody"]), unique=True, max_size=3).map(tuple),
    st.none() | st.integers(-2, 3),
    st.none() | levels,
    st.none() | moments,
    st.none() | moments,
    st.none() | st.sampled_from(PATTERNS),
).map(in_order)


ways = pytest.mark.parametrize("way", ["files", "gateway"])
often = settings(max_examples=20)


def request(question: Question, **query: str) -> LogRequest:
    headers = CIMultiDict({"Range": query.pop("range")}) if "range" in query else CIMultiDict[str]()
    boot = None if question.boot is None else str(question.boot)
    return LogRequest.from_query(headers, {**question.query, **query}, boot=boot)


@ways
@often
@given(question=questions)
def test_the_whole_answer_is_that_of_journalctl(story: Story, way: str, question: Question) -> None:
    asked = request(question, range="entries=:0:18446744073709551615")
    expected = [message(entry) for entry in journalctl(story.folder, *question.arguments)]
    assert asyncio.run(ours(story, way, asked, question.identifiers)) == expected


@ways
@often
@given(question=questions, lines=st.integers(2, 50))
def test_the_last_lines_are_those_of_journalctl(story: Story, way: str, question: Question, lines: int) -> None:
    asked = request(question, lines=str(lines))
    if question.has_span:
        # With a span of time journalctl 252 counts from its beginning.
        expected = [message(entry) for entry in journalctl(story.folder, *question.arguments)][-lines:]
    else:
        expected = [message(entry) for entry in journalctl(story.folder, *question.arguments, f"--lines={lines}")]
        if question.grep is not None:
            expected.reverse()  # it shows the newest first then
    assert asyncio.run(ours(story, way, asked, question.identifiers)) == expected


@ways
@often
@given(
    question=questions.map(lambda question: attrs.evolve(question, since=None, until=None)),
    at=st.integers(0, SIZE - 1),
    skip=st.integers(-20, 20),
    count=st.integers(1, 20),
)
def test_a_cursor_leads_where_it_leads_journalctl(
    story: Story, way: str, question: Question, at: int, skip: int, count: int
) -> None:
    whole = journalctl(story.folder, *question.arguments)
    if not whole:
        return
    at %= len(whole)
    cursor = whole[at]["__CURSOR"]
    behind = [message(entry) for entry in journalctl(story.folder, *question.arguments, f"--cursor={cursor}")]
    assert behind == [message(entry) for entry in whole[at:]]
    start = max(at + skip, 0)
    if way == "gateway" and question.grep is None:
        start = min(start, len(whole) - 1)  # systemd's gateway stays at the last entry
    expected = [message(entry) for entry in whole[start : start + count]]
    asked = request(question, range=f"entries={cursor}:{skip}:{count}")
    assert asyncio.run(ours(story, way, asked, question.identifiers)) == expected


@ways
@often
@given(question=questions, skip=st.integers(-60, 60), count=st.integers(1, 60))
def test_a_range_without_a_cursor_counts_from_an_end_of_what_journalctl_shows(
    story: Story, way: str, question: Question, skip: int, count: int
) -> None:
    whole = [message(entry) for entry in journalctl(story.folder, *question.arguments)]
    start = max(len(whole) - 1 + skip, 0) if skip < 0 else skip
    if way == "gateway" and question.grep is None and not question.has_span:
        start = max(min(start, len(whole) - 1), 0)  # as above
    asked = request(question, range=f"entries=:{skip}:{count}")
    assert asyncio.run(ours(story, way, asked, question.identifiers)) == whole[start : start + count]


@ways
@often
@given(
    question=questions.map(lambda question: attrs.evolve(question, since=None, until=None)),
    at=st.integers(0, SIZE - 1),
    count=st.none() | st.integers(1, 60),
)
def test_a_range_may_be_a_cursor_alone_or_with_a_count(
    story: Story, way: str, question: Question, at: int, count: int | None
) -> None:
    whole = journalctl(story.folder, *question.arguments)
    if not whole:
        return
    at %= len(whole)
    cursor = whole[at]["__CURSOR"]
    asked = request(question, range=f"entries={cursor}" if count is None else f"entries={cursor}:{count}")
    expected = [message(entry) for entry in whole[at:][:count]]
    assert asyncio.run(ours(story, way, asked, question.identifiers)) == expected


def shown(*arguments: str | Path) -> list[str]:
    command = ["journalctl", "--quiet", "--no-pager", *arguments]
    return subprocess.run(command, capture_output=True, check=True, timeout=60).stdout.decode().splitlines()


async def lists(story: Story, way: str) -> tuple[dict[str, str], list[str]]:
    async with source_of(story, way) as source:
        engine = EngineStand(EventBus())
        logs = LogManager(source, engine, engine.bus, story.folder / "kept")
        return await logs.boots(), await logs.identifiers()


@ways
def test_boots_and_identifiers_are_those_of_journalctl(story: Story, way: str) -> None:
    boots, identifiers = asyncio.run(lists(story, way))
    lines = [line.split() for line in shown("-D", story.folder, "--list-boots")]
    assert boots == {words[0]: words[1] for words in lines if words[0] != "IDX"}
    assert identifiers == sorted(shown("-D", story.folder, "--field=SYSLOG_IDENTIFIER"))


def test_the_verbose_form_is_what_journalctl_calls_short(story: Story) -> None:
    text = shown("-D", story.folder, "--utc", "-o", "short-iso-precise", "--all")
    lines = [line for line in text if line.startswith("20")]
    asked = LogRequest.from_query(CIMultiDict({"Range": "entries=:0:"}), {"verbose": ""})
    found = asyncio.run(ours(story, "files", asked, ()))
    assert len(lines) == len(found) == SIZE
    for mine, its in zip(found, lines, strict=True):
        day, clock, rest = mine.split(" ", 2)
        assert its.startswith(f"{day}T{clock}")
        assert its.split(" ", 1)[1] == rest.split("\n")[0]
