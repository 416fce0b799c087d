"""The journal through systemd-journal-gatewayd (API contract §5.3)."""

from __future__ import annotations

import asyncio
import contextlib
import json
import stat
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from pathlib import Path
from typing import Final

import aiohttp

from supervisor.drivers.journal.entry import (
    FIRST_ENTRY,
    IDENTIFIER,
    LAST_ENTRY,
    NO_JOURNAL,
    UNLIMITED,
    WANTED_FIELDS,
    WHOLE_LOG,
    Batch,
    Detail,
    Entry,
    EntryRange,
    Filters,
    JournalSource,
)
from supervisor.drivers.journal.export import ExportParser
from supervisor.drivers.journal.narrowing import ANYTHING, Narrowing
from supervisor.drivers.journal.sieve import Sieve
from supervisor.errors import Invalid, Timeout, Unavailable

GATEWAY_SOCKET: Final = Path("/run/systemd-journal-gatewayd.sock")
BOOT_FINISHED: Final = "b07a249cd024414a82dd00cd181378ff"
_LIST_TIMEOUT: Final = 20
_CONNECT_TIMEOUT: Final = 10
_MAX_LIST_BYTES: Final = 8 * 1024 * 1024
_MAX_REFUSAL: Final = 300


class JournalGateway(JournalSource):
    """Asks the gateway on its Unix socket, or at `url` where one is set.

    `start` looks once whether there is a gateway; `close` ends the connections. Boots are asked for once.
    """

    def __init__(self, url: str | None = None, socket: Path = GATEWAY_SOCKET) -> None:
        self._url = (url or "http://localhost").rstrip("/")
        self._socket = None if url else socket
        self._session: aiohttp.ClientSession | None = None
        self._boots: tuple[str, ...] | None = None
        self._available = False
        self._turn = asyncio.Lock()

    @property
    def available(self) -> bool:
        return self._available

    async def start(self) -> None:
        if self._socket is None:
            self._available = True
            connector: aiohttp.BaseConnector = aiohttp.TCPConnector(limit=0)
        else:
            self._available = await asyncio.to_thread(_is_socket, self._socket)
            connector = aiohttp.UnixConnector(str(self._socket), limit=0)
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_TIMEOUT)
        self._session = aiohttp.ClientSession(connector=connector, timeout=timeout)

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def batches(
        self,
        filters: Filters,
        part: EntryRange,
        narrowing: Narrowing = ANYTHING,
        *,
        follow: bool = False,
        detail: Detail = Detail.ALL,
    ) -> AsyncGenerator[Batch, None]:
        del detail  # the gateway sends every field in any case
        if narrowing.is_any:
            source = self._ask(filters, part, follow)
        else:
            source = self._sifted(filters, part, narrowing, follow)
        async with contextlib.aclosing(source) as batches:
            async for batch in batches:
                yield batch

    async def _ask(
        self,
        filters: Filters,
        part: EntryRange,
        follow: bool,  # noqa: FBT001 - private
    ) -> AsyncGenerator[Batch, None]:
        query = [*filters, ("follow", "")] if follow else list(filters)
        headers = {"Accept": "application/vnd.fdo.journal", "Range": part.header}
        parser = ExportParser(WANTED_FIELDS)
        async with self._get("/entries", query, headers) as answer:
            async for chunk in answer.content.iter_any():
                # Each takes some milliseconds: of all who read, one has its turn in each round of the event loop.
                async with self._turn:
                    entries = [Entry.from_fields(fields) for fields in parser.feed(chunk)]
                    await asyncio.sleep(0)
                if entries:
                    yield Batch(entries)

    async def _sifted(
        self,
        filters: Filters,
        part: EntryRange,
        narrowing: Narrowing,
        follow: bool,  # noqa: FBT001 - private
    ) -> AsyncGenerator[Batch, None]:
        """Narrow what the gateway sends; it can't do that itself."""
        sieve = Sieve(part, narrowing)
        last: Entry | None = None
        async with contextlib.aclosing(self._ask(filters, sieve.needed, follow=False)) as batches:
            async for batch in batches:
                last = batch.entries[-1]
                if entries := await sieve.push(batch.entries):
                    yield Batch(entries)
                if sieve.is_done():
                    return
        if entries := sieve.finish():
            yield Batch(entries)
        if not follow or sieve.is_done():
            return
        rest = WHOLE_LOG if last is None else EntryRange(last.cursor, 1, UNLIMITED)
        async with contextlib.aclosing(self._ask(filters, rest, follow=True)) as batches:
            async for batch in batches:
                # Told to skip more than there is, the gateway begins with the last entry once again.
                fresh = [entry for entry in batch.entries if last is None or entry.cursor != last.cursor]
                if entries := await sieve.push(fresh):
                    yield Batch(entries)
                if sieve.is_done():
                    return

    async def boots(self) -> tuple[str, ...]:
        if self._boots is None:
            async with _list_timeout():
                try:
                    self._boots = await self._boot_list()
                except (Invalid, Unavailable):
                    # Older gateways have no such page; one that is away will say so again.
                    self._boots = await self._boots_from_entries()
        return self._boots

    async def _boot_list(self) -> tuple[str, ...]:
        async with self._get("/boots", (), {"Accept": "application/json-seq"}) as answer:
            text = await _read_list(answer)
        boots: list[tuple[int, str]] = []
        for record in text.split("\x1e"):
            if not record.strip():
                continue
            try:
                boot = json.loads(record)
                boots.append((int(boot["index"]), str(boot["boot_id"])))
            except (ValueError, TypeError, KeyError) as err:
                raise Unavailable("The journal gateway sent a list of boots that can't be read") from err
        return tuple(boot_id for _, boot_id in sorted(boots))

    async def _boots_from_entries(self) -> tuple[str, ...]:
        """Collect the boots that finished, between the first boot on record and the present one.

        The present boot need not have finished yet when the list is asked for, so the newest entry counts too.
        """
        found: dict[str, None] = {}
        for filters, part in (
            ((), FIRST_ENTRY),
            ((("MESSAGE_ID", BOOT_FINISHED),), WHOLE_LOG),
            ((), LAST_ENTRY),
        ):
            async with contextlib.aclosing(self.entries(filters, part)) as entries:
                async for entry in entries:
                    if entry.boot_id:
                        found.setdefault(entry.boot_id)
        return tuple(found)

    async def identifiers(self) -> list[str]:
        async with (
            _list_timeout(),
            self._get(f"/fields/{IDENTIFIER}", (), {"Accept": "text/plain"}) as answer,
        ):
            text = await _read_list(answer)
        return sorted({line for line in text.split("\n") if line})

    @contextlib.asynccontextmanager
    async def _get(
        self, path: str, query: Filters, headers: Mapping[str, str]
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        if self._session is None or not self._available:
            raise Unavailable(NO_JOURNAL)
        try:
            async with self._session.get(f"{self._url}{path}", params=list(query), headers=headers) as answer:
                if answer.status != 200:
                    await _refuse(answer)
                yield answer
        except aiohttp.ClientError as err:
            raise Unavailable(f"The journal gateway can't be reached: {err}") from err
        except TimeoutError as err:
            raise Timeout("The journal gateway did not answer in time") from err


async def _refuse(answer: aiohttp.ClientResponse) -> None:
    reason = (await answer.content.read(_MAX_REFUSAL)).decode(errors="replace").strip()
    message = f"The journal gateway answered {answer.status}: {reason}"
    raise Invalid(message) if 400 <= answer.status < 500 else Unavailable(message)


async def _read_list(answer: aiohttp.ClientResponse) -> str:
    content = bytearray()
    async for chunk in answer.content.iter_any():
        content += chunk
        if len(content) > _MAX_LIST_BYTES:
            raise Unavailable("The journal gateway sent a list without an end")
    return content.decode(errors="replace")


@contextlib.asynccontextmanager
async def _list_timeout() -> AsyncIterator[None]:
    try:
        async with asyncio.timeout(_LIST_TIMEOUT):
            yield
    except TimeoutError as err:
        raise Timeout("The journal gateway did not answer in time") from err


def _is_socket(path: Path) -> bool:
    try:
        return stat.S_ISSOCK(path.stat().st_mode)
    except OSError:
        return False
