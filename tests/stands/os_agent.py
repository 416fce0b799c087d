"""A stand-in for the OS agent, which no distribution ships: `io.hass.os` on a real bus (host contract §22).

Run it as a program, `python os_agent.py ADDRESS STATE`: ADDRESS is the bus, STATE a JSON file that holds what the
agent knows and what was asked of it. Tests read that file, and change it while the agent is stopped.
"""

from __future__ import annotations

import asyncio
import copy
import json
import re
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from stands.bus_service import BusService, Refusal, Served

NAME, ROOT = "io.hass.os", "/io/hass/os"
INVALID = "org.freedesktop.DBus.Error.InvalidArgs"
FAILED = "org.freedesktop.DBus.Error.Failed"

DEFAULTS: dict[str, Any] = {
    "version": "1.9.0",
    "diagnostics": False,
    "apparmor_version": "3.1.7",
    "current_device": "/dev/sda",
    "board": "Supervised",
    "swap_size": "",
    "swappiness": 60,
    "leds": {"ActivityLED": True, "PowerLED": True, "UserLED": True, "DiskLED": True, "HeartbeatLED": True},
    "firmware": {
        "CurrentVersion": "1700000000",
        "LatestVersion": "1750000000",
        "UpdateAvailable": True,
        "UpdateBlocked": False,
        "UpdatePending": False,
        "BlockedReason": "",
    },
    # What was asked of it, in order: [method, arguments...].
    "calls": [],
    # How many seconds after its name it brings its objects: the real one has the name first.
    "objects_after": 0,
    # Methods that fail, and those that answer False.
    "failing": [],
    "refusing": [],
}
LEDS = {"Green": ("ActivityLED", "PowerLED", "UserLED"), "Yellow": ("DiskLED", "HeartbeatLED", "PowerLED")}
WITH_FIRMWARE = ("RaspberryPi4", "RaspberryPi5", "Yellow")
RULE = re.compile(r"[abc] (\*|\d+):(\*|\d+) [rwm]{1,3}")
SWAP = re.compile(r"\d+([KMG](i?B)?|B)?", re.IGNORECASE)


class OsAgent:
    """Serves what its state file says; everything that changes goes there at once."""

    def __init__(self, address: str, state: Path) -> None:
        self._state = state
        before = json.loads(state.read_text()) if state.exists() else {}
        self._known: dict[str, Any] = {**copy.deepcopy(DEFAULTS), **before}
        self.service = BusService(address, NAME)
        self._save()

    async def run(self) -> None:
        """Serve until the bus goes away."""
        await self.start()
        await self.service.end()

    async def start(self) -> None:
        delay = self._known["objects_after"]
        if not delay:
            self._serve()
        await self.service.start()
        if delay:
            await asyncio.sleep(delay)
            self._serve()

    def _save(self) -> None:
        temporary = self._state.with_suffix(".new")
        temporary.write_text(json.dumps(self._known, indent=1))
        temporary.replace(self._state)

    def _done(self, method: str, *arguments: Any) -> list[Any]:
        """Write a call down; return what the method answers."""
        if method in self._known["failing"]:
            raise Refusal(FAILED, f"{method} failed")
        self._known["calls"].append([method, *arguments])
        self._save()
        return [method not in self._known["refusing"]]

    def _serve(self) -> None:
        known = self._known
        self._add(
            "",
            Served(
                {"Version": ("s", known["version"]), "Diagnostics": ("b", known["diagnostics"])},
                read_only=frozenset({"Version"}),
                on_write=lambda _, value: self._keep("diagnostics", value),
            ),
        )
        self._add(
            "AppArmor",
            Served(
                {"ParserVersion": ("s", known["apparmor_version"])},
                {
                    "LoadProfile": ("ss", "b", lambda *paths: self._done("LoadProfile", *paths)),
                    "UnloadProfile": ("ss", "b", lambda *paths: self._done("UnloadProfile", *paths)),
                },
                read_only=frozenset({"ParserVersion"}),
            ),
        )
        self._add("CGroup", Served(methods={"AddDevicesAllowed": ("ss", "b", self._allow)}))
        self._add(
            "DataDisk",
            Served(
                {"CurrentDevice": ("s", known["current_device"])},
                {
                    "ChangeDevice": ("s", "b", self._change_device),
                    "ReloadDevice": ("", "b", lambda: self._done("ReloadDevice")),
                    **self._since("1.5.0", MarkDataMove=("", "", lambda: self._quiet("MarkDataMove"))),
                },
                read_only=frozenset({"CurrentDevice"}),
            ),
        )
        self._add(
            "System",
            Served(
                methods={
                    "ScheduleWipeDevice": ("", "b", lambda: self._done("ScheduleWipeDevice")),
                    "MigrateDockerStorageDriver": ("s", "", self._migrate),
                }
            ),
        )
        self._add(
            "Config/Swap",
            Served(
                {"SwapSize": ("s", known["swap_size"]), "Swappiness": ("i", known["swappiness"])},
                on_write=self._set_swap,
            ),
        )
        self._serve_boards()

    def _serve_boards(self) -> None:
        board = self._known["board"]
        self._add("Boards", Served({"Board": ("s", board)}, read_only=frozenset({"Board"})))
        if board in LEDS:
            leds = {led: ("b", self._known["leds"][led]) for led in LEDS[board]}
            self._add(f"Boards/{board}", Served(leds, on_write=self._set_led))
        elif board == "Supervised":
            self._add("Boards/Supervised", Served())
        if board in WITH_FIRMWARE:
            firmware = self._known["firmware"]
            self._add(
                "Boards/RaspberryPi/Firmware",
                Served(
                    {name: ("b" if isinstance(value, bool) else "s", value) for name, value in firmware.items()},
                    {"Update": ("", "", lambda: self._quiet("Update"))},
                    read_only=frozenset(firmware),
                ),
            )

    def _add(self, name: str, served: Served) -> None:
        path = f"{ROOT}/{name}" if name else ROOT
        interface = f"{NAME}.{name.replace('/', '.')}" if name else NAME
        self.service.objects[path] = {interface: served}

    def _since(self, version: str, **methods: Any) -> dict[str, Any]:
        """Leave out what an agent of the present version does not have yet."""
        return methods if _number(self._known["version"]) >= _number(version) else {}

    def _keep(self, key: str, value: Any) -> None:
        self._known[key] = value
        self._save()

    def _quiet(self, method: str, *arguments: Any) -> list[Any]:
        self._done(method, *arguments)
        return []

    def _allow(self, container: str, rule: str) -> list[Any]:
        if not RULE.fullmatch(rule):
            raise Refusal(INVALID, f"{rule} is no rule for devices")
        return self._done("AddDevicesAllowed", container, rule)

    def _change_device(self, device: str) -> list[Any]:
        answer = self._done("ChangeDevice", device)
        if answer[0]:
            self._keep("current_device", device)
        return answer

    def _migrate(self, driver: str) -> list[Any]:
        if driver != "overlayfs":
            raise Refusal(INVALID, f"{driver} is no storage driver to go to")
        return self._quiet("MigrateDockerStorageDriver", driver)

    def _set_swap(self, name: str, value: Any) -> None:
        if name == "SwapSize" and not (value == "" or SWAP.fullmatch(value)):
            raise Refusal(INVALID, f"{value} is no size")
        if name == "Swappiness" and not 0 <= value <= 200:
            raise Refusal(INVALID, f"{value} is no swappiness")
        self._keep("swap_size" if name == "SwapSize" else "swappiness", value)

    def _set_led(self, name: str, value: bool) -> None:
        self._known["leds"][name] = value
        self._save()


def _number(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))


async def main(address: str, state: str) -> None:
    await OsAgent(address, Path(state)).run()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2]))
