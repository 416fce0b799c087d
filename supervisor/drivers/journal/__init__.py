"""Readers of the host's journal: through its gateway, or straight from its files where there is no gateway.

Both are a `JournalSource`. Where both are available `JournalGateway` is preferred, but for searches and for followers:
each of these costs a connection there, its parsing, and one of the machine's few watches on files.
"""

from __future__ import annotations

from supervisor.drivers.journal.direct import DirectJournal
from supervisor.drivers.journal.entry import (
    BOOT_ID,
    CONTAINER_EPOCH,
    CONTAINER_ID,
    CONTAINER_NAME,
    HOW_TO_HAVE_IT,
    IDENTIFIER,
    LAST_ENTRY,
    NO_JOURNAL,
    PRIORITY,
    UNLIMITED,
    WHOLE_LOG,
    Batch,
    Detail,
    Entry,
    EntryRange,
    Filters,
    JournalSource,
)
from supervisor.drivers.journal.gateway import JournalGateway
from supervisor.drivers.journal.narrowing import ANYTHING, MessagePattern, Narrowing
from supervisor.drivers.journal.preferred import PreferredJournal

__all__ = [
    "ANYTHING",
    "BOOT_ID",
    "CONTAINER_EPOCH",
    "CONTAINER_ID",
    "CONTAINER_NAME",
    "HOW_TO_HAVE_IT",
    "IDENTIFIER",
    "LAST_ENTRY",
    "NO_JOURNAL",
    "PRIORITY",
    "UNLIMITED",
    "WHOLE_LOG",
    "Batch",
    "Detail",
    "DirectJournal",
    "Entry",
    "EntryRange",
    "Filters",
    "JournalGateway",
    "JournalSource",
    "MessagePattern",
    "Narrowing",
    "PreferredJournal",
]
