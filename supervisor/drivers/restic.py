"""Backup repositories by restic, from version 0.14 (Debian 12) on.

Arguments never hold a secret: the password comes from a file, S3 keys from a credentials file, an SSH key from a file
that an ssh configuration names. The environment is made from nothing, so that no variable of the daemon's reaches it.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, TypeVar

import attrs

from supervisor.drivers.archive.names import shown
from supervisor.drivers.archive.selection import MAX_ENTRIES
from supervisor.errors import REPOSITORY_LOCKED, ArchiveRefused, BackupError, Invalid, SupervisorError, Unsupported

from .restic_failure import failure, plain
from .restic_process import Patience, Run, running
from .restic_tree import Doubles, Listing, Paths
from .snapshot_engine import (
    Entry,
    EntryKind,
    OnProgress,
    Progress,
    RepositoryAccess,
    Saved,
    Selection,
    Snapshot,
    Unread,
)

T = TypeVar("T")

_HOST: Final = "supervisor"
_PROBE: Final = Patience(whole=300)
_WORK: Final = Patience()
_MAX_ANSWER: Final = 256 * 1024 * 1024
_INCOMPLETE: Final = 3
_SPARSE_SINCE: Final = (0, 15)
_VERSION: Final = re.compile(r"restic (\d+)\.(\d+)")
_SPECIAL: Final = re.compile(r"[*?\[\\]")
_KINDS: Final = {"file": EntryKind.FILE, "dir": EntryKind.FOLDER, "symlink": EntryKind.LINK}


class Restic:
    """The engine's calls on repositories; see `SnapshotEngine`. `name_of` tells people which repository is meant."""

    def __init__(self, program: str = "restic", *, name_of: Callable[[RepositoryAccess], str] | None = None) -> None:
        self._program = program
        self._name_of = name_of or (lambda access: access.url)
        self._known: tuple[int, int] | None = None

    async def version(self) -> str:
        async with running(self._program, (self._program, "version"), {}, _PROBE) as run:
            text = "".join([line.decode(errors="replace") async for line in run.lines])
        if run.code or not (match := _VERSION.match(text)):
            raise Unsupported(f"{self._program} does not tell its version")
        self._known = (int(match[1]), int(match[2]))
        return text.split()[1]

    async def init(self, access: RepositoryAccess) -> None:
        await self._run(access, "init", "--repository-version", "2")

    async def identity(self, access: RepositoryAccess) -> str:
        answer = _parsed(await self._run(access, "cat", "config", "--no-lock"), dict)
        return str(answer.get("id", ""))

    async def backup(
        self, access: RepositoryAccess, selection: Selection, tags: Sequence[str], on_progress: OnProgress
    ) -> Saved:
        if any("," in tag or not tag for tag in tags):
            raise Invalid("A tag of a snapshot can't be empty or hold a comma")
        options = ["--host", _HOST, *_each("--tag", tags)]
        if selection.parent is not None:
            options += ["--parent", selection.parent]
        async with _excludes(selection.excluded, access.cache) as excludes:
            options += [*excludes, "--", *map(str, selection.paths)]
            made = Snapshot("", datetime.now(UTC), tuple(tags), tuple(map(str, selection.paths)), _HOST)
            return await self._unlocking(access, lambda: self._backup(access, options, made, on_progress))

    async def _backup(
        self, access: RepositoryAccess, options: Sequence[str], made: Snapshot, on_progress: OnProgress
    ) -> Saved:
        summary: dict[str, Any] = {}
        async with self._started(access, _WORK, "backup", "--json", *options) as run:
            async for line in run.lines:
                said = _json_line(line)
                if said.get("message_type") == "status":
                    on_progress(_status(said, "total_bytes", "bytes_done"))
                elif said.get("message_type") == "summary":
                    summary = said
        if not summary or run.code not in (0, _INCOMPLETE):
            raise failure(self._name_of(access), run.code, run.errors)
        return Saved(
            attrs.evolve(made, id=str(summary.get("snapshot_id", ""))),
            _number(summary.get("total_bytes_processed")),
            _number(summary.get("data_added_packed") or summary.get("data_added")),
            tuple(_unread(run.errors, made.paths)),
        )

    async def snapshots(self, access: RepositoryAccess) -> list[Snapshot]:
        answer = _parsed(await self._run(access, "snapshots", "--json", "--no-lock"), list)
        found = [_snapshot(item) for item in answer if isinstance(item, dict)]
        return sorted(found, key=lambda snapshot: (snapshot.time, snapshot.id))

    async def entries(self, access: RepositoryAccess, snapshot: str, folder: str) -> list[Entry]:
        folder = "/" + folder.strip("/")
        listing, found = Listing(), list[Entry]()

        def feed(block: bytes) -> None:
            found.extend(_entry(node) for node in listing.feed(block) if _above(node) == folder.rstrip("/"))
            if len(found) > MAX_ENTRIES:
                raise ArchiveRefused(f"{shown(folder)} holds more than {MAX_ENTRIES} entries; get it as a whole")

        # No `--`: old versions take the folder's name for a snapshot's after it. It begins with a slash anyway.
        await self._fed(access, _PROBE, feed, "ls", "--json", "--no-lock", snapshot, folder)
        return await asyncio.to_thread(sorted, found, key=lambda entry: entry.path)

    async def entry(self, access: RepositoryAccess, snapshot: str, path: str) -> Entry | None:
        listing = Listing()

        def find(block: bytes) -> Entry | None:
            return next((_entry(node) for node in listing.feed(block) if node["path"] == path), None)

        # It comes first, before what is in it.
        async with self._started(access, _PROBE, "ls", "--json", "--no-lock", snapshot, path) as run:
            async for block in run.blocks():
                if (found := await asyncio.to_thread(find, block)) is not None:
                    return found
        if run.code:
            raise failure(self._name_of(access), run.code, run.errors)
        return None

    async def restore(
        self,
        access: RepositoryAccess,
        snapshot: str,
        paths: Sequence[str],
        target: Path,
        on_progress: OnProgress,
    ) -> None:
        if self._known is None:
            await self.version()
        # Both commands have to understand the same by it.
        paths = ["/" + "/".join(step for step in path.split("/") if step not in ("", ".")) for path in paths]
        if not await self._holds(access, snapshot, paths, target):
            return
        options = ["--target", str(target), *_each("--include", [_literal(path) for path in paths])]
        if self._known is not None and self._known >= _SPARSE_SINCE:
            options.append("--sparse")
        options += ["--", snapshot]
        await self._unlocking(access, lambda: self._restore(access, options, on_progress))

    async def _holds(self, access: RepositoryAccess, snapshot: str, paths: Sequence[str], target: Path) -> bool:
        """Make sure that the paths can be restored; tell whether there is anything at them."""
        listing = ("ls", "--json", "--no-lock", "--recursive", snapshot, *paths)
        seen = Paths()
        await self._fed(access, _WORK, seen.feed, *listing)
        if not len(seen):
            # Old versions list a snapshot that they don't find without a word.
            await self._run(access, "cat", "--no-lock", "snapshot", snapshot)
            return False
        room = await asyncio.to_thread(os.statvfs, target)
        if room.f_files and len(seen) > room.f_favail:
            raise BackupError(f"The disk has no room for {len(seen)} files")
        if hashes := await asyncio.to_thread(seen.doubles):
            doubles = Doubles(hashes)
            await self._fed(access, _WORK, doubles.feed, *listing)
            doubles.check()
        return True

    async def _fed(
        self, access: RepositoryAccess, patience: Patience, feed: Callable[[bytes], None], *arguments: str
    ) -> None:
        """Give the answer to `feed`, piece by piece, in a thread."""
        async with self._started(access, patience, *arguments) as run:
            async for block in run.blocks():
                await asyncio.to_thread(feed, block)
        if run.code:
            raise failure(self._name_of(access), run.code, run.errors)

    async def _restore(self, access: RepositoryAccess, options: Sequence[str], on_progress: OnProgress) -> None:
        told = False

        def written(count: int) -> None:
            # Before 0.17 restic itself says nothing meanwhile.
            if not told:
                on_progress(Progress(count))

        async with self._started(access, _WORK, "restore", "--json", *options, on_written=written) as run:
            async for line in run.lines:
                said = _json_line(line)
                if said.get("message_type") == "status":
                    told = True
                    on_progress(_status(said, "total_bytes", "bytes_restored"))
        if run.code:
            raise failure(self._name_of(access), run.code, run.errors)

    @contextlib.asynccontextmanager
    async def read(self, access: RepositoryAccess, snapshot: str, path: str) -> AsyncIterator[AsyncIterator[bytes]]:
        async with self._started(access, _WORK, "dump", "--no-lock", "--", snapshot, path) as run:
            yield self._checked_blocks(access, run)

    async def _checked_blocks(self, access: RepositoryAccess, run: Run) -> AsyncIterator[bytes]:
        async for block in run.blocks():
            yield block
        await run.process.wait()
        if run.code:
            raise failure(self._name_of(access), run.code, run.errors)

    async def verify(self, access: RepositoryAccess, part: int, parts: int) -> None:
        share = ("--read-data-subset", f"{part}/{parts}") if parts > 1 else ("--read-data",) if parts == 1 else ()
        await self._run(access, "check", *share, patience=_WORK)

    async def forget(self, access: RepositoryAccess, snapshots: Sequence[str], *, prune: bool) -> None:
        if snapshots:
            await self._run(access, "forget", "--", *snapshots, patience=_WORK)
        if prune:
            await self._run(access, "prune", patience=_WORK)

    async def retag(self, access: RepositoryAccess, snapshot: str, tags: Sequence[str]) -> None:
        await self._run(access, "tag", *_each("--set", tags), "--", snapshot)

    async def unlock(self, access: RepositoryAccess) -> None:
        await self._once(access, _PROBE, "unlock")

    async def _run(self, access: RepositoryAccess, *arguments: str, patience: Patience = _PROBE) -> bytes:
        return await self._unlocking(access, lambda: self._once(access, patience, *arguments))

    async def _unlocking(self, access: RepositoryAccess, attempt: Callable[[], Awaitable[T]]) -> T:
        """Try; where a lock is in the way, try once more without the locks that dead processes left behind."""
        try:
            return await attempt()
        except SupervisorError as err:
            if err.key != REPOSITORY_LOCKED.key:
                raise
        await self.unlock(access)
        return await attempt()

    async def _once(self, access: RepositoryAccess, patience: Patience, *arguments: str) -> bytes:
        answer = bytearray()
        async with self._started(access, patience, *arguments) as run:
            async for block in run.blocks():
                answer += block
                if len(answer) > _MAX_ANSWER:
                    raise Unsupported(f"The backup repository {self._name_of(access)} has more than can be listed")
        if run.code:
            raise failure(self._name_of(access), run.code, run.errors)
        return bytes(answer)

    @contextlib.asynccontextmanager
    async def _started(
        self,
        access: RepositoryAccess,
        patience: Patience,
        *arguments: str,
        on_written: Callable[[int], None] | None = None,
    ) -> AsyncIterator[Run]:
        settings = list(_each("--option", map(_field, access.settings)))
        environment = {
            **access.environment,
            "HOME": str(access.cache),
            "RESTIC_CACHE_DIR": str(access.cache),
            "RESTIC_PASSWORD_FILE": str(access.password_file),
            "RESTIC_REPOSITORY": access.url,
            "RESTIC_PROGRESS_FPS": "2",
        }
        command = (self._program, arguments[0], *settings, *arguments[1:])
        async with running(self._name_of(access), command, environment, patience, on_written=on_written) as run:
            yield run


def _field(setting: str) -> str:
    """Return a setting as the program reads it: as a row of CSV, in which commas and quotes mean something."""
    return '"' + setting.replace('"', '""') + '"'


def _each(option: str, values: Iterable[str]) -> Iterator[str]:
    for value in values:
        yield option
        yield value


def _literal(path: str) -> str:
    """Return a pattern that matches this path alone."""
    return _SPECIAL.sub(r"\\\g<0>", path)


@contextlib.asynccontextmanager
async def _excludes(excluded: Sequence[Path], folder: Path) -> AsyncIterator[list[str]]:
    """Give the options that leave these paths out: through a file, for there may be thousands of them."""
    options: list[str] = []
    lines: list[str] = []
    for path in excluded:
        pattern = _literal(str(path))
        if "\n" in pattern or "\r" in pattern:
            options += ["--exclude", pattern]
            continue
        # In the file restic replaces variables and cuts blanks at the ends.
        pattern = pattern.replace("$", "$$")
        if pattern != pattern.rstrip():
            pattern = f"{pattern[:-1]}[{pattern[-1]}]"
        lines.append(f"{pattern}\n")
    if not lines:
        yield options
        return
    file = folder / f"exclude-{secrets.token_hex(8)}"
    content = "".join(lines).encode(errors="surrogateescape")
    try:
        await asyncio.to_thread(_write, file, content)
        yield [*options, "--exclude-file", str(file)]
    finally:
        await asyncio.to_thread(file.unlink, missing_ok=True)


def _write(file: Path, content: bytes) -> None:
    file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    file.write_bytes(content)


def _json_line(line: bytes) -> dict[str, Any]:
    try:
        said = json.loads(line)
    except ValueError:
        return {}
    return said if isinstance(said, dict) else {}


def _parsed(answer: bytes, kind: type[Any]) -> Any:
    # Versions before 0.16 may write lines of text before the answer.
    text = answer.strip()
    try:
        parsed = json.loads(text) if text else kind()
    except ValueError:
        parsed = None
    if parsed is None and kind is list:
        return []
    if not isinstance(parsed, kind):
        raise Unsupported("restic answered something that is not understood")
    return parsed


def _number(value: object) -> int:
    return int(value) if isinstance(value, int | float) else 0


def _status(said: Mapping[str, Any], total: str, done: str) -> Progress:
    return Progress(_number(said.get(done)), _number(said.get(total)) or None)


def _time(value: object) -> datetime:
    """Return a time of Go's, which has nanoseconds and an offset."""
    text = re.sub(r"(\.\d{6})\d+", r"\1", str(value))
    try:
        parsed = datetime.fromisoformat(text)
    except ValueError:
        return datetime.fromtimestamp(0, UTC)
    return parsed if parsed.tzinfo is not None else parsed.replace(tzinfo=UTC)


def _snapshot(item: Mapping[str, Any]) -> Snapshot:
    return Snapshot(
        str(item.get("id", "")),
        _time(item.get("time")).astimezone(UTC),
        tuple(str(tag) for tag in item.get("tags") or ()),
        tuple(str(path) for path in item.get("paths") or ()),
        str(item.get("hostname", "")),
    )


def _above(node: Mapping[str, Any]) -> str:
    return str(node["path"]).rpartition("/")[0]


def _entry(node: Mapping[str, Any]) -> Entry:
    return Entry(
        str(node.get("path", "")),
        _KINDS.get(str(node.get("type")), EntryKind.OTHER),
        _number(node.get("size")),
        _number(node.get("mode")) & 0o777,
        _time(node.get("mtime")).astimezone(UTC),
    )


def _unread(errors: str, paths: Sequence[str]) -> Iterator[Unread]:
    """Find what restic could not read: one JSON object for each, and a line for a whole path that is missing."""
    for line in errors.splitlines():
        said = _json_line(line.encode())
        if said.get("message_type") == "error":
            yield Unread(str(said.get("item") or ""), "; ".join(plain(line)) or "it can't be read")
            continue
        for path in paths:
            if line.startswith(f"{path} does not exist"):
                yield Unread(path, "it does not exist")
