"""A stand-in for UDisks2 with drives that no test machine has; the real one runs in the box of tests/host."""

from __future__ import annotations

from typing import Any

from stands.bus_service import BusService, Served

NAME, ROOT = "org.freedesktop.UDisks2", "/org/freedesktop/UDisks2"
MANAGER = "org.freedesktop.DBus.ObjectManager"
_PATHS = frozenset({"Drive", "Table", "CryptoBackingDevice", "MDRaidMember"})
_SIGNATURES = {bool: "b", int: "t", str: "s", bytes: "ay", list: "aay", float: "d"}

Interfaces = dict[str, dict[str, Any]]


class UDisks:
    """`put` and `take` change what there is and announce it; names leave out what all have in common."""

    def __init__(self, address: str) -> None:
        self.service = BusService(address, NAME)
        self.service.objects[ROOT] = {
            MANAGER: Served(methods={"GetManagedObjects": ("", "a{oa{sa{sv}}}", self._managed)})
        }

    async def put(self, path: str, interfaces: Interfaces) -> None:
        """Add an object such as `drives/Fast`, or give it more interfaces such as `Drive`."""
        served = {f"{NAME}.{name}": _served(values) for name, values in interfaces.items()}
        self.service.objects.setdefault(f"{ROOT}/{path}", {}).update(served)
        await self._announce(
            "InterfacesAdded", "oa{sa{sv}}", path, {name: interface.all() for name, interface in served.items()}
        )

    async def take(self, path: str) -> None:
        interfaces = self.service.objects.pop(f"{ROOT}/{path}")
        await self._announce("InterfacesRemoved", "oas", path, list(interfaces))

    def method(self, path: str, interface: str, name: str, method: tuple[str, str, Any]) -> None:
        self.service.objects[f"{ROOT}/{path}"][f"{NAME}.{interface}"].methods[name] = method

    async def _announce(self, member: str, signature: str, path: str, what: Any) -> None:
        if self.service.running:
            await self.service.emit(ROOT, MANAGER, member, signature, [f"{ROOT}/{path}", what])

    def _managed(self) -> list[Any]:
        objects = {path: inner for path, inner in self.service.objects.items() if path != ROOT}
        return [{path: {name: one.all() for name, one in inner.items()} for path, inner in objects.items()}]


def _served(values: dict[str, Any]) -> Served:
    return Served(
        {name: ("o" if name in _PATHS else _SIGNATURES[type(value)], value) for name, value in values.items()}
    )
