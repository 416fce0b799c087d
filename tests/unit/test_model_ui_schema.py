"""Forms made of option schemas (API contract §3.4, UiField)."""

from __future__ import annotations

import attrs
import pytest

from supervisor.model.options import NoDevices
from supervisor.model.ui_schema import ui_schema


@attrs.frozen
class Device:
    path: str
    by_id: str | None
    subsystem: str


class Devices:
    every = (Device("/dev/ttyACM0", None, "tty"), Device("/dev/ttyUSB0", "/dev/serial/by-id/a", "tty"))

    def find(self, path: str) -> Device | None:
        return None

    def by_subsystem(self, subsystem: str | None) -> list[Device]:
        return [device for device in self.every if subsystem in (None, device.subsystem)]


def test_an_add_on_without_options_has_no_form() -> None:
    assert ui_schema(None, NoDevices()) is None
    assert ui_schema({}, NoDevices()) == []


@pytest.mark.parametrize(
    ("element", "field"),
    [
        ("str", {"type": "string", "required": True}),
        ("str(1,)?", {"type": "string", "lengthMin": 1.0, "optional": True}),
        (
            "password(8,64)",
            {"type": "string", "format": "password", "lengthMin": 8.0, "lengthMax": 64.0, "required": True},
        ),
        ("email?", {"type": "string", "format": "email", "optional": True}),
        ("url", {"type": "string", "format": "url", "required": True}),
        ("match(^a$)", {"type": "string", "required": True}),
        ("int(0,2)?", {"type": "integer", "lengthMin": 0.0, "lengthMax": 2.0, "optional": True}),
        ("port", {"type": "integer", "required": True}),
        ("float(.5,)", {"type": "float", "lengthMin": 0.5, "required": True}),
        ("bool", {"type": "boolean", "required": True}),
        ("list(b|a)", {"type": "select", "options": ["b", "a"], "required": True}),
        (
            "device(subsystem=tty)",
            {"type": "select", "options": ["/dev/serial/by-id/a", "/dev/ttyACM0"], "required": True},
        ),
        ("device(subsystem=video4linux)?", {"type": "select", "options": [], "optional": True}),
        (["str?"], {"type": "string", "multiple": True, "optional": True}),
        (
            [{"b": "str"}],
            {"type": "schema", "optional": True, "multiple": True,
             "schema": [{"name": "b", "type": "string", "required": True}]},
        ),
        ({}, {"type": "schema", "optional": True, "multiple": False, "schema": []}),
    ],
)  # fmt: skip
def test_every_type_has_its_field(element: object, field: dict[str, object]) -> None:
    assert ui_schema({"x": element}, Devices()) == [{"name": "x", **field}]


def test_fields_keep_the_order_of_the_schema_and_leave_out_what_nothing_can_be_entered_for() -> None:
    fields = ui_schema({"z": "str", "broken": "", "empty": [], "a": "bool"}, NoDevices())
    assert fields is not None
    assert [field["name"] for field in fields] == ["z", "a"]
