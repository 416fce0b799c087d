"""An option schema as the form that a user interface draws (API contract §3.4, UiField)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from supervisor.model.option_types import Kind, TypeRule
from supervisor.model.options import DeviceLookup, ListRule, MappingRule, Rule, parse_schema

_FIELD_TYPES: Final = {
    Kind.STR: "string",
    Kind.PASSWORD: "string",
    Kind.EMAIL: "string",
    Kind.URL: "string",
    Kind.MATCH: "string",
    Kind.INT: "integer",
    Kind.PORT: "integer",
    Kind.FLOAT: "float",
    Kind.BOOL: "boolean",
    Kind.LIST: "select",
    Kind.DEVICE: "select",
}
_FORMATS: Final = frozenset({Kind.PASSWORD, Kind.EMAIL, Kind.URL})


def ui_schema(schema: Mapping[str, Any] | None, devices: DeviceLookup) -> list[dict[str, Any]] | None:
    """Return the form's fields in the schema's order; none when the add-on takes no options.

    Options without a usable type (an empty type string, an empty list) have no field: nothing could be entered.

    Raises:
        vol.Invalid: the schema is none; those of a `Manifest` always are.
    """
    return None if schema is None else _fields(parse_schema(dict(schema)), devices)


def _fields(rule: MappingRule, devices: DeviceLookup) -> list[dict[str, Any]]:
    fields = (_field(name, element, devices) for name, element in rule.fields.items())
    return [field for field in fields if field is not None]


def _field(name: str, rule: Rule, devices: DeviceLookup) -> dict[str, Any] | None:
    multiple = isinstance(rule, ListRule)
    element = rule.member if isinstance(rule, ListRule) else rule
    if isinstance(element, MappingRule):
        nested = _fields(element, devices)
        return {"name": name, "type": "schema", "optional": True, "multiple": multiple, "schema": nested}
    if element is None or element.kind is Kind.NOTHING:
        return None
    field = _scalar(name, element, devices)
    if multiple:
        field["multiple"] = True
    return field


def _scalar(name: str, rule: TypeRule, devices: DeviceLookup) -> dict[str, Any]:
    field: dict[str, Any] = {"name": name, "type": _FIELD_TYPES[rule.kind]}
    if rule.kind in _FORMATS:
        field["format"] = str(rule.kind)
    if rule.minimum is not None:
        field["lengthMin"] = rule.minimum
    if rule.maximum is not None:
        field["lengthMax"] = rule.maximum
    if rule.kind is Kind.LIST:
        field["options"] = list(rule.choices)
    elif rule.kind is Kind.DEVICE:
        field["options"] = sorted(device.by_id or device.path for device in devices.by_subsystem(rule.subsystem))
    field["optional" if rule.optional else "required"] = True
    return field
