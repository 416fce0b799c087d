"""How far from root the git program runs.

It reads what strangers made, so it gets as little as this machine lets us take away: an account without rights, no new
privileges, no capability, bounded memory and files, and no network where none is needed. What it wrote becomes ours
again as soon as it ends, so that nothing else of that account can touch a clone at rest. Everything here blocks.
"""

from __future__ import annotations

import logging
import os
import pwd
import shutil
import subprocess
from collections.abc import Collection, Sequence
from functools import cache
from pathlib import Path
from typing import Final

import attrs

from supervisor.const import MIB

from .folder import MAX_DEPTH

_LOGGER = logging.getLogger(__name__)

# Made by the package where systemd-sysusers runs; every Debian has the other.
ACCOUNTS: Final = ("supervisor-git", "nobody")
MAX_MEMORY: Final = 2048 * MIB
# Only a machine that is very busy needs that long for nothing; one that is taken for unable runs git with fewer bounds.
_PROBE_SECONDS: Final = 60
_NO_NEW: Final = ("setpriv", "--no-new-privs")
# Git asks access(2), for which capabilities count only with this bit.
_READER: Final = (
    "--securebits=+no_setuid_fixup",
    "--inh-caps=-all,+dac_read_search",
    "--ambient-caps=-all,+dac_read_search",
)
_NOTHING: Final = ("--inh-caps=-all", "--ambient-caps=-all")
# A limit that is lower already stays as it is. Files must stay readable for the account once they are ours again.
_LIMITS: Final = (
    'umask 022; ulimit -c 0; ulimit -f "$1" 2>/dev/null || :; ulimit -v "$2" 2>/dev/null || :; shift 2; exec "$@"'
)
_FILE_UNIT: Final = 512
_MEMORY_UNIT: Final = 1024
_NO_NETWORK: Final = ("unshare", "--net", "--")


@attrs.frozen
class Account:
    name: str
    uid: int
    gid: int

    @property
    def options(self) -> tuple[str, ...]:
        return (f"--reuid={self.uid}", f"--regid={self.gid}", "--clear-groups")


@attrs.frozen
class Confinement:
    """What this machine offers.

    There is no account where we are not root ourselves, or may not change to another. `reader` tells whether it may
    keep the one capability to read everything.
    """

    account: Account | None
    reader: bool
    no_new_privileges: bool
    no_network: bool

    def command(
        self, command: Sequence[str], *, folders: Collection[Path], network: bool, max_file_bytes: int
    ) -> list[str]:
        """Return the command that runs `command` confined; it works in `folders`.

        Where the account can't get to the folders it keeps one capability: to read everything. It never may write
        where it could not otherwise. Where that is not possible, it stays root.
        """
        confined: list[str] = []
        if self.no_network and not network:
            confined += _NO_NETWORK
        confined += ("sh", "-c", _LIMITS, "sh", str(max_file_bytes // _FILE_UNIT), str(MAX_MEMORY // _MEMORY_UNIT))
        if self.no_new_privileges:
            confined += _NO_NEW
            if self.account is not None:
                if all(_is_open(folder, self.account) for folder in folders):
                    confined += (*self.account.options, *_NOTHING)
                elif self.reader:
                    confined += (*self.account.options, *_READER)
            confined.append("--")
        return [*confined, *command]

    def give(self, folder: Path) -> None:
        """Let the account write into a folder.

        Raises:
            OSError: something of it can't be given.
        """
        if self.account is not None:
            _own(folder, self.account.uid, self.account.gid)

    def take_back(self, folder: Path) -> None:
        """Make everything in the folder ours again; nothing there is fine.

        Raises:
            OSError: something of it can't be taken.
        """
        if self.account is not None:
            _own(folder, os.geteuid(), os.getegid())


@cache
def confinement() -> Confinement:
    """Find out once what this machine offers."""
    no_new = _works(*_NO_NEW, "--")
    account = _account() if no_new and os.geteuid() == 0 else None
    if os.geteuid() == 0 and account is None:
        _LOGGER.warning("Git runs as root: this machine offers no way to run it as another user")
    reader = account is not None and _works(*_NO_NEW, *account.options, *_READER, "--")
    return Confinement(account, reader, no_new, _works(*_NO_NETWORK))


def _account() -> Account | None:
    for name in ACCOUNTS:
        try:
            found = pwd.getpwnam(name)
        except KeyError:
            continue
        account = Account(name, found.pw_uid, found.pw_gid)
        return account if _works(*_NO_NEW, *account.options, "--") else None
    return None


def _works(*prefix: str) -> bool:
    if shutil.which(prefix[0]) is None:
        return False
    try:
        done = subprocess.run((*prefix, "true"), capture_output=True, check=False, timeout=_PROBE_SECONDS)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0


def _is_open(folder: Path, account: Account) -> bool:
    """Tell whether the account can get to the folder and look into it; lists of finer rights are not considered."""
    path = folder.resolve()
    for place, needed in ((path, 0o5), *((parent, 0o1) for parent in path.parents)):
        try:
            status = place.stat()
        except OSError:
            return False
        shift = 6 if status.st_uid == account.uid else 0
        if (status.st_mode >> shift) & needed != needed:
            return False
    return True


def _own(folder: Path, uid: int, gid: int) -> None:
    pending = [(str(folder), 0)]
    while pending:
        path, depth = pending.pop()
        try:
            os.lchown(path, uid, gid)
            entries = list(os.scandir(path))
        except FileNotFoundError:
            continue
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                if depth < MAX_DEPTH:
                    pending.append((entry.path, depth + 1))
                continue
            status = entry.stat(follow_symlinks=False)
            # Git makes no hard links here; one that is there may be to a file that is none of the clone's.
            if status.st_uid != uid and status.st_nlink == 1:
                os.lchown(entry.path, uid, gid)
