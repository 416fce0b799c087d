"""The board below the operating system: lamps, firmware, and what it swaps (API contract §2.20)."""

from __future__ import annotations

import attrs
import voluptuous as vol

from supervisor.api.models import os_boards as wire
from supervisor.api.route import Access, Call, Route
from supervisor.api.routes.addons import NOTHING
from supervisor.jobs import JobManager
from supervisor.managers.os import Board, BoardManager, Firmware, SwapSettings, swap_size, swappiness
from supervisor.model.validators import lenient_bool

# The API has another name for one of them.
_GREEN = {"activity_led": "activity_led", "power_led": "power_led", "system_health_led": "user_led"}
GREEN = vol.Schema({vol.Optional(led): lenient_bool for led in _GREEN})
YELLOW = vol.Schema({vol.Optional(led): lenient_bool for led in ("disk_led", "heartbeat_led", "power_led")})
SWAP = vol.Schema({vol.Optional("swap_size"): swap_size, vol.Optional("swappiness"): swappiness})


@attrs.frozen
class BoardRoutes:
    """Handlers of `/os/boards` and `/os/config/swap`."""

    _boards: BoardManager
    _firmware: Firmware
    _swap: SwapSettings
    _jobs: JobManager

    def routes(self) -> list[Route]:
        base, swap, manager = "/os/boards", "/os/config/swap", Access.MANAGER
        firmware = f"{base}/raspberrypi/firmware"
        return [
            Route("GET", f"{base}/green", manager, self._green, "Show the lamps of a Green", None, wire.GreenLeds),
            Route("POST", f"{base}/green", manager, self._set_green, "Switch lamps of a Green", GREEN),
            Route("GET", f"{base}/yellow", manager, self._yellow, "Show the lamps of a Yellow", None, wire.YellowLeds),
            Route("POST", f"{base}/yellow", manager, self._set_yellow, "Switch lamps of a Yellow", YELLOW),
            Route("GET", firmware, manager, self._show_firmware, "Show a Pi's firmware", None, wire.RpiFirmware),
            Route("POST", f"{firmware}/update", manager, self._update_firmware, "Update a Pi's firmware", NOTHING),
            Route("GET", f"{base}/{{board}}", manager, self._board, "Tell whether this is the board in use"),
            Route("GET", swap, manager, self._show_swap, "Show how much is swapped", None, wire.Swap),
            Route("POST", swap, manager, self._set_swap, "Set how much is swapped", SWAP),
        ]

    async def _green(self, _call: Call) -> wire.GreenLeds:
        leds = self._boards.leds(Board.GREEN)
        return wire.GreenLeds(**{shown: leds[led] for shown, led in _GREEN.items()})

    async def _set_green(self, call: Call) -> None:
        await self._boards.set_leds(Board.GREEN, {_GREEN[shown]: on for shown, on in call.body.items()})

    async def _yellow(self, _call: Call) -> wire.YellowLeds:
        return wire.YellowLeds(**self._boards.leds(Board.YELLOW))

    async def _set_yellow(self, call: Call) -> None:
        await self._boards.set_leds(Board.YELLOW, call.body)

    async def _board(self, call: Call) -> None:
        self._boards.require(call.path["board"])

    async def _show_firmware(self, _call: Call) -> wire.RpiFirmware:
        state = self._firmware.state()
        return wire.RpiFirmware(
            current_version=state.current,
            latest_version=state.latest,
            update_available=state.available,
            update_blocked=state.blocked,
            update_pending=state.pending,
            blocked_reason=state.blocked_reason,
        )

    async def _update_firmware(self, _call: Call) -> None:
        await self._jobs.spawn(self._firmware.update).result()

    async def _show_swap(self, _call: Call) -> wire.Swap:
        self._swap.require()
        return wire.Swap(swap_size=self._swap.size, swappiness=self._swap.swappiness)

    async def _set_swap(self, call: Call) -> None:
        await self._swap.change(size=call.body.get("swap_size"), swappiness=call.body.get("swappiness"))
