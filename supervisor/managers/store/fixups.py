"""What helps a repository in trouble (host contract §6)."""

from __future__ import annotations

from collections.abc import Callable, Collection

import attrs

from supervisor.errors import Invalid
from supervisor.managers.resolution import ContextType, Fixup, Resolution, Suggestion, SuggestionType

from .manager import StoreManager

RESET_ATTEMPTS = 5


@attrs.frozen
class StoreFixups:
    """A repository that is no longer listed needs no help. `in_use` answers which ones installed add-ons come from."""

    _store: StoreManager
    _resolution: Resolution
    _in_use: Callable[[], Collection[str]]

    def fixups(self) -> list[Fixup]:
        store = ContextType.STORE
        return [
            Fixup(store, SuggestionType.EXECUTE_RELOAD, self._reload, auto=True, online=True),
            Fixup(store, SuggestionType.EXECUTE_RESET, self._reset, auto=True, attempts=RESET_ATTEMPTS, online=True),
            Fixup(store, SuggestionType.EXECUTE_REMOVE, self._remove),
        ]

    def _listed(self, suggestion: Suggestion) -> str | None:
        slug = suggestion.reference or ""
        return slug if slug in self._store.repositories else None

    async def _reload(self, suggestion: Suggestion) -> None:
        if (slug := self._listed(suggestion)) is not None:
            await self._store.reload(slug)

    async def _reset(self, suggestion: Suggestion) -> None:
        """Clone it anew; when that does not make it a repository of add-ons, another time won't either."""
        if (slug := self._listed(suggestion)) is None:
            return
        try:
            await self._store.repair_repository(slug)
        except Invalid:
            self._resolution.withdraw_suggestion(suggestion)
            raise

    async def _remove(self, suggestion: Suggestion) -> None:
        if (slug := self._listed(suggestion)) is not None:
            await self._store.remove_repository(slug, in_use=self._in_use())
