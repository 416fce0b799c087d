"""Opens a backup with a password, and tells a wrong one from damage (backup contract §5.6, §11.1)."""

from __future__ import annotations

from typing import Final

from supervisor.drivers.archive.keys import Keyring
from supervisor.drivers.archive.reader import ArchiveReader, Inner, check_password
from supervisor.errors import BackupInvalidError, WrongPassword

from .backup import Backup, Copy

_WRONG: Final = "Invalid password for backup"
# What is said of a part when the password is right for others.
NOT_OPENED: Final = "can't be opened with the password of the rest: it is damaged, or was encrypted with another one"


def keyring_of(copy: Copy, password: str | None) -> Keyring | None:
    """Return the keys for a copy: a password for one that is open is no matter."""
    return Keyring(password) if copy.protected and password else None


def wrong_password(backup: Backup) -> BackupInvalidError:
    """Return the error whose beginning clients know."""
    return BackupInvalidError(f"{_WRONG} {backup.slug}")


def is_wrong_password(err: BackupInvalidError) -> bool:
    return str(err).startswith(_WRONG)


def check_opens(backup: Backup, archive: ArchiveReader, keyring: Keyring | None) -> list[Inner]:
    """Make sure that the password opens the backup; return the inner archives that it does not open all the same.

    Each is tried, not only the first: where one opens, the password is right, and what does not open is damaged.
    Blocking.

    Raises:
        BackupInvalidError: none opens, and the password is why.
    """
    strange: list[Inner] = []
    wrong = opened = 0
    for part in archive.inner.values():
        try:
            check_password(part, keyring)
        except WrongPassword:
            strange.append(part)
            wrong += 1
        except BackupInvalidError:
            strange.append(part)
        else:
            opened += 1
    if wrong and not opened:
        raise wrong_password(backup)
    return strange
