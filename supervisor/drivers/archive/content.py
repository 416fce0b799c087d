"""What goes into an inner archive: folders of the disk, single files, and texts that exist only here."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path
from typing import Final

import attrs

from supervisor.drivers.archive.names import shown
from supervisor.drivers.archive.stream import BlockWriter
from supervisor.drivers.archive.tar import BLOCK, MAX_ATTRIBUTES, OF_USERS, Kind, Member, header, padded
from supervisor.drivers.archive.tree_walk import GONE, REPLACED, Exclude, TreeWalk, unreadable
from supervisor.drivers.archive.work import Work
from supervisor.errors import SourceUnreadable

# A pipe that took the place of a file must not hold us.
_FILE: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC


def nothing(_path: str) -> bool:
    return False


@attrs.frozen
class Text:
    """A file that exists only in memory."""

    name: str
    content: bytes
    mode: int = 0o600
    mtime: int = 0


@attrs.frozen
class Folder:
    """A folder entry with nothing in it."""

    name: str
    mode: int = 0o755


@attrs.frozen
class File:
    """One file of the disk."""

    name: str
    path: Path


@attrs.frozen
class Tree:
    """A folder of the disk with all below it, as `name`.

    `exclude` is asked with each path below the folder ("a/b"); what it wants out is not looked into. Links are
    stored as links. What is no file, folder or link (sockets, pipes, devices) is left out.
    """

    name: str
    path: Path
    exclude: Exclude = nothing


Content = Text | Folder | File | Tree


@attrs.define
class Packed:
    """What went into an inner archive. `changed` counts files that had another size when they were read.

    `left_out` counts what is no file, folder or link, and extended attributes beyond measure.
    `beyond` counts what lies so deep, or has so long a path, that no restore would take it, and that is left out;
    `example` is the first of it.
    """

    files: int = 0
    changed: int = 0
    left_out: int = 0
    beyond: int = 0
    example: str = ""


class Packer:
    """Writes contents as tar members. `heard` hears of each, and where its content begins in the stream."""

    def __init__(self, out: BlockWriter, work: Work, heard: Callable[[Member, int], None] | None = None) -> None:
        self._out = out
        self._work = work
        self._heard = heard
        self._links: dict[tuple[int, int], str] = {}
        self.packed = Packed()

    def add(self, content: Content) -> None:
        """Write one content.

        Raises:
            SourceUnreadable: something of it can't be read; the archive is worth nothing.
        """
        if isinstance(content, Text):
            size = len(content.content)
            self._put(Member(content.name, Kind.FILE, size, content.mode, mtime=content.mtime))
            self._out.write(content.content)
            self._pad(size)
        elif isinstance(content, Folder):
            self._put(Member(content.name, Kind.FOLDER, mode=content.mode))
        elif isinstance(content, File):
            self._add_single(content)
        else:
            self._add_tree(content)

    def _add_single(self, content: File) -> None:
        try:
            parent = os.open(content.path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as err:
            raise unreadable(str(content.path.parent), err) from err
        try:
            self._add_file(parent, content.path.name, content.name)
        finally:
            os.close(parent)

    def _add_tree(self, tree: Tree) -> None:
        try:
            root = os.open(tree.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as err:
            raise unreadable(str(tree.path), err) from err
        with closing(TreeWalk(root, tree.name, tree.exclude)) as walk:
            self._put(self._member(tree.name, Kind.FOLDER, os.fstat(root), root))
            for folder, name, path, status in walk:
                self._work.check()
                archived = f"{tree.name}/{path}"
                if stat.S_ISDIR(status.st_mode):
                    self._put(self._member(archived, Kind.FOLDER, status, walk.folder))
                elif stat.S_ISLNK(status.st_mode):
                    self._add_link(folder, name, archived, status)
                elif stat.S_ISREG(status.st_mode):
                    self._add_file(folder, name, archived)
                else:
                    self.packed.left_out += 1
        if walk.beyond:
            self.packed.example = self.packed.example or shown(walk.example)
            self.packed.beyond += walk.beyond

    def _add_link(self, folder: int, name: str, archived: str, status: os.stat_result) -> None:
        try:
            target = os.readlink(name, dir_fd=folder)
        except OSError as err:
            if err.errno in (*GONE, errno.EINVAL):
                return
            raise unreadable(archived, err) from err
        self._put(_member(archived, Kind.SYMLINK, status, link=target))

    def _add_file(self, folder: int, name: str, archived: str) -> None:
        try:
            descriptor = os.open(name, _FILE, dir_fd=folder)
        except OSError as err:
            if err.errno in GONE:
                return
            if err.errno in REPLACED:
                self.packed.left_out += 1
                return
            raise unreadable(archived, err) from err
        try:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                self.packed.left_out += 1
                return
            first = archived
            if status.st_nlink > 1:
                first = self._links.setdefault((status.st_dev, status.st_ino), archived)
            if first != archived:
                self._put(_member(archived, Kind.HARDLINK, status, link=first))
                return
            self._put(self._member(archived, Kind.FILE, status, descriptor))
            self._copy(descriptor, status.st_size, archived)
        finally:
            os.close(descriptor)

    def _copy(self, descriptor: int, size: int, archived: str) -> None:
        """Write exactly `size` bytes, whatever the file does meanwhile."""

        def read_into(view: memoryview) -> int:
            try:
                count = os.readv(descriptor, (view,))
            except OSError as err:
                raise unreadable(archived, err) from err
            self._work.advance(count)
            return count

        missing = size - self._out.fill(size, read_into)
        if missing:
            self.packed.changed += 1
        while missing:
            piece = min(missing, 65536)
            self._out.write(bytes(piece))
            missing -= piece
        self._pad(size)
        self.packed.files += 1

    def _member(self, name: str, kind: Kind, status: os.stat_result, descriptor: int) -> Member:
        member = _member(name, kind, status)
        found = _attributes_of(descriptor, name)
        if found and sum(len(key) + len(value) for key, value in found) > MAX_ATTRIBUTES:
            self.packed.left_out += 1
            return member
        return attrs.evolve(member, attributes=found) if found else member

    def _put(self, member: Member) -> None:
        self._out.write(header(member))
        if self._heard is not None:
            self._heard(member, self._out.plain)

    def _pad(self, size: int) -> None:
        if size % BLOCK:
            self._out.write(bytes(padded(size) - size))


@attrs.frozen
class Extent:
    """How much a content is: files, and their bytes."""

    files: int = 0
    size: int = 0

    def __add__(self, other: Extent) -> Extent:
        return Extent(self.files + other.files, self.size + other.size)


def measure(content: Content, work: Work) -> Extent:
    """Return what packing `content` would read. What can't be read counts nothing here."""
    if isinstance(content, Text):
        return Extent(1, len(content.content))
    if isinstance(content, Folder):
        return Extent()
    if isinstance(content, File):
        with suppress(OSError):
            return Extent(1, content.path.lstat().st_size)
        return Extent()
    try:
        root = os.open(content.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        return Extent()
    files = size = 0
    with suppress(SourceUnreadable), closing(TreeWalk(root, content.name, content.exclude)) as walk:
        for _, _, _, status in walk:
            work.check()
            if stat.S_ISREG(status.st_mode):
                files += 1
                size += status.st_size
    return Extent(files, size)


def _attributes_of(descriptor: int, name: str) -> tuple[tuple[str, bytes], ...]:
    """Return the attributes that users gave to what is open."""
    try:
        keys = [key for key in os.listxattr(descriptor) if key.startswith(OF_USERS) and key.isprintable()]
        return tuple((key, os.getxattr(descriptor, key)) for key in keys)
    except OSError as err:
        if err.errno in (errno.ENOTSUP, errno.ENODATA, errno.ENOSYS):
            # The file system has none, or one has just gone.
            return ()
        raise unreadable(name, err) from err


def _member(name: str, kind: Kind, status: os.stat_result, *, link: str = "") -> Member:
    size = status.st_size if kind is Kind.FILE else 0
    mode = stat.S_IMODE(status.st_mode)
    return Member(name, kind, size, mode, status.st_uid, status.st_gid, status.st_mtime_ns, link)
