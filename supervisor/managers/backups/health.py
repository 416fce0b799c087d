"""Whether there is a backup that is young enough, and what helps (backup contract §20)."""

from __future__ import annotations

from typing import Final

import attrs

from supervisor.events import CoreState
from supervisor.managers.resolution import (
    Check,
    ContextType,
    Fixup,
    Issue,
    IssueType,
    Resolution,
    Suggestion,
    SuggestionType,
)

from .manager import BackupManager
from .order import Order

KEPT: Final = 2


class BackupsCheck(Check):
    slug = "backups"
    issue = IssueType.NO_CURRENT_BACKUP
    context = ContextType.SYSTEM
    states = frozenset({CoreState.RUNNING, CoreState.STARTUP})

    def __init__(self, backups: BackupManager, resolution: Resolution) -> None:
        self._backups = backups
        self._resolution = resolution

    async def run(self) -> None:
        if not self._backups.current:
            self._resolution.raise_issue(self.issue, self.context, suggestions=(SuggestionType.CREATE_FULL_BACKUP,))

    async def approve(self, _issue: Issue) -> bool:
        return not self._backups.current


@attrs.frozen
class BackupFixups:
    _backups: BackupManager

    def fixups(self) -> list[Fixup]:
        system = ContextType.SYSTEM
        return [
            Fixup(system, SuggestionType.CREATE_FULL_BACKUP, self._create),
            Fixup(system, SuggestionType.CLEAR_FULL_BACKUP, self._clear),
        ]

    async def _create(self, _suggestion: Suggestion) -> None:
        await self._backups.create(Order())

    async def _clear(self, _suggestion: Suggestion) -> None:
        for backup in self._backups.full[KEPT:]:
            await self._backups.remove(backup.slug, None)
