from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor.drivers.journal import Entry, EntryRange
from supervisor.drivers.journal.export import MAX_NAME_BYTES, ExportParser
from supervisor.errors import Unavailable

NAMES = ("MESSAGE", "_PID", "SYSLOG_IDENTIFIER", "_UNWANTED")
WANTED = NAMES[:3]

values = st.binary(max_size=40)
entry_lists = st.lists(st.dictionaries(st.sampled_from(NAMES), values, min_size=1), max_size=6)


def exported(entries: list[dict[str, bytes]], *, always_binary: bool = False) -> bytes:
    content = b""
    for entry in entries:
        for name, value in entry.items():
            if always_binary or b"\n" in value:
                content += name.encode() + b"\n" + len(value).to_bytes(8, "little") + value + b"\n"
            else:
                content += name.encode() + b"=" + value + b"\n"
        content += b"\n"
    return content


def chunks(content: bytes, cuts: list[int]) -> list[bytes]:
    ends = sorted({cut % (len(content) + 1) for cut in cuts} | {len(content)})
    return [content[start:end] for start, end in zip([0, *ends], ends, strict=False)]


@given(entry_lists, st.lists(st.integers(min_value=0)), st.booleans())
def test_any_chunking_gives_the_entries_that_were_written(
    entries: list[dict[str, bytes]], cuts: list[int], always_binary: bool
) -> None:
    parser = ExportParser(WANTED)
    found = [
        entry for chunk in chunks(exported(entries, always_binary=always_binary), cuts) for entry in parser.feed(chunk)
    ]
    assert found == [
        {name: value.decode(errors="replace") for name, value in entry.items() if name in WANTED} for entry in entries
    ]


@given(st.binary(max_size=300), st.lists(st.integers(min_value=0)))
def test_any_bytes_are_read_or_refused_the_same_in_every_chunking(content: bytes, cuts: list[int]) -> None:
    def outcome(pieces: list[bytes]) -> tuple[list[dict[str, str]], bool]:
        parser = ExportParser(WANTED)
        found: list[dict[str, str]] = []
        try:
            for piece in pieces:
                found += parser.feed(piece)
        except Unavailable:
            return [], True
        return found, False

    assert outcome([content]) == outcome(chunks(content, cuts))


def test_an_entry_that_the_end_cuts_off_is_not_given() -> None:
    assert ExportParser(WANTED).feed(b"MESSAGE=one\n\nMESSAGE=two\n") == [{"MESSAGE": "one"}]


def test_the_first_value_of_a_repeated_field_counts() -> None:
    assert ExportParser(WANTED).feed(b"_PID=1\n_PID=2\n_PID\n\x01" + b"\0" * 7 + b"3\n\n") == [{"_PID": "1"}]


def test_bytes_that_are_no_text_are_replaced() -> None:
    assert ExportParser(WANTED).feed(b"MESSAGE=a\xffb\n\n") == [{"MESSAGE": "a\ufffdb"}]


def test_a_huge_unwanted_field_is_skipped_without_being_held() -> None:
    parser = ExportParser(WANTED)
    parser.feed(b"COREDUMP\n" + (2**40).to_bytes(8, "little"))
    for _ in range(64):
        parser.feed(b"x" * 65536)
    assert len(parser._buffer) == 0
    assert len(parser._value) == 0


@pytest.mark.parametrize("head", [b"MESSAGE=", b"MESSAGE\n" + (10**6).to_bytes(8, "little")])
def test_a_huge_wanted_value_is_cut(head: bytes) -> None:
    parser = ExportParser(WANTED, max_value=1000)
    parser.feed(head)
    for _ in range(10):
        parser.feed(b"x" * 100_000)
        assert len(parser._value) + len(parser._buffer) <= 1000
    assert parser.feed(b"\n\n") == [{"MESSAGE": "x" * 1000}]


@pytest.mark.parametrize(
    "content", [b"=value\n", b"x" * (MAX_NAME_BYTES + 1), b"MESSAGE\n\x01" + b"\0" * 7 + b"too long\n"]
)
def test_what_is_not_the_export_format_is_refused(content: bytes) -> None:
    with pytest.raises(Unavailable):
        ExportParser(WANTED).feed(content)


@pytest.mark.parametrize("time", ["", "-1", "x", "9" * 30, "\u0661"])
def test_an_entry_with_a_nonsense_time_is_still_an_entry(time: str) -> None:
    entry = Entry.from_fields({"__REALTIME_TIMESTAMP": time, "MESSAGE": "text"})
    assert (entry.time, entry.message) == (0, "text")


@pytest.mark.parametrize(
    ("part", "header"),
    [
        (EntryRange("c"), "entries=c"),
        (EntryRange("c", None, 5), "entries=c:5"),
        (EntryRange("c", -3, 5), "entries=c:-3:5"),
        (EntryRange("", -99, None), "entries=:-99:18446744073709551615"),
    ],
)
def test_a_range_is_said_as_the_gateway_reads_it(part: EntryRange, header: str) -> None:
    assert part.header == header
