"""What every reader of the journal gives and takes: entries, the part of a log that is asked for, the common face."""

from __future__ import annotations

import contextlib
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Hashable, Mapping, Sequence
from enum import Enum, auto
from typing import Final

import attrs
import msgspec

from supervisor.drivers.journal.narrowing import ANYTHING, Narrowing

CURSOR: Final = "__CURSOR"
REALTIME: Final = "__REALTIME_TIMESTAMP"
MESSAGE: Final = "MESSAGE"
IDENTIFIER: Final = "SYSLOG_IDENTIFIER"
HOSTNAME: Final = "_HOSTNAME"
PID: Final = "_PID"
PRIORITY: Final = "PRIORITY"
BOOT_ID: Final = "_BOOT_ID"
CONTAINER_NAME: Final = "CONTAINER_NAME"
CONTAINER_EPOCH: Final = "CONTAINER_LOG_EPOCH"
CONTAINER_ID: Final = "CONTAINER_ID_FULL"

WANTED_FIELDS: Final = frozenset(
    {CURSOR, REALTIME, MESSAGE, IDENTIFIER, HOSTNAME, PID, BOOT_ID, CONTAINER_EPOCH, CONTAINER_ID}
)

HOW_TO_HAVE_IT: Final = (
    "It takes systemd on the host; in a container, give it the host's /var/log/journal and /etc/machine-id"
)
NO_JOURNAL: Final = f"No systemd-journal-gatewayd Unix socket available. {HOW_TO_HAVE_IT}"

UNLIMITED: Final = 2**64 - 1
FURTHEST_SKIP: Final = 2**63 - 2  # one more is added on the way to the journal library, which takes signed 64 bits
MAX_VALUE_BYTES: Final = 1024 * 1024
_LAST_MICROSECOND: Final = 253_402_300_799_999_999  # end of the year 9999, the last one that dates can hold

Filters = Sequence[tuple[str, str]]
"""Field and value; the same field twice means either value, different fields must all fit."""


class Entry(msgspec.Struct, frozen=True, gc=False):
    """One log entry, from the journal or shaped like one. `time` is in microseconds since the epoch.

    No class of attrs, for a log has millions: this is made in a tenth of the time, and the garbage collector leaves it
    alone (there are nothing but texts in it).
    """

    cursor: str
    time: int
    message: str
    identifier: str | None = None
    hostname: str = ""
    pid: str | None = None
    boot_id: str | None = None
    container_epoch: str | None = None
    container_id: str | None = None

    @classmethod
    def from_fields(cls, fields: Mapping[str, str]) -> Entry:
        """Read journal fields; what is missing or makes no sense becomes the empty value, an entry is never refused."""
        text = fields.get(REALTIME, "")
        time = int(text) if text.isascii() and text.isdigit() and len(text) <= 20 else 0
        return cls.of(fields.get(CURSOR, ""), time, fields)

    @classmethod
    def of(cls, cursor: str, time: int, fields: Mapping[str, str]) -> Entry:
        """Make an entry of its address and its fields."""
        get = fields.get
        return cls(
            cursor,
            min(time, _LAST_MICROSECOND),
            get(MESSAGE, ""),
            get(IDENTIFIER),
            get(HOSTNAME, ""),
            get(PID),
            get(BOOT_ID),
            get(CONTAINER_EPOCH),
            get(CONTAINER_ID),
        )


@attrs.frozen
class EntryRange:
    """Where to begin and how many entries to give (API contract §5.1).

    The first entry is the one at `cursor`, or the first of the log, or (no cursor, negative `skip`) the last of the
    log, moved by `skip`. Moving back stops at the first entry of the log. A part that is None was not said: it means
    no move and no limit.
    """

    cursor: str = ""
    skip: int | None = None
    count: int | None = None

    @property
    def header(self) -> str:
        """The value of the Range header that says this."""
        if self.count is None:
            return f"entries={self.cursor}" if self.skip is None else f"entries={self.cursor}:{self.skip}:{UNLIMITED}"
        middle = "" if self.skip is None else f"{self.skip}:"
        return f"entries={self.cursor}:{middle}{self.count}"


WHOLE_LOG: Final = EntryRange("", 0, UNLIMITED)
LAST_ENTRY: Final = EntryRange("", -1, 2)
FIRST_ENTRY: Final = EntryRange("", 0, 1)


class Detail(Enum):
    """How much of an entry is wanted; what is not may be missing. The first and last of a batch have their cursor."""

    MESSAGE = auto()
    LINE = auto()
    """What a line of a log shows: time, host, identifier, process and message."""
    ALL = auto()


@attrs.define(eq=False)
class Batch:
    """Some entries that follow each other. `lost` entries before them were left out: their reader was too slow.

    Many readers may share a batch; `memo` holds what they need not make twice.
    """

    entries: Sequence[Entry]
    lost: int = 0
    memo: dict[Hashable, bytes] = attrs.field(factory=dict, repr=False)


class JournalSource(ABC):
    """A way to read the host's journal."""

    @property
    @abstractmethod
    def available(self) -> bool:
        """Whether the way is open on this machine; decided once, at the start."""

    @property
    def narrows(self) -> bool:
        """Whether it finds by itself what a narrowing asks for, and need not look at everything."""
        return False

    @property
    def shares(self) -> bool:
        """Whether those who follow the same log share what that takes."""
        return False

    @abstractmethod
    def batches(
        self,
        filters: Filters,
        part: EntryRange,
        narrowing: Narrowing = ANYTHING,
        *,
        follow: bool = False,
        detail: Detail = Detail.ALL,
    ) -> AsyncGenerator[Batch, None]:
        """Give the entries of `part` that fit the filters, oldest first; with `follow` wait for new ones forever.

        The range counts among what fits filters and narrowing. The caller closes the generator.

        Raises:
            Invalid: the journal knows no such cursor, refuses a filter, or the search takes too long.
            Unavailable: the journal can't be reached, or its answer makes no sense.
        """

    async def entries(
        self, filters: Filters, part: EntryRange, narrowing: Narrowing = ANYTHING, *, follow: bool = False
    ) -> AsyncGenerator[Entry, None]:
        """Give the same one by one."""
        async with contextlib.aclosing(self.batches(filters, part, narrowing, follow=follow)) as batches:
            async for batch in batches:
                for entry in batch.entries:
                    yield entry

    @abstractmethod
    async def boots(self) -> tuple[str, ...]:
        """Return the ids of the recorded boots, oldest first.

        Raises:
            Unavailable: the journal can't be reached.
        """

    @abstractmethod
    async def identifiers(self) -> list[str]:
        """Return every syslog identifier on record, sorted.

        Raises:
            Unavailable: the journal can't be reached.
        """
