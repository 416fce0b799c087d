"""A tree that another program has restored, brought under the rules of archives.

Whoever knows the password of a repository may have written anything into it. The program that restores gives it all
back as it was: devices, set-id bits, capabilities, links to anywhere.
"""

from __future__ import annotations

import errno
import os
import stat
from contextlib import closing, suppress
from pathlib import Path
from typing import Final

from supervisor.drivers.archive.names import can_be_read
from supervisor.drivers.archive.rules import Rules
from supervisor.drivers.archive.tar import Kind, Member
from supervisor.drivers.archive.tree_walk import TreeWalk
from supervisor.drivers.folder import OPEN_FOLDER, remove_tree

_KINDS: Final = {
    stat.S_IFREG: Kind.FILE,
    stat.S_IFDIR: Kind.FOLDER,
    stat.S_IFLNK: Kind.SYMLINK,
    stat.S_IFCHR: Kind.DEVICE,
    stat.S_IFBLK: Kind.DEVICE,
}
# The kernel acts on all others: capabilities, labels, what overlays think of a file.
_HARMLESS: Final = ("user.", "system.posix_acl_")
_LABEL: Final = "security.selinux"


def subdue(folder: Path, rules: Rules, *, inside: tuple[str, ...] = ()) -> int:
    """Take out of the tree what the rules leave out, and the privileges off the rest; return how much was left out.

    Nobody else may write there meanwhile. `inside` is where the folder lies in its part. Blocking.

    What no archive could hold, for it lies too deep or has too long a path, is left out.

    Raises:
        ArchiveRefused: the whole of it is not to be trusted.
        SourceUnreadable, OSError: the disk refused.
    """
    left_out = 0
    root = os.open(folder, OPEN_FOLDER)
    name = "/".join((".", *inside))
    beyond: list[str] = []

    def is_beyond(path: str) -> bool:
        if can_be_read(f"{name}/{path}"):
            return False
        beyond.append(path)
        return True

    with closing(TreeWalk(root, name, is_beyond)) as tree:
        _strip(folder)
        for above, entry, path, status in tree:
            parts = (*inside, *path.split("/"))
            member = _member(above, entry, "/".join(parts), status)
            if not rules.allows(member, parts):
                before = os.fstat(above)
                os.unlink(entry, dir_fd=above)
                os.utime(above, ns=(before.st_atime_ns, before.st_mtime_ns))
                left_out += 1
            elif member.kind is not Kind.SYMLINK:
                if (mode := rules.mode(member)) != member.mode:
                    os.chmod(entry, mode, dir_fd=above)
                _strip(Path(f"/proc/self/fd/{above}/{entry}"))
    for path in beyond:
        remove_tree(folder / path)
    return left_out + len(beyond)


def _member(above: int, entry: str, name: str, status: os.stat_result) -> Member:
    kind = _KINDS.get(stat.S_IFMT(status.st_mode), Kind.FIFO)
    link = os.readlink(entry, dir_fd=above) if kind is Kind.SYMLINK else ""
    return Member(name, kind, mode=stat.S_IMODE(status.st_mode), link=link)


def _strip(path: Path) -> None:
    """Take off the attributes that are more than remarks."""
    try:
        names = os.listxattr(path, follow_symlinks=False)
    except OSError as err:
        if err.errno == errno.ENOTSUP:
            return
        raise
    for name in names:
        if name == _LABEL:
            # Where somebody enforces it, it can't be taken off.
            with suppress(OSError):
                os.removexattr(path, name, follow_symlinks=False)
        elif not name.startswith(_HARMLESS):
            os.removexattr(path, name, follow_symlinks=False)
