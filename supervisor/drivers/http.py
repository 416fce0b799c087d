"""The HTTP client: one session, names resolved by aiodns, errors as ours."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Any, Final

import aiohttp
import attrs
from aiohttp.resolver import AsyncResolver
from multidict import CIMultiDictProxy
from yarl import URL

from supervisor.errors import Timeout, Unavailable

MAX_ANSWER_BYTES: Final = 4 * 1024 * 1024
MAX_REDIRECTIONS: Final = 5
REDIRECTIONS: Final = frozenset({301, 302, 303, 307, 308})
CHUNK_BYTES: Final = 1024 * 1024
# A large answer may take long, but not without anything of it coming.
CONNECT_SECONDS: Final = 180.0
SILENCE_SECONDS: Final = 60.0


@attrs.frozen
class Answer:
    """What a service said, whatever its status."""

    url: str
    status: int
    headers: CIMultiDictProxy[str]
    body: bytes

    def json(self) -> Any:
        """Return the decoded body.

        Raises:
            Unavailable: it is no JSON.
        """
        try:
            return json.loads(self.body)
        except (ValueError, RecursionError) as err:
            raise Unavailable(f"{self.url} did not answer with JSON") from err


@attrs.frozen
class Stream:
    """A large answer while it comes; `size` is in bytes, None where the service does not tell."""

    size: int | None
    chunks: AsyncIterator[bytes]


class HttpClient:
    """Calls to services elsewhere. Answers are limited in size and time, but for those that are read as a stream."""

    def __init__(self, *, user_agent: str) -> None:
        self._headers = {"User-Agent": user_agent}
        self._session: aiohttp.ClientSession | None = None
        self._resolver: AsyncResolver | None = None

    async def start(self) -> None:
        self._resolver = AsyncResolver()
        connector = aiohttp.TCPConnector(resolver=self._resolver)
        self._session = aiohttp.ClientSession(connector=connector, headers=self._headers)

    async def stop(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None
        if self._resolver is not None:
            # The session closes none but a resolver that it has made itself; this one watches a file for changes.
            await self._resolver.close()
            self._resolver = None

    async def get_text(self, url: str, *, timeout: float = 10.0) -> str:  # noqa: ASYNC109 - seconds for one call
        """Return the body of a 200 answer.

        Raises:
            Timeout: no answer in time.
            Unavailable: no connection, another status, or too long an answer.
        """
        async with _translated(url, timeout), self._open().get(url) as answer:
            if answer.status != 200:
                raise Unavailable(f"{url} answered with status {answer.status}")
            body = await _limited(answer)
        if len(body) > MAX_ANSWER_BYTES:
            raise Unavailable(f"{url} sent more than {MAX_ANSWER_BYTES} bytes")
        return body.decode(errors="replace")

    async def get_json(self, url: str, *, timeout: float = 10.0) -> Any:  # noqa: ASYNC109 - seconds for one call
        """Return the decoded body of a 200 answer, whatever its content type.

        Raises:
            Timeout: no answer in time.
            Unavailable: no connection, another status, or no JSON.
        """
        text = await self.get_text(url, timeout=timeout)
        try:
            return json.loads(text)
        except ValueError as err:
            raise Unavailable(f"{url} did not answer with JSON") from err

    async def ask(
        self,
        url: str,
        *,
        headers: Mapping[str, str],
        timeout: float = 10.0,  # noqa: ASYNC109 - seconds for one call
        verify: bool = True,
    ) -> Answer:
        """GET without following redirections, which could lead a login astray; `verify` is about the certificate.

        Raises:
            Timeout: no answer in time.
            Unavailable: no connection, or too long an answer.
        """
        async with (
            _translated(url, timeout),
            self._open().get(url, headers=headers, allow_redirects=False, ssl=verify) as answer,
        ):
            body = await _limited(answer)
        if len(body) > MAX_ANSWER_BYTES:
            raise Unavailable(f"{url} sent more than {MAX_ANSWER_BYTES} bytes")
        return Answer(url, answer.status, answer.headers, body)

    @asynccontextmanager
    async def stream(self, url: str, *, timeout: float) -> AsyncIterator[Stream]:  # noqa: ASYNC109 - seconds for all
        """Read a 200 answer of any size inside the block.

        Raises, also inside the block, where it is read:
            Timeout: not all of it came in time, or nothing for long.
            Unavailable: no connection, another status, or the connection broke off.
        """
        limits = aiohttp.ClientTimeout(sock_connect=CONNECT_SECONDS, sock_read=SILENCE_SECONDS)
        headers = {"Accept-Encoding": "identity"}
        async with _translated(url, timeout), self._open().get(url, timeout=limits, headers=headers) as answer:
            if answer.status != 200:
                raise Unavailable(f"{url} answered with status {answer.status}")
            try:
                yield Stream(answer.content_length, answer.content.iter_chunked(CHUNK_BYTES))
            except aiohttp.ClientPayloadError as err:
                raise Unavailable(f"{url} broke off before its end") from err

    async def reachable(self, url: str, *, timeout: float = 10.0) -> bool:  # noqa: ASYNC109 - seconds for one call
        """Tell whether anything answers there, whatever it says."""
        try:
            async with _translated(url, timeout), self._open().head(url, allow_redirects=False):
                return True
        except Unavailable:
            return False

    async def healthy(self, url: str, *, timeout: float = 10.0) -> bool:  # noqa: ASYNC109 - seconds for one call
        """Tell whether a GET is answered with a status below 300; nobody checks the certificate.

        Redirections are followed as long as they stay on the host. One that leads away is a good answer, too: what it
        leads to is another program's health.
        """
        try:
            target = URL(url)
            async with _translated(url, timeout):
                for _ in range(MAX_REDIRECTIONS):
                    async with self._open().get(target, ssl=False, allow_redirects=False) as answer:
                        location = answer.headers.get("Location")
                        if answer.status not in REDIRECTIONS or location is None:
                            return answer.status < 300
                    target = target.join(URL(location))
                    if target.host != URL(url).host:
                        return True
                return False
        except (Unavailable, ValueError):
            return False

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            raise Unavailable("The HTTP client is not running")
        return self._session


async def _limited(answer: aiohttp.ClientResponse) -> bytes:
    """Return the body, or its beginning of just more than `MAX_ANSWER_BYTES`."""
    body = await answer.content.read(MAX_ANSWER_BYTES + 1)
    while len(body) <= MAX_ANSWER_BYTES and (more := await answer.content.read(MAX_ANSWER_BYTES)):
        body += more
    return body


class _translated:  # noqa: N801 - reads as a statement
    """Turns what aiohttp raises into our errors and bounds the time."""

    def __init__(self, url: str, timeout: float) -> None:
        self._url = url
        self._timeout = asyncio.timeout(timeout)

    async def __aenter__(self) -> None:
        await self._timeout.__aenter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            await self._timeout.__aexit__(kind, error, trace)
        except TimeoutError as err:
            raise Timeout(f"{self._url} did not answer in time") from err
        if isinstance(error, TimeoutError):
            raise Timeout(f"{self._url} did not answer in time") from error
        if isinstance(error, aiohttp.ClientError | OSError | ValueError):
            raise Unavailable(f"{self._url} can't be reached: {error}") from error
