"""The git program, kept on a short leash.

Repositories come from strangers. Every call gets an argument list, an environment made from nothing, a configuration
that no file of the machine or of a repository can widen, a time limit and, while it writes, a size limit. It runs as
far from root as the machine allows (`git_confinement`). Hooks, submodules, filters, prompts and helpers of other
transports never run. Passwords of an URL travel in the environment alone: they are neither in the argument list nor in
the clone nor in an error's text.

A clone is a plain fetch of one commit into an empty repository: first load, update and repair are one code path.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import secrets
import signal
from collections.abc import AsyncIterator, Iterable
from pathlib import Path
from typing import Final

import attrs

from supervisor.const import MIB
from supervisor.errors import Internal, Invalid, SupervisorError, Timeout, Unavailable
from supervisor.state import sync_folder
from supervisor.tasks import finish

from .folder import MAX_DEPTH, MAX_FILES, fits, remove_tree
from .git_program import Failed, GitProgram
from .git_remote import Remote

TRANSPORTS: Final = ("https", "ssh", "file")

_FETCHED: Final = "refs/supervisor/fetched"
_NEW: Final = ".new"
_OLD: Final = ".old"
_LEFTOVER: Final = re.compile(r"\.(?P<name>.+)\.[0-9a-f]{8}(?P<kind>\.new|\.old)")
_WATCH_SECONDS: Final = 0.2

_CONFIG: Final = "[core]\n\trepositoryformatversion = 0\n\tfilemode = true\n\tbare = false\n"
_ORIGIN: Final = re.compile(r'\[remote "origin"\]\n\turl = "(?:[^"\\\n]|\\")*"\n')

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

# A file or the memory was about to outgrow its limit; what writes packs then dies without a word.
_OUTGROWN: Final = re.compile(
    rf"signal {int(signal.SIGXFSZ)}\b|file too large|out of memory"
    r"|\A\s*fatal: fetch-pack: invalid index-pack output\s*\Z",
    re.IGNORECASE,
)


@attrs.frozen
class GitLimits:
    """How long a call may take, in seconds, and how large a clone with its files may get.

    `probe` is the question whether a remote answers, `transfer` a whole clone or pull, `local` work without a remote.
    A server that sends less than `slowest` bytes a second for `patience` seconds is given up earlier.
    """

    probe: float = 30
    transfer: float = 600
    local: float = 120
    max_bytes: int = 512 * MIB
    slowest: int = 1000
    patience: int = 30


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
        self._transports = tuple(transports)
        self._limits = limits or GitLimits()
        self._program = GitProgram(
            program,
            home,
            self._transports,
            (f"http.lowSpeedLimit={self._limits.slowest}", f"http.lowSpeedTime={self._limits.patience}"),
            max_file_bytes=self._limits.max_bytes,
        )

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
            await asyncio.to_thread(temporary.mkdir, parents=True, mode=0o755)
            async with self._bounded(remote, self._limits.transfer, temporary), self._writing(temporary):
                await self._program.run(
                    "init", "--quiet", "--template=", "--", str(temporary), folder=temporary, network=False
                )
                await asyncio.to_thread(_configure, temporary / ".git", remote)
                await self._fetch(temporary, remote)
                await self._in(temporary, "reset", "--quiet", "--hard", _FETCHED)
            await self._check_size(temporary, remote)
            await asyncio.to_thread(_put_in_place, temporary, target)
        except Failed as err:
            if _OUTGROWN.search(err.text):
                raise self._too_large(remote) from None
            kind = Unavailable if _NETWORK.search(err.text) else Invalid
            raise kind(f"Repository {remote.public} can't be cloned: {remote.explain(err.text)}") from None
        except OSError as err:
            raise Internal(f"Repository {remote.public} can't be stored: {err.strerror}") from err
        finally:
            await finish(asyncio.to_thread(remove_tree, temporary))

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
            async with self._bounded(remote, self._limits.transfer, folder), self._writing(folder):
                if present != wanted:
                    await self._fetch(folder, remote)
                    await self._check_size(folder, remote)
                    await self._restore(folder, _FETCHED)
                    await self._in(folder, "gc", "--quiet", "--prune=now")
                else:
                    await self._restore(folder, "HEAD")
        except Failed as err:
            if _OUTGROWN.search(err.text):
                raise self._too_large(remote) from None
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
                    async with self._writing(folder):
                        await self._restore(folder, "HEAD")
        except Failed as err:
            raise _damaged(folder, remote.explain(err.text)) from None

    async def sweep(self, folder: Path) -> None:
        """End what a crash interrupted below `folder`: half clones go, a clone that was being replaced comes back."""
        await asyncio.to_thread(_sweep, folder)

    async def _probe(self, remote: Remote) -> str:
        try:
            async with self._bounded(remote, self._limits.probe):
                arguments = ("ls-remote", "--quiet", "--exit-code", "--", remote.url, remote.reference)
                answer = await self._program.run(
                    *arguments, environment=remote.environment, network=remote.needs_network
                )
        except Failed as err:
            if not err.text.strip():
                where = f"branch {remote.branch}" if remote.branch else "commit"
                raise Invalid(f"Repository {remote.public} has no {where}") from None
            reason = remote.explain(err.text)
            if _REFUSALS.search(err.text):
                raise Invalid(f"Repository {remote.public} can't be read: {reason}{await self._hint(remote)}") from None
            raise Unavailable(f"Repository {remote.public} can't be reached: {reason}") from None
        for line in answer.splitlines():
            commit, _, name = line.partition("\t")
            if name == remote.reference and re.fullmatch(r"[0-9a-f]{40,64}", commit):
                return commit
        raise Invalid(f"Repository {remote.public} has no {remote.reference}")

    async def _hint(self, remote: Remote) -> str:
        reader = None if remote.needs_network else await self._program.account()
        return "" if reader is None else f". It must be readable for the user {reader}"

    async def _fetch(self, folder: Path, remote: Remote) -> None:
        options = ("--quiet", "--depth=1", "--no-tags", "--no-recurse-submodules", "--update-shallow", "--force")
        refspec = f"+{remote.reference}:{_FETCHED}"
        await self._in(folder, "fetch", *options, "--", remote.url, refspec, remote=remote)

    async def _present(self, folder: Path, remote: Remote) -> str:
        """Return the commit of the clone, once it is as git should find it."""
        try:
            if not await asyncio.to_thread(_tidy, folder, remote):
                raise _damaged(folder, "it is no clone")
        except OSError as err:
            raise Internal(f"The clone {folder.name} can't be worked on: {err.strerror}") from err
        try:
            async with self._bounded(remote, self._limits.local):
                return (await self._in(folder, "rev-parse", "--verify", "--quiet", "HEAD^{commit}")).strip()
        except Failed as err:
            raise _damaged(folder, remote.explain(err.text)) from None

    async def _dirty(self, folder: Path, remote: Remote) -> bool:
        try:
            async with self._bounded(remote, self._limits.local):
                return bool(await self._in(folder, "status", "--porcelain", "--ignored", "--ignore-submodules=all"))
        except Failed:
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

    async def _in(self, folder: Path, *arguments: str, remote: Remote | None = None) -> str:
        """Run git in the repository `folder` itself, never in one that happens to be around it."""
        where = (f"--git-dir={folder / '.git'}", f"--work-tree={folder}")
        environment, network = (remote.environment, remote.needs_network) if remote is not None else (None, False)
        return await self._program.run(*where, *arguments, folder=folder, environment=environment, network=network)

    @contextlib.asynccontextmanager
    async def _writing(self, folder: Path) -> AsyncIterator[None]:
        """Let git write into a clone for the length of a block.

        Raises:
            Internal: the disk is in the way.
        """
        try:
            try:
                await self._program.give(folder)
                yield
            finally:
                await self._program.take_back(folder)
        except OSError as err:
            raise Internal(f"The clone {folder.name} can't be worked on: {err.strerror}") from err


def _damaged(folder: Path, reason: str) -> SupervisorError:
    return Internal(f"The clone {folder.name} is damaged: {reason}")


def _tidy(folder: Path, remote: Remote) -> bool:
    """Remove stale lock files and foreign settings; False when this is no clone.

    Only one call works on a folder, so every lock is one that a killed git left behind.
    """
    repository = folder / ".git"
    if repository.is_symlink() or not repository.is_dir():
        return False
    for lock in (*repository.glob("*.lock"), *(repository / "refs").rglob("*.lock")):
        lock.unlink(missing_ok=True)
    _configure(repository, remote)
    return True


def _configure(repository: Path, remote: Remote) -> None:
    """Make a clone's own configuration ours: it could name filters and helpers, which are programs.

    A check, which knows of no remote, leaves the one that is there.
    """
    file = repository / "config"
    wanted = _CONFIG
    if remote.public and remote.url:
        escaped = remote.public.replace('"', '\\"')
        wanted += f'[remote "origin"]\n\turl = "{escaped}"\n'
    present = "" if file.is_symlink() or not file.is_file() else file.read_text(encoding="utf-8", errors="replace")
    if present == wanted or (not remote.url and _ORIGIN.fullmatch(present.removeprefix(_CONFIG))):
        return
    new = file.with_name("config.new")
    new.unlink(missing_ok=True)
    new.write_text(wanted, encoding="utf-8")
    new.replace(file)


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
