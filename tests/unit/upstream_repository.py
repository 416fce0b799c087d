"""Real git repositories to fetch from, and a real smart-HTTP server on loopback that serves them."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import os
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

from aiohttp import web

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

    def git(self, *arguments: str) -> str:
        done = subprocess.run(
            ("git", "-c", "protocol.file.allow=always", *arguments),
            cwd=self.folder,
            env=ENVIRONMENT,
            check=True,
            capture_output=True,
            text=True,
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


@contextlib.asynccontextmanager
async def http_server(
    root: Path, *, login: str | None = None, hang_on: bytes | None = None
) -> AsyncIterator[tuple[str, list[bytes]]]:
    """Serve the repositories below `root`; yields the base URL and the bodies that were sent to it.

    `login` is `user:password`; a request whose body or path holds `hang_on` is never answered.
    """
    bodies: list[bytes] = []
    over = asyncio.Event()

    async def handle(request: web.Request) -> web.Response:
        body = await request.read()
        bodies.append(body)
        if login is not None:
            expected = "Basic " + base64.b64encode(login.encode()).decode()
            if request.headers.get("Authorization") != expected:
                return web.Response(status=401, headers={"WWW-Authenticate": 'Basic realm="git"'})
        if hang_on is not None and (hang_on in body or hang_on in request.path_qs.encode()):
            await over.wait()
            raise web.HTTPGone
        process = await asyncio.create_subprocess_exec(
            "git",
            "-c",
            "safe.directory=*",
            "http-backend",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            env={
                **ENVIRONMENT,
                "GIT_PROJECT_ROOT": str(root),
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
        status = int(headers.pop("Status", "200").split()[0])
        return web.Response(status=status, body=content, headers=headers)

    application = web.Application(client_max_size=2**26)
    application.router.add_route("*", "/{path:.*}", handle)
    runner = web.AppRunner(application, shutdown_timeout=0.1, auto_decompress=False)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    try:
        yield f"http://127.0.0.1:{port}", bodies
    finally:
        over.set()
        await runner.cleanup()


def processes_with_home(home: Path) -> list[str]:
    """Return the commands of running processes that have this folder as their home."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if f"HOME={home}".encode() in (process / "environ").read_bytes().split(b"\0"):
                found.append((process / "cmdline").read_text())
    return found
