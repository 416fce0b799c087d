"""Real git repositories to fetch from, and a real smart-HTTP server on loopback that serves them."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import os
import ssl
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Protocol

import attrs
from aiohttp import web

from web_stand import serving

ENVIRONMENT = {
    "PATH": os.environ["PATH"],
    "HOME": "/nonexistent",
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_AUTHOR_NAME": "a",
    "GIT_AUTHOR_EMAIL": "a@example.org",
    "GIT_COMMITTER_NAME": "a",
    "GIT_COMMITTER_EMAIL": "a@example.org",
}


class Upstream:
    """A repository that its author works on."""

    def __init__(self, folder: Path, branch: str = "main") -> None:
        self.folder = folder
        folder.mkdir(parents=True)
        self.git("init", "--quiet", "--template=", f"--initial-branch={branch}")

    @property
    def url(self) -> str:
        return f"file://{self.folder}"

    def git(self, *arguments: str, text: str | None = None) -> str:
        done = subprocess.run(
            ("git", "-c", "protocol.file.allow=always", *arguments),
            cwd=self.folder,
            env=ENVIRONMENT,
            check=True,
            capture_output=True,
            text=True,
            input=text,
        )
        return done.stdout.strip()

    def commit(self, files: dict[str, str | bytes] | None = None, *, remove: str | None = None) -> str:
        for name, content in (files or {}).items():
            path = self.folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content if isinstance(content, bytes) else content.encode())
        if remove is not None:
            self.git("rm", "-rq", "--", remove)
        self.git("add", "--all")
        self.git("commit", "--quiet", "--allow-empty", "--message=change")
        return self.git("rev-parse", "HEAD")

    def tree(self, entries: str) -> None:
        """Commit a tree of which git itself would not make a commit; `entries` as `git ls-tree` prints them."""
        tree = self.git("mktree", "--missing", text=entries)
        commit = self.git("commit-tree", "-m", "change", tree)
        self.git("update-ref", "refs/heads/main", commit)

    def blob(self, content: str) -> str:
        """Store a file's content; return its name."""
        return self.git("hash-object", "-w", "--stdin", text=content)

    def deep(self, levels: int) -> None:
        """Commit a file below that many folders, which the author's own disk need not hold."""
        commands = (
            "blob\nmark :1\ndata 1\nx\n"
            "commit refs/heads/main\ncommitter a <a@example.org> 1 +0000\ndata 1\nd\n"
            f"M 644 :1 {'a/' * levels}f\n"
        )
        subprocess.run(
            ("git", "fast-import", "--quiet", "--force"),
            cwd=self.folder,
            env=ENVIRONMENT,
            check=True,
            capture_output=True,
            input=commands.encode(),
        )


@attrs.frozen
class Authority:
    """A certificate for 127.0.0.1 that is its own authority."""

    certificate: Path
    key: Path

    @classmethod
    def make(cls, folder: Path) -> Authority:
        folder.mkdir()
        made = cls(folder / "certificate.pem", folder / "key.pem")
        curve = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1")
        names = ("-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1")
        files = ("-keyout", str(made.key), "-out", str(made.certificate))
        subprocess.run(
            ("openssl", "req", "-x509", *curve, "-nodes", "-days", "2", *names, *files), check=True, capture_output=True
        )
        return made

    @property
    def context(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.certificate, self.key)
        return context


@attrs.define
class GitServer:
    """A smart-HTTP server's manners. What was sent to it is in `bodies`; `over` ends whatever it does not finish.

    `login` is `user:password`. A request whose body or path holds `hang_on` is never answered. The answer to a fetch
    stops after `stall_after` bytes, or is sent in steps of `drip` bytes, five a second. `redirect` is where every
    request is sent instead.
    """

    root: Path
    login: str | None = None
    hang_on: bytes | None = None
    stall_after: int | None = None
    drip: int | None = None
    redirect: str | None = None
    bodies: list[bytes] = attrs.field(factory=list)
    over: asyncio.Event = attrs.field(factory=asyncio.Event)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        self.bodies.append(body)
        if self.redirect is not None:
            return web.Response(status=302, headers={"Location": self.redirect})
        if self.login is not None:
            expected = "Basic " + base64.b64encode(self.login.encode()).decode()
            if request.headers.get("Authorization") != expected:
                return web.Response(status=401, headers={"WWW-Authenticate": 'Basic realm="git"'})
        if self.hang_on is not None and (self.hang_on in body or self.hang_on in request.path_qs.encode()):
            await self.over.wait()
            raise web.HTTPGone
        status, headers, content = await self._answer(request, body)
        if b"command=fetch" in body and (self.stall_after is not None or self.drip is not None):
            return await self._slowly(request, headers, content)
        return web.Response(status=status, body=content, headers=headers)

    async def _answer(self, request: web.Request, body: bytes) -> tuple[int, dict[str, str], bytes]:
        process = await asyncio.create_subprocess_exec(
            "git",
            "-c",
            "safe.directory=*",
            "http-backend",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            env={
                **ENVIRONMENT,
                "GIT_PROJECT_ROOT": str(self.root),
                "GIT_HTTP_EXPORT_ALL": "1",
                "REQUEST_METHOD": request.method,
                "PATH_INFO": request.path,
                "QUERY_STRING": request.query_string,
                "CONTENT_TYPE": request.headers.get("Content-Type", ""),
                "HTTP_CONTENT_ENCODING": request.headers.get("Content-Encoding", ""),
                "GIT_PROTOCOL": request.headers.get("Git-Protocol", ""),
            },
        )
        output, _ = await process.communicate(body)
        head, _, content = output.partition(b"\r\n\r\n")
        headers = dict(line.split(": ", 1) for line in head.decode().splitlines())
        return int(headers.pop("Status", "200").split()[0]), headers, content

    async def _slowly(self, request: web.Request, headers: dict[str, str], content: bytes) -> web.StreamResponse:
        response = web.StreamResponse(headers=headers)
        await response.prepare(request)
        with contextlib.suppress(ConnectionError):
            if self.stall_after is not None:
                await response.write(content[: self.stall_after])
            else:
                for begin in range(0, len(content), self.drip or 1):
                    await response.write(content[begin : begin + (self.drip or 1)])
                    with contextlib.suppress(TimeoutError):
                        await asyncio.wait_for(self.over.wait(), 0.2)
            await self.over.wait()
        return response


class Handler(Protocol):
    async def handle(self, request: web.Request) -> web.StreamResponse: ...


@contextlib.asynccontextmanager
async def served(server: Handler, authority: Authority | None = None) -> AsyncIterator[str]:
    """Let it answer on loopback; yields the base URL."""
    context = None if authority is None else authority.context
    async with serving(server.handle, context=context, auto_decompress=False) as url:
        try:
            yield url
        finally:
            if isinstance(server, GitServer):
                server.over.set()


@contextlib.asynccontextmanager
async def http_server(
    root: Path, *, login: str | None = None, hang_on: bytes | None = None
) -> AsyncIterator[tuple[str, list[bytes]]]:
    """Serve the repositories below `root`; yields the base URL and the bodies that were sent to it."""
    server = GitServer(root, login=login, hang_on=hang_on)
    async with served(server) as url:
        yield url, server.bodies


def processes_with_home(home: Path) -> list[str]:
    """Return the commands of running processes that have this folder as their home."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if f"HOME={home}".encode() in (process / "environ").read_bytes().split(b"\0"):
                found.append((process / "cmdline").read_text())
    return found
