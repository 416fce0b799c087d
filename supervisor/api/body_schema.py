"""Describes the validators of HTTP bodies to the OpenAPI document."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any, Final

import voluptuous as vol
from voluptuous_openapi import (  # type: ignore[import-untyped]  # the package ships no types
    UNSUPPORTED,
    OpenApiVersion,
    convert,
)

from supervisor.model import sizes, validators

_ANYTHING: Final = {"type": ["null", "boolean", "number", "string", "array", "object"]}
_DIGITS: Final = {"type": "string", "pattern": r"^\s*[+-]?[0-9]+\s*$"}

_KNOWN: Final[Mapping[Any, dict[str, Any]]] = {
    validators.text: {"type": "string"},
    validators.non_empty_text: {"type": "string", "minLength": 1},
    validators.strict_bool: {"type": "boolean"},
    validators.strict_int: {"type": "integer"},
    validators.lenient_bool: {
        "anyOf": [
            {"type": "boolean"},
            {
                "type": "string",
                "description": "In any case of letters",
                "enum": sorted(validators.TRUE_WORDS | validators.FALSE_WORDS),
            },
            {"type": ["null", "number", "array", "object"], "description": "By its truth"},
        ]
    },
    validators.lenient_int: {"anyOf": [{"type": "number"}, _DIGITS]},
    validators.lenient_float: {"anyOf": [{"type": "number"}, {"type": "string", "description": "A number"}]},
    sizes.size: {
        "anyOf": [
            {"type": "integer", "minimum": 1},
            {"type": "string", "description": "Bytes, or with a unit: 512M, 1.5G"},
        ]
    },
    validators.version: {"type": ["string", "number", "null"], "maxLength": validators.MAX_VERSION_LENGTH},
    validators.required_version: {"type": ["string", "number"], "maxLength": validators.MAX_VERSION_LENGTH},
    validators.port: {"anyOf": [{"type": "integer", "minimum": 1, "maximum": 65535}, _DIGITS]},
    validators.url: {"type": "string", "format": "uri", "maxLength": validators.MAX_URL_LENGTH},
    validators.docker_image: {"type": "string", "maxLength": validators.MAX_IMAGE_LENGTH},
    validators.uuid_hex: {"type": "string", "pattern": "^[0-9a-f]{32}$"},
    validators.token: {"type": "string", "pattern": "^[0-9a-f]{32,256}$"},
    validators.json_object: {"type": "object", "additionalProperties": True},
    dict: {"type": "object", "additionalProperties": True},
    list: {"type": "array", "items": _ANYTHING},
    object: _ANYTHING,
    bool: {"type": "boolean"},
}


def serialize(schema: Any) -> Any:
    """Describe what the library can't: our own validators; None, and any other function, which accepts anything."""
    if schema is None:
        return {"type": "null"}
    if isinstance(schema, vol.Any):
        return _describe_any(schema)
    if schema is validators.network_ports.schema:
        return {"type": "object", "additionalProperties": {"anyOf": [{"type": "null"}, _KNOWN[validators.port]]}}
    try:
        known = _KNOWN.get(schema)
    except TypeError:
        return UNSUPPORTED
    if known is not None:
        return dict(known)
    if inspect.isfunction(schema):
        return _describe_function(schema)
    return UNSUPPORTED


def _describe_any(schema: vol.Any) -> dict[str, Any]:
    # The library folds None into a keyword that 3.1 dropped.
    choices = [
        convert(choice, custom_serializer=serialize, openapi_version=OpenApiVersion.V3_1)
        for choice in schema.validators
    ]
    return choices[0] if len(choices) == 1 else {"anyOf": choices}


def _describe_function(function: Callable[..., Any]) -> dict[str, Any]:
    """Look into what `unique_list` and `one_of` made; their results carry the members they were made with."""
    made = inspect.getclosurevars(function).nonlocals if function.__module__ == validators.__name__ else {}
    if isinstance(made.get("checked"), vol.Schema):
        listed: dict[str, Any] = convert(
            made["checked"], custom_serializer=serialize, openapi_version=OpenApiVersion.V3_1
        )
        return {**listed, "uniqueItems": True}
    if isinstance(made.get("values"), tuple):
        return {"type": "string", "enum": list(made["values"])}
    return dict(_ANYTHING)
