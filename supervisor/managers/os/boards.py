"""The board that the system runs on, and its lamps (host contract §22, §53: board.json)."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from enum import StrEnum
from typing import Any, Final

import voluptuous as vol

from supervisor.drivers.dbus import Interface
from supervisor.drivers.dbus.declaration import Property
from supervisor.drivers.dbus.os_agent import Boards, GreenBoard, YellowBoard
from supervisor.errors import Invalid
from supervisor.managers.resolution import Resolution
from supervisor.state import StateFile

from .system import OperatingSystem

_LOGGER = logging.getLogger(__name__)

BOARD_SCHEMA: Final = vol.Schema(
    {vol.Optional(led): bool for led in ("activity_led", "disk_led", "heartbeat_led", "power_led", "user_led")},
    extra=vol.REMOVE_EXTRA,
)


class Board(StrEnum):
    """Boards with lamps, by the agent's names."""

    GREEN = "Green"
    YELLOW = "Yellow"


_LEDS: Final[Mapping[Board, Mapping[str, Property[bool]]]] = {
    Board.GREEN: {
        "activity_led": GreenBoard.activity_led,
        "power_led": GreenBoard.power_led,
        "user_led": GreenBoard.user_led,
    },
    Board.YELLOW: {
        "disk_led": YellowBoard.disk_led,
        "heartbeat_led": YellowBoard.heartbeat_led,
        "power_led": YellowBoard.power_led,
    },
}


class BoardManager:
    """Lamps are on unless somebody switched them off; an agent that comes is told, as it does not remember."""

    def __init__(
        self,
        boards: Boards,
        green: GreenBoard,
        yellow: YellowBoard,
        system: OperatingSystem,
        state: StateFile,
        resolution: Resolution,
    ) -> None:
        self._boards = boards
        self._lamps: dict[Board, Interface] = {Board.GREEN: green, Board.YELLOW: yellow}
        self._system = system
        self._state = state
        self._resolution = resolution
        self._chosen: dict[str, bool] = {}
        self._changing = asyncio.Lock()

    async def load(self) -> None:
        """Read which lamps are switched off."""
        self._chosen = await self._state.load()

    async def follow(self) -> None:
        """Follow the lamps of the board that the agent is for, and no others: it has only those."""
        for board, lamps in self._lamps.items():
            await (lamps.start() if self.name == board.value else lamps.close())

    async def stop(self) -> None:
        for lamps in self._lamps.values():
            await lamps.close()

    @property
    def name(self) -> str | None:
        """The agent's name for the board; None without an agent."""
        return self._boards.board or None

    def require(self, board: str) -> None:
        """Go on only when the system runs on this board, by its own name for it or the agent's in lower case.

        Raises:
            Invalid: it runs on another one.
        """
        if board not in (self._system.board, (self.name or "").lower()):
            raise Invalid(f"{board} board is not in use")

    def leds(self, board: Board) -> dict[str, bool]:
        """Return which lamps are on.

        Raises:
            Invalid: this is another board.
        """
        self._require_lamps(board)
        lamps = self._lamps[board]
        return {led: self._known(led, lamps.cached(declaration)) for led, declaration in _LEDS[board].items()}

    async def set_leds(self, board: Board, wanted: Mapping[str, bool]) -> None:
        """Switch lamps on and off, for good. Those of the Yellow board follow at the next boot.

        Raises:
            Invalid: this is another board. Unavailable, Timeout, Internal: the agent is away, silent, or it failed.
        """
        self._require_lamps(board)
        async with self._changing:
            await self._apply(board, wanted)
            await self._state.save({**self._chosen, **wanted})
            self._chosen |= wanted
        if board is Board.YELLOW:
            self._resolution.ask_for_reboot()

    async def restore(self, board: Board) -> None:
        """Tell an agent that has come which lamps are on.

        Raises:
            Unavailable, Timeout, Internal: it went away again, is silent, or failed.
        """
        async with self._changing:
            lamps = self._lamps[board]
            wanted = {led: self._chosen.get(led, True) for led in _LEDS[board]}
            differ = {led: on for led, on in wanted.items() if lamps.cached(_LEDS[board][led]) is not on}
            await self._apply(board, differ)

    async def _apply(self, board: Board, wanted: Mapping[str, bool]) -> None:
        lamps = self._lamps[board]
        for led, on in wanted.items():
            await lamps.write(_LEDS[board][led], on)
            _LOGGER.info("Board %s: %s is %s now", board.value, led, "on" if on else "off")
        if wanted:
            await lamps.refresh()

    def _require_lamps(self, board: Board) -> None:
        if self.name != board.value:
            raise Invalid(f"{board.value} board is not in use")

    def _known(self, led: str, told: Any) -> bool:
        return told if isinstance(told, bool) else self._chosen.get(led, True)
