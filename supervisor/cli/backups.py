"""`supervisor backups`."""

from __future__ import annotations

from supervisor.cli.backup_repositories import browse, get, repository, restore_file
from supervisor.cli.command import Group

backups = Group(
    "backups",
    help="Keep backups, and get things back from them.",
    commands=[repository, browse, get, restore_file],
)
