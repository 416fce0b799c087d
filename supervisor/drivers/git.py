"""The git program, kept on a short leash.

Repositories come from strangers. Every call gets an argument list, an environment made from nothing, a configuration
that no file of the machine or of a repository can widen, a time limit and, while it writes, a size limit. Hooks,
submodules, filters, prompts and helpers of other transports never run. Passwords of an URL travel in the environment
alone: they are neither in the argument list nor in the clone nor in an error's text.

A clone is a plain fetch of one commit into an empty repository: first load, update and repair are one code path.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import secrets
import signal
from collections.abc import AsyncIterator, Awaitable, Iterable
from pathlib import Path
from typing import Final, TypeVar

import attrs

from supervisor.const import MIB
from supervisor.errors import Internal, Invalid, SupervisorError, Timeout, Unavailable, Unsupported
from supervisor.state import sync_folder

from .folder import MAX_DEPTH, MAX_FILES, fits, remove_tree
from .git_remote import Remote

T = TypeVar("T")

TRANSPORTS: Final = ("https", "ssh", "file")

_FETCHED: Final = "refs/supervisor/fetched"
_NEW: Final = ".new"
_OLD: Final = ".old"
_LEFTOVER: Final = re.compile(r"\.(?P<name>.+)\.[0-9a-f]{8}(?P<kind>\.new|\.old)")
_KEPT_OUTPUT: Final = 64 * 1024
_WATCH_SECONDS: Final = 0.2

# A remote that says one of these was reached: asking again unchanged won't help.
_REFUSALS: Final = re.compile(
    r"could not read (username|password)|authentication failed|permission denied|access denied|not found"
    r"|does not appear to be a git repository|does not exist|not exported|no such|publickey|transport '.*' not allowed"
    r"|host key verification failed",
    re.IGNORECASE,
)
_NETWORK: Final = re.compile(
    r"could not resolve|unable to access|could not connect|failed to connect|connection|hung up|early eof|timed? ?out"
    r"|rpc failed|unexpected disconnect|too slow|network is unreachable|couldn't connect",
    re.IGNORECASE,
)

_SETTINGS: Final = (
    "core.hooksPath=/dev/null",
    "core.fsmonitor=false",
    "core.untrackedCache=false",
    "core.attributesFile=/dev/null",
    "core.excludesFile=/dev/null",
    "core.logAllRefUpdates=false",
    "core.protectHFS=true",
    "core.protectNTFS=true",
    "core.bigFileThreshold=8m",
    "core.quotePath=true",
    "submodule.recurse=false",
    "fetch.recurseSubmodules=false",
    "fetch.writeCommitGraph=false",
    "transfer.fsckObjects=true",
    "transfer.unpackLimit=1",
    "gc.auto=0",
    "maintenance.auto=false",
    "pack.threads=1",
    "pack.windowMemory=64m",
    "init.defaultBranch=main",
    "http.lowSpeedLimit=1000",
    "http.lowSpeedTime=30",
    "http.sslVerify=true",
    "advice.detachedHead=false",
    "safe.directory=*",
    "protocol.allow=never",
)
_SSH: Final = (
    "ssh -o BatchMode=yes -o ConnectTimeout=15 -o ServerAliveInterval=15 -o ServerAliveCountMax=2"
    " -o StrictHostKeyChecking=accept-new -o ClearAllForwardings=yes -o ForwardAgent=no -o PermitLocalCommand=no"
)
# What of our own environment a transport may need: the way out of the network, authorities, the admin's ssh agent.
_PROXIES: Final = ("http_proxy", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY", "no_proxy", "NO_PROXY")
_INHERITED: Final = ("PATH", *_PROXIES, "SSL_CERT_FILE", "SSL_CERT_DIR", "SSH_AUTH_SOCK")


@attrs.frozen
class GitLimits:
    """How long a call may take, in seconds, and how large a clone with its files may get.

    `probe` is the question whether a remote answers, `transfer` a whole clone or pull, `local` work without a remote.
    """

    probe: float = 30
    transfer: float = 600
    local: float = 120
    max_bytes: int = 512 * MIB


class _Failed(Exception):
    """The program ended with an error; `text` is what it said. Never leaves this module."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text


class Git:
    """Runs git. `home` is a folder of ours, made when missing, that stands in for every home and every configuration.

    One folder must not be worked on by two calls at the same time; different folders may.
    """

    def __init__(
        self,
        home: Path,
        *,
        transports: Iterable[str] = TRANSPORTS,
        limits: GitLimits | None = None,
        program: str = "git",
    ) -> None:
        self._home = home
        self._transports = tuple(transports)
        self._limits = limits or GitLimits()
        self._program = program

    async def remote_head(self, url: str, branch: str | None = None) -> str:
        """Return the commit that the branch (or the remote's default branch) points to.

        Raises:
            Invalid: the URL or branch is refused, or the remote answered that it is not there or wants a login.
            Timeout, Unavailable: the remote did not answer.
        """
        return await self._probe(Remote.parse(url, branch, self._transports))

    async def remote_reachable(self, url: str, branch: str | None = None) -> bool:
        """Tell whether the remote answers and has the branch."""
        try:
            await self.remote_head(url, branch)
        except (Invalid, Unavailable):
            return False
        return True

    async def clone(self, url: str, target: Path, *, branch: str | None = None) -> None:
        """Make `target` a fresh clone; what was there before stays until the new one is complete.

        Raises:
            Invalid: the URL, branch or content (also its size) is refused, or the remote has no such thing.
            Timeout, Unavailable: the remote did not answer, or not fast enough.
        """
        remote = Remote.parse(url, branch, self._transports)
        await self._probe(remote)
        temporary = target.with_name(f".{target.name}.{secrets.token_hex(4)}{_NEW}")
        try:
            async with self._bounded(remote, self._limits.transfer, temporary):
                await asyncio.to_thread(temporary.mkdir, parents=True, mode=0o755)
                await self._run("init", "--quiet", "--template=", "--", str(temporary))
                await self._in(temporary, "remote", "add", "--", "origin", remote.public)
                await self._fetch(temporary, remote)
                await self._in(temporary, "reset", "--quiet", "--hard", _FETCHED)
            await self._check_size(temporary, remote)
            await asyncio.to_thread(_put_in_place, temporary, target)
        except _Failed as err:
            kind = Unavailable if _NETWORK.search(err.text) else Invalid
            raise kind(f"Repository {remote.public} can't be cloned: {remote.explain(err.text)}") from None
        except OSError as err:
            raise Internal(f"Repository {remote.public} can't be stored: {err.strerror}") from err
        finally:
            await _finish(asyncio.to_thread(remove_tree, temporary))

    async def pull(self, folder: Path, url: str, branch: str | None = None) -> bool:
        """Bring the clone to the remote's present commit and undo every local change; tell whether anything changed.

        Raises:
            Invalid: as in `clone`; the folder still has its old commit.
            Timeout, Unavailable: the remote did not answer, or not fast enough.
            Internal: the clone is damaged; a new clone mends it.
        """
        remote = Remote.parse(url, branch, self._transports)
        wanted = await self._probe(remote)
        present = await self._present(folder, remote)
        if present == wanted and not await self._dirty(folder, remote):
            return False
        try:
            async with self._bounded(remote, self._limits.transfer, folder):
                if present != wanted:
                    await self._fetch(folder, remote)
                    await self._check_size(folder, remote)
                    await self._restore(folder, _FETCHED)
                    await self._in(folder, "gc", "--quiet", "--prune=now")
                else:
                    await self._restore(folder, "HEAD")
        except _Failed as err:
            if _NETWORK.search(err.text):
                raise Unavailable(f"Repository {remote.public} can't be updated: {remote.explain(err.text)}") from None
            raise _damaged(folder, remote.explain(err.text)) from None
        return True

    async def check(self, folder: Path) -> None:
        """Verify the clone and mend its files, without the network.

        Raises:
            Internal: the clone is damaged; a new clone mends it.
            Timeout: the disk is too slow to tell.
        """
        remote = Remote("", folder.name, None, "")
        await self._present(folder, remote)
        try:
            async with self._bounded(remote, self._limits.local):
                await self._in(folder, "fsck", "--connectivity-only", "--no-dangling", "--no-progress")
                if await self._dirty(folder, remote):
                    await self._restore(folder, "HEAD")
        except _Failed as err:
            raise _damaged(folder, remote.explain(err.text)) from None

    async def sweep(self, folder: Path) -> None:
        """End what a crash interrupted below `folder`: half clones go, a clone that was being replaced comes back."""
        await asyncio.to_thread(_sweep, folder)

    async def _probe(self, remote: Remote) -> str:
        try:
            async with self._bounded(remote, self._limits.probe):
                arguments = ("ls-remote", "--quiet", "--exit-code", "--", remote.url, remote.reference)
                answer = await self._run(*arguments, environment=remote.environment)
        except _Failed as err:
            if not err.text.strip():
                where = f"branch {remote.branch}" if remote.branch else "commit"
                raise Invalid(f"Repository {remote.public} has no {where}") from None
            reason = remote.explain(err.text)
            if _REFUSALS.search(err.text):
                raise Invalid(f"Repository {remote.public} can't be read: {reason}") from None
            raise Unavailable(f"Repository {remote.public} can't be reached: {reason}") from None
        for line in answer.splitlines():
            commit, _, name = line.partition("\t")
            if name == remote.reference and re.fullmatch(r"[0-9a-f]{40,64}", commit):
                return commit
        raise Invalid(f"Repository {remote.public} has no {remote.reference}")

    async def _fetch(self, folder: Path, remote: Remote) -> None:
        options = ("--quiet", "--depth=1", "--no-tags", "--no-recurse-submodules", "--update-shallow", "--force")
        refspec = f"+{remote.reference}:{_FETCHED}"
        await self._in(folder, "fetch", *options, "--", remote.url, refspec, environment=remote.environment)

    async def _present(self, folder: Path, remote: Remote) -> str:
        """Return the commit of the clone, after removing the locks that a killed git left behind."""
        if not await asyncio.to_thread(_unlock, folder):
            raise _damaged(folder, "it is no clone")
        try:
            async with self._bounded(remote, self._limits.local):
                return (await self._in(folder, "rev-parse", "--verify", "--quiet", "HEAD^{commit}")).strip()
        except _Failed as err:
            raise _damaged(folder, remote.explain(err.text)) from None

    async def _dirty(self, folder: Path, remote: Remote) -> bool:
        try:
            async with self._bounded(remote, self._limits.local):
                return bool(await self._in(folder, "status", "--porcelain", "--ignored", "--ignore-submodules=all"))
        except _Failed:
            return True

    async def _restore(self, folder: Path, commit: str) -> None:
        await self._in(folder, "reset", "--quiet", "--hard", commit)
        await self._in(folder, "clean", "--quiet", "-x", "-d", "-f", "-f")

    async def _check_size(self, folder: Path, remote: Remote) -> None:
        if not await asyncio.to_thread(fits, folder, self._limits.max_bytes):
            raise self._too_large(remote)

    def _too_large(self, remote: Remote) -> SupervisorError:
        size = self._limits.max_bytes // MIB
        limits = f"{size} MiB, {MAX_FILES} files and {MAX_DEPTH} levels of folders"
        return Invalid(f"Repository {remote.public} is too large: at most {limits} are allowed")

    @contextlib.asynccontextmanager
    async def _bounded(self, remote: Remote, seconds: float, folder: Path | None = None) -> AsyncIterator[None]:
        """End the block after `seconds`, or as soon as `folder` outgrows the size limit."""
        outgrown = False

        async def watch(watched: Path) -> None:
            nonlocal outgrown
            while not outgrown:
                await asyncio.sleep(_WATCH_SECONDS)
                outgrown = not await asyncio.to_thread(fits, watched, self._limits.max_bytes)
            limit.reschedule(0)

        try:
            async with asyncio.timeout(seconds) as limit:
                watcher = asyncio.create_task(watch(folder)) if folder is not None else None
                try:
                    yield
                finally:
                    if watcher is not None:
                        watcher.cancel()
                        await asyncio.gather(watcher, return_exceptions=True)
        except TimeoutError:
            if outgrown:
                raise self._too_large(remote) from None
            raise Timeout(f"Repository {remote.public} took longer than {seconds:g} seconds") from None

    async def _in(self, folder: Path, *arguments: str, environment: dict[str, str] | None = None) -> str:
        """Run git in the repository `folder` itself, never in one that happens to be around it."""
        where = (f"--git-dir={folder / '.git'}", f"--work-tree={folder}")
        return await self._run(*where, *arguments, environment=environment)

    async def _run(self, *arguments: str, environment: dict[str, str] | None = None) -> str:
        """Return what git wrote; it and all its children are gone when this ends, however it ends."""
        await asyncio.to_thread(self._prepare_home)
        settings = (*_SETTINGS, *(f"protocol.{name}.allow=always" for name in self._transports))
        options = [option for setting in settings for option in ("-c", setting)]
        try:
            process = await asyncio.create_subprocess_exec(
                self._program,
                *options,
                *arguments,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                env={**self._environment(), **(environment or {})},
                cwd=self._home,
                start_new_session=True,
            )
        except OSError as err:
            raise Unsupported(f"The git program can't be started: {err.strerror}") from err
        try:
            output, errors, code = await asyncio.gather(_read(process.stdout), _read(process.stderr), process.wait())
        except BaseException:
            # A helper may outlive git and keep its pipes: the whole group goes.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await _finish(process.wait())
            raise
        if code:
            raise _Failed(errors)
        return output

    def _environment(self) -> dict[str, str]:
        inherited = {name: os.environ[name] for name in _INHERITED if name in os.environ}
        return {
            **inherited,
            "HOME": str(self._home),
            "XDG_CONFIG_HOME": str(self._home),
            "LC_ALL": "C",
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_CONFIG_GLOBAL": str(self._home / "gitconfig"),
            "GIT_ATTR_NOSYSTEM": "1",
            "GIT_TERMINAL_PROMPT": "0",
            "GIT_ALLOW_PROTOCOL": ":".join(self._transports),
            "GIT_SSH_COMMAND": _SSH,
            "GIT_SSH_VARIANT": "ssh",
            "GIT_OPTIONAL_LOCKS": "0",
            "GIT_NO_REPLACE_OBJECTS": "1",
        }

    def _prepare_home(self) -> None:
        """The far end of a `file` transport is a git of its own that hears of nothing but this file."""
        configuration = self._home / "gitconfig"
        if not configuration.exists():
            self._home.mkdir(parents=True, exist_ok=True, mode=0o700)
            configuration.write_text("[safe]\n\tdirectory = *\n[core]\n\thooksPath = /dev/null\n", encoding="ascii")


def _damaged(folder: Path, reason: str) -> SupervisorError:
    return Internal(f"The clone {folder.name} is damaged: {reason}")


async def _finish(work: Awaitable[T]) -> T:
    """Wait for the end of `work` even when the caller is cancelled meanwhile; the cancellation then goes on."""
    task = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait({task})
        raise


async def _read(stream: asyncio.StreamReader | None) -> str:
    """Read to the end, keep the first part: a remote may send more than memory holds."""
    kept = bytearray()
    while stream is not None and (block := await stream.read(_KEPT_OUTPUT)):
        kept += block[: _KEPT_OUTPUT - len(kept)]
    return kept.decode(errors="replace")


def _unlock(folder: Path) -> bool:
    """Remove stale lock files; False when this is no clone. Only one call works on a folder, so every lock is stale."""
    repository = folder / ".git"
    if repository.is_symlink() or not repository.is_dir():
        return False
    for lock in (*repository.glob("*.lock"), *(repository / "refs").rglob("*.lock")):
        lock.unlink(missing_ok=True)
    return True


def _put_in_place(temporary: Path, target: Path) -> None:
    old = target.with_name(f".{target.name}.{secrets.token_hex(4)}{_OLD}")
    if target.exists():
        target.rename(old)
    temporary.rename(target)
    sync_folder(target.parent)
    remove_tree(old)


def _sweep(folder: Path) -> None:
    if not folder.is_dir():
        return
    for path in sorted(folder.iterdir()):
        if not (match := _LEFTOVER.fullmatch(path.name)) or path.is_symlink() or not path.is_dir():
            continue
        target = folder / match["name"]
        if match["kind"] == _OLD and not target.exists():
            path.rename(target)
        else:
            remove_tree(path)
