"""What helps a mount that is away (host contract §6)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import attrs

from supervisor.managers.resolution import ContextType, Fixup, Suggestion, SuggestionType

from .manager import MountManager


@attrs.frozen
class MountFixups:
    """A mount that is gone needs no help."""

    _mounts: MountManager

    def fixups(self) -> list[Fixup]:
        mount = ContextType.MOUNT
        return [
            Fixup(mount, SuggestionType.EXECUTE_RELOAD, self._for(self._mounts.reload_mount)),
            Fixup(mount, SuggestionType.EXECUTE_REMOVE, self._for(self._mounts.remove)),
            Fixup(mount, SuggestionType.MOVE_LOCAL_DATA, self._for(self._mounts.relocate_local_data)),
        ]

    def _for(self, work: Callable[[str], Awaitable[None]]) -> Callable[[Suggestion], Awaitable[None]]:
        async def apply(suggestion: Suggestion) -> None:
            name = suggestion.reference
            if name is not None and name in self._mounts.mounts:
                await work(name)

        return apply
