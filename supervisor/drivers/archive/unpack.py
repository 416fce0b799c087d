"""Inner archives: unpacked into a folder, picked from, or only checked. Nothing in them is trusted."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Collection, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import attrs

from supervisor.drivers.archive.inflate import PIECE
from supervisor.drivers.archive.keys import Keyring
from supervisor.drivers.archive.names import parts_of, refused, shown
from supervisor.drivers.archive.reader import Inner
from supervisor.drivers.archive.rules import ForeignLinks, Rules
from supervisor.drivers.archive.selection import selected
from supervisor.drivers.archive.tar import Kind, Member, padded
from supervisor.drivers.archive.walk import Look, PlainStream, walk
from supervisor.drivers.archive.work import Work
from supervisor.drivers.folder import OPEN_FOLDER
from supervisor.errors import ArchiveDamaged, ArchiveRefused, BackupError

_HOLE: Final = 64 * 1024
_ZEROS: Final = memoryview(bytes(PIECE))
MAX_KEPT: Final = 16 * 1024 * 1024
# The file system has no attributes, none so long, or no room for so many at one file.
_NOT_TAKEN: Final = (errno.ENOTSUP, errno.EPERM, errno.E2BIG, errno.ERANGE, errno.ENOSPC, errno.ENOSYS, errno.EINVAL)
_NEW_FILE: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


@attrs.define
class Unpacked:
    """What an inner archive held. `left_out` counts pipes and links that the rules don't want.

    It also counts attributes that the file system does not take.
    """

    files: int = 0
    size: int = 0
    left_out: int = 0
    kept: dict[str, bytes] = attrs.field(factory=dict)


def check(
    part: Inner, keyring: Keyring | None, rules: Rules, work: Work, *, keep: Collection[str] = (), limit: int = MAX_KEPT
) -> Unpacked:
    """Read an inner archive to its end without writing anything; the contents of the files `keep` are returned.

    Raises:
        WrongPassword, ArchiveDamaged, ArchiveRefused: what unpacking would raise for the archive's sake; also when a
            file to keep is larger than `limit`.
    """
    found = Unpacked()
    for member, parts, stream, wanted in walk(part, keyring, rules, work):
        _count(found, member, wanted=wanted)
        name = "/".join(parts)
        if member.kind is not Kind.FILE or name not in keep:
            stream.skip(padded(member.size))
            continue
        if member.size > limit:
            large = "is larger than it may be"
            raise ArchiveRefused(f"{shown(name)} {large}", unnamed=f"Something in it {large}")
        content = stream.take(padded(member.size))
        if len(content) < padded(member.size):
            raise ArchiveDamaged("The archive is cut off in a file")
        found.kept[name] = content[: member.size]
    return found


def _count(found: Unpacked, member: Member, *, wanted: bool) -> None:
    if not wanted:
        found.left_out += 1
    elif member.kind is Kind.FILE:
        found.files += 1
        found.size += member.size


def pick(
    part: Inner, keyring: Keyring | None, names: Collection[str], work: Work, *, limit: int = MAX_KEPT
) -> dict[str, bytes]:
    """Return the contents of the files `names` of an inner archive; what is not there is left out.

    Raises:
        WrongPassword, ArchiveDamaged, ArchiveRefused: as `check`.
    """
    return check(part, keyring, Rules(links=ForeignLinks.KEEP), work, keep=names, limit=limit).kept


def unpack(part: Inner, keyring: Keyring | None, target: Path, rules: Rules, work: Work) -> Unpacked:
    """Unpack an inner archive into the existing folder `target`.

    Owners are set when we may. What was written before an error stays: `target` should be a folder of its own.

    Raises:
        WrongPassword, ArchiveDamaged: the archive's fault; nothing of it is to be used.
        ArchiveRefused: it wants what the rules forbid.
        BackupError: the disk refused.
        Stopped: the work was told to stop.
    """
    found = Unpacked()
    with _Place(target, rules) as place:
        for member, parts, stream, wanted in walk(part, keyring, rules, work):
            _count(found, member, wanted=wanted)
            if wanted:
                place.put(member, parts, stream)
            else:
                stream.skip(padded(member.size))
    found.left_out += place.left_out
    return found


def unpack_path(look: Look, path: tuple[str, ...], target: Path, rules: Rules, *, room: int) -> Path:
    """Unpack one file or folder of an inner archive into the existing folder `target`; return where it is now.

    `path` is not empty; `room` is how many bytes it may take.

    Raises:
        NotFound: there is no such path in it.
        WrongPassword, ArchiveDamaged, ArchiveRefused, BackupError, Stopped: as `unpack`.
    """
    size = 0
    with _Place(target, rules) as place, closing(selected(look, path, path[-1])) as found:
        for one in found:
            size += one.member.size
            if size > room:
                full = "can't be unpacked: No space left on the disk of the data"
                raise BackupError(f"{shown(path[-1])} {full}", unnamed=f"What is wanted {full}")
            place.put(one.member, one.parts, one.stream)
    return target / path[-1]


@attrs.define
class _Open:
    """A folder that is being filled. `member` tells what it shall look like, `mtime` what its time was before."""

    name: str
    descriptor: int
    mtime: int
    member: Member | None = None


class _Place:
    """The folder that is filled. Every path is walked from its root, and no link on the way is ever followed."""

    def __init__(self, target: Path, rules: Rules) -> None:
        self._target = target
        self._rules = rules
        self._path: list[_Open] = []
        self._owners = os.geteuid() == 0
        self.left_out = 0

    def __enter__(self) -> Self:
        root = os.open(self._target, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self._path.append(_Open("", root, os.fstat(root).st_mtime_ns))
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, at: TracebackType | None) -> None:
        with ExitStack() as stack:
            for folder in self._path:
                stack.callback(os.close, folder.descriptor)
            for folder in reversed(self._path):
                if kind is None:
                    with _disk_errors(folder.name):
                        self._finish(folder)
            self._path.clear()

    def put(self, member: Member, parts: tuple[str, ...], stream: PlainStream) -> None:
        with _disk_errors(member.name):
            if not parts:
                self._leave(1)
                self._path[0].member = member
                return
            self._go(parts[:-1], member)
            if member.kind is Kind.FOLDER:
                self._enter(parts[-1], member)
                self._path[-1].member = member
                return
            folder, name = self._path[-1].descriptor, parts[-1]
            if member.kind is Kind.FILE:
                self._write(folder, name, member, stream)
            elif member.kind is Kind.SYMLINK:
                self._link(folder, name, member)
            else:
                self._hard_link(parts, member)

    def _go(self, folders: tuple[str, ...], member: Member) -> None:
        """Stand in the folder with this path; what is missing on the way is made."""
        same = 0
        for step, name in zip(self._path[1:], folders, strict=False):
            if step.name != name:
                break
            same += 1
        self._leave(same + 1)
        for name in folders[same:]:
            self._enter(name, member)

    def _leave(self, depth: int) -> None:
        while len(self._path) > depth:
            folder = self._path[-1]
            self._finish(folder)
            os.close(folder.descriptor)
            self._path.pop()

    def _enter(self, name: str, member: Member) -> None:
        above = self._path[-1].descriptor
        with suppress(FileExistsError):
            os.mkdir(name, 0o755, dir_fd=above)
        descriptor = _open_folder(name, above, member)
        self._path.append(_Open(name, descriptor, os.fstat(descriptor).st_mtime_ns))

    def _finish(self, folder: _Open) -> None:
        """Give a folder its looks; that comes last, for writing into it changes its time."""
        member = folder.member
        if member is None:
            os.utime(folder.descriptor, ns=(folder.mtime, folder.mtime))
            return
        self._dress(folder.descriptor, member)

    def _dress(self, descriptor: int, member: Member) -> None:
        if self._owners:
            os.fchown(descriptor, member.uid, member.gid)
        os.fchmod(descriptor, self._rules.mode(member))
        for key, value in member.attributes:
            try:
                os.setxattr(descriptor, key, value)
            except OSError as err:
                if err.errno not in _NOT_TAKEN:
                    raise
                self.left_out += 1
        os.utime(descriptor, ns=(member.mtime, member.mtime))

    def _write(self, folder: int, name: str, member: Member, stream: PlainStream) -> None:
        descriptor = _replacing(lambda: os.open(name, _NEW_FILE, 0o600, dir_fd=folder), folder, name, member)
        try:
            missing, hole = member.size, False
            for part in stream.parts(member.size):
                missing -= len(part)
                hole = _write_part(descriptor, part)
            if missing:
                raise ArchiveDamaged("The archive is cut off in a file")
            if hole:
                os.ftruncate(descriptor, member.size)
            self._dress(descriptor, member)
        finally:
            os.close(descriptor)
        stream.skip(padded(member.size) - member.size)

    def _link(self, folder: int, name: str, member: Member) -> None:
        _replacing(lambda: os.symlink(member.link, name, dir_fd=folder), folder, name, member)
        if self._owners:
            os.chown(name, member.uid, member.gid, dir_fd=folder, follow_symlinks=False)
        os.utime(name, ns=(member.mtime, member.mtime), dir_fd=folder, follow_symlinks=False)

    def _hard_link(self, parts: tuple[str, ...], member: Member) -> None:
        """Link to a file of this archive. A link to a link would lead elsewhere from its new place."""
        target = parts_of(member.link)
        if not target:
            raise refused(member.name, "a hard link to a folder")
        folder, name = self._path[-1].descriptor, parts[-1]
        with ExitStack() as stack:
            at = os.dup(self._path[0].descriptor)
            stack.callback(os.close, at)
            for step in target[:-1]:
                at = _open_folder(step, at, member)
                stack.callback(os.close, at)
            try:
                status = os.stat(target[-1], dir_fd=at, follow_symlinks=False)
            except FileNotFoundError:
                raise refused(
                    member.name,
                    f"a hard link to {shown(member.link)}, which is not there",
                    unnamed="a hard link to what is not there",
                ) from None
            if not stat.S_ISREG(status.st_mode):
                raise refused(
                    member.name,
                    f"a hard link to {shown(member.link)}, which is no file",
                    unnamed="a hard link to what is no file",
                )
            if target == parts:
                raise refused(member.name, "a hard link to itself")
            _replacing(
                lambda: os.link(target[-1], name, src_dir_fd=at, dst_dir_fd=folder, follow_symlinks=False),
                folder,
                name,
                member,
            )


def _write_part(descriptor: int, part: memoryview) -> bool:
    """Write the next bytes of a file. Many zeros become a hole, as they were in most files that hold them.

    Returns True after a hole: one at the end of the file wants its length to be set.
    """
    if len(part) >= _HOLE and part == _ZEROS[: len(part)]:
        os.lseek(descriptor, len(part), os.SEEK_CUR)
        return True
    while part:
        part = part[os.write(descriptor, part) :]
    return False


def _open_folder(name: str, above: int, member: Member) -> int:
    try:
        return os.open(name, OPEN_FOLDER, dir_fd=above)
    except OSError as err:
        if err.errno in (errno.ELOOP, errno.ENOTDIR, errno.ENOENT):
            raise refused(member.name, f"{shown(name)} is no folder", unnamed="it lies in what is no folder") from None
        raise


def _replacing(make: Callable[[], int | None], folder: int, name: str, member: Member) -> int:
    """Make something new; a file or a link of an earlier member in its place goes first."""
    for last in (False, True):
        try:
            return make() or 0
        except FileExistsError:
            if last or stat.S_ISDIR(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode):
                raise refused(member.name, "there is a folder of that name") from None
            os.unlink(name, dir_fd=folder)
    raise AssertionError


@contextmanager
def _disk_errors(name: str) -> Iterator[None]:
    try:
        yield
    except OSError as err:
        why = f"can't be written: {'the disk is full' if err.errno == errno.ENOSPC else err.strerror}"
        raise BackupError(f"{shown(name)} {why}", unnamed=f"Something in it {why}") from err
