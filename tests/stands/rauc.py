"""A stand-in for RAUC whose boot loader is a dictionary: for what the real one in the box can't be brought to do."""

from __future__ import annotations

from typing import Any

import attrs
from dbus_next import Variant

from stands.bus_service import BusService, Refusal, Served

NAME, PATH = "de.pengutronix.rauc", "/"
INSTALLER = "de.pengutronix.rauc.Installer"
FAILED = "org.gtk.GDBus.UnmappedGError.Quark._g_2dio_2derror_2dquark.Code0"


@attrs.define(eq=False)
class RaucStand:
    """Two slots, A and B; `versions` is what lies in them, `marks` what was asked for, in order.

    `primary` None is a boot loader that can't be asked. `outcome` is what an installation ends with, None when it never
    does.
    """

    address: str
    booted: str = "A"
    primary: str | None = "A"
    versions: dict[str, str | None] = attrs.field(factory=lambda: {"A": None, "B": None})
    states: dict[str, str] = attrs.field(factory=lambda: {"A": "good", "B": "good"})
    marks: list[tuple[str, str]] = attrs.field(factory=list)
    bundles: list[str] = attrs.field(factory=list)
    outcome: int | None = 0
    installs: str = "16.1"
    service: BusService = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.service = BusService(self.address, NAME)
        self.service.objects[PATH] = {
            INSTALLER: Served(
                {
                    "Operation": ("s", "idle"),
                    "LastError": ("s", ""),
                    "Progress": ("(isi)", [0, "", 0]),
                    "BootSlot": ("s", self.booted),
                },
                {
                    "Mark": ("ss", "ss", self._mark),
                    "GetSlotStatus": ("", "a(sa{sv})", self._status),
                    "GetPrimary": ("", "s", self._primary),
                    "Install": ("s", "", self._install),
                },
            )
        }

    @property
    def asked(self) -> list[str]:
        """The methods that were called, but for reading properties."""
        return [call for call in self.service.calls if call != "GetAll"]

    def _mark(self, state: str, slot: str) -> list[str]:
        if self.service.objects[PATH][INSTALLER].properties["Operation"][1] != "idle":
            raise Refusal(FAILED, "busy")
        name = self.booted if slot == "booted" else {"kernel.0": "A", "kernel.1": "B"}[slot]
        self.marks.append((state, slot))
        if state == "active":
            self.primary = name
        else:
            self.states[name] = state
        return [slot, f"marked {slot} as {state}"]

    def _primary(self) -> list[str]:
        if self.primary is None:
            raise Refusal(FAILED, "this boot loader can't tell")
        return ["kernel.0" if self.primary == "A" else "kernel.1"]

    def _status(self) -> list[Any]:
        slots: list[Any] = [["rootfs.0", {"state": Variant("s", "active"), "parent": Variant("s", "kernel.0")}]]
        for number, name in enumerate(("A", "B")):
            known = {
                "bootname": name,
                "state": "booted" if name == self.booted else "inactive",
                "boot-status": self.states[name],
                "bundle.version": self.versions[name],
            }
            slots.append([f"kernel.{number}", {key: Variant("s", text) for key, text in known.items() if text}])
        return [slots]

    def _install(self, bundle: str) -> list[Any]:
        self.bundles.append(bundle)
        if self.outcome is None:
            return []
        if self.outcome == 0:
            self.primary, self.versions["B"] = "B", self.installs
        else:
            self.states["B"] = "bad"
            self.service.objects[PATH][INSTALLER].properties["LastError"] = ("s", "no space in slot")
        self.service.later(PATH, INSTALLER, "Completed", "i", [self.outcome])
        return []
