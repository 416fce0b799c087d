"""One run of the restic program: kept in view, ended when it is stuck or nobody waits for it any more."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

import attrs

from supervisor.const import MIB
from supervisor.errors import SupervisorError, Timeout, Unsupported
from supervisor.tasks import finish

_KEPT_ERRORS: Final = 64 * 1024
_MAX_LINE: Final = 16 * MIB
_INHERITED: Final = ("PATH", "TZ", "SSL_CERT_FILE", "SSL_CERT_DIR", "HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY", "TMPDIR")
# A daemon that is killed takes the program along: it must not go on with a backup that nobody knows of any more.
_TIED: Final = ("setpriv", "--pdeathsig", "INT")
_GOODBYE_SECONDS: Final = 15
_LOOK_SECONDS: Final = 0.5


@attrs.frozen
class Patience:
    """In seconds: `whole` bounds the run (None: any time), `stuck` how long nothing may be read or written."""

    whole: float | None = None
    stuck: float = 1800


@attrs.define(eq=False)
class Run:
    """A started program. `errors` is what it said on stderr: its beginning and, where that is long, its end."""

    process: asyncio.subprocess.Process
    lines: asyncio.StreamReader
    written: int = 0
    _errors: bytearray = attrs.field(factory=bytearray)

    @property
    def errors(self) -> str:
        return self._errors.decode(errors="replace")

    @property
    def code(self) -> int:
        return self.process.returncode if self.process.returncode is not None else -1

    async def blocks(self, size: int = 256 * 1024) -> AsyncIterator[bytes]:
        """Give the output as it comes instead of line by line."""
        while block := await self.lines.read(size):
            yield block

    async def keep_errors(self) -> None:
        stream = self.process.stderr
        while stream is not None and (block := await stream.read(_KEPT_ERRORS)):
            self._errors += block
            if len(self._errors) > 2 * _KEPT_ERRORS:
                self._errors[_KEPT_ERRORS:-_KEPT_ERRORS] = b"\n"


@contextlib.asynccontextmanager
async def running(
    name: str,
    command: Sequence[str],
    environment: Mapping[str, str],
    patience: Patience,
    *,
    on_written: Callable[[int], None] | None = None,
) -> AsyncIterator[Run]:
    """Run the program around the block; after the block it has ended and `run.code` tells how.

    Whoever leaves the block by an error, or before all of the output was read, ends the program first: politely, so
    that it removes its lock, then by force.
    `on_written` hears about twice a second how many bytes the program has written in all; what it raises ends the
    program, and is raised here.

    Raises:
        Timeout: it took too long, or neither read nor wrote anything for too long.
        Unsupported: it is not installed.
    """
    if await asyncio.to_thread(shutil.which, command[0]) is None:
        raise Unsupported(f"The program {command[0]} is missing; install the package restic")
    inherited = {key: os.environ[key] for key in _INHERITED if key in os.environ}
    try:
        process = await asyncio.create_subprocess_exec(
            *_TIED,
            *command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env={**inherited, "LC_ALL": "C", **environment},
            cwd="/",
            start_new_session=True,
            limit=_MAX_LINE,
        )
    except OSError as err:
        raise Unsupported(f"The program {command[0]} can't be started: {err.strerror}") from err
    run = Run(process, process.stdout or asyncio.StreamReader())
    errors = asyncio.create_task(run.keep_errors())
    stuck = False
    refused: SupervisorError | None = None
    try:
        async with asyncio.timeout(patience.whole) as limit:

            async def watch() -> None:
                nonlocal stuck, refused
                try:
                    await _until_stuck(run, patience.stuck, on_written)
                    stuck = True
                except SupervisorError as err:
                    refused = err
                limit.reschedule(0)

            watcher = asyncio.create_task(watch())
            try:
                yield run
                if run.lines.at_eof():
                    await process.wait()
            finally:
                watcher.cancel()
                await asyncio.gather(watcher, return_exceptions=True)
        if run.lines.at_eof():
            await errors
    except TimeoutError:
        if refused is not None:
            raise refused from None
        if stuck:
            raise Timeout(f"Nothing has moved in the backup repository {name} for {patience.stuck:g} seconds") from None
        raise Timeout(f"The backup repository {name} did not answer in {patience.whole or 0:g} seconds") from None
    finally:
        await finish(_end(process, errors))


async def _until_stuck(run: Run, patience: float, on_written: Callable[[int], None] | None) -> None:
    loop = asyncio.get_running_loop()
    moved, since = -1, loop.time()
    while True:
        await asyncio.sleep(_LOOK_SECONDS)
        counted = await asyncio.to_thread(_counters, run.process.pid)
        if counted is not None:
            run.written = counted[1]
            if on_written is not None:
                on_written(counted[1])
        if counted is None or sum(counted) != moved:
            moved, since = sum(counted) if counted else -1, loop.time()
        elif loop.time() - since > patience:
            return


def _counters(pid: int) -> tuple[int, int] | None:
    """Return how many bytes the process read and wrote by system calls; None where nobody tells."""
    try:
        text = Path(f"/proc/{pid}/io").read_bytes()
    except OSError:
        return None
    values = dict(line.split(b": ", 1) for line in text.splitlines() if b": " in line)
    try:
        return int(values[b"rchar"]), int(values[b"wchar"])
    except (KeyError, ValueError):
        return None


async def _end(process: asyncio.subprocess.Process, errors: asyncio.Task[None]) -> None:
    for number in (signal.SIGINT, signal.SIGKILL):
        if process.returncode is not None:
            break
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_GOODBYE_SECONDS):
                # Its pipes must be read, or it can't say its last words and never ends.
                await asyncio.gather(_drain(process.stdout), process.wait())
    # An ssh of its own may outlive it.
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    await process.wait()
    errors.cancel()
    await asyncio.gather(errors, return_exceptions=True)


async def _drain(stream: asyncio.StreamReader | None) -> None:
    while stream is not None and await stream.read(65536):
        pass
