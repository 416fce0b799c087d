"""The password of backups that the environment gives. It is never an argument: all users see those."""

from __future__ import annotations

import os
from typing import Final

PASSWORD_VARIABLE: Final = "SUPERVISOR_BACKUP_PASSWORD"  # noqa: S105 - the name of a variable


def password_of_environment() -> str | None:
    return os.environ.get(PASSWORD_VARIABLE) or None
