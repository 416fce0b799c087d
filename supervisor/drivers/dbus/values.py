"""Values on their way to and from the bus."""

from __future__ import annotations

from typing import Any

import attrs

from supervisor.drivers.dbus.library import Library
from supervisor.errors import Invalid


@attrs.frozen
class Variant:
    """A value that carries its D-Bus signature with it, as type `v` wants."""

    signature: str
    value: Any


def received(library: Library, value: Any, *, typed: bool = False) -> Any:
    """Unwrap the variants in what came from the bus: plain lists, dicts, bytes, strings and numbers remain.

    With `typed` they become our own `Variant`, for what has to be sent back as it came.
    """
    if isinstance(value, library.package.Variant):
        inside = received(library, value.value, typed=typed)
        return Variant(value.signature, inside) if typed else inside
    if isinstance(value, list | tuple):
        # One of the libraries has structures as tuples.
        return [received(library, item, typed=typed) for item in value]
    if isinstance(value, dict):
        return {key: received(library, item, typed=typed) for key, item in value.items()}
    return value


def plain(value: Any) -> Any:
    """Unwrap our own variants, however deep."""
    match value:
        case Variant():
            return plain(value.value)
        case list():
            return [plain(item) for item in value]
        case dict():
            return {key: plain(item) for key, item in value.items()}
    return value


def sendable(library: Library, value: Any) -> Any:
    """Make the library's own forms of what goes to the bus.

    Raises:
        Invalid: a text that D-Bus can't carry; the bus would cut the connection of whoever sends one.
    """
    match value:
        case Variant():
            return library.package.Variant(value.signature, sendable(library, value.value))
        case str():
            _check(value)
            return str(value)
        case list() | tuple():
            return [sendable(library, item) for item in value]
        case dict():
            return {sendable(library, key): sendable(library, item) for key, item in value.items()}
    return value


def _check(text: str) -> None:
    if "\0" in text:
        raise Invalid("A text with a NUL character can't be sent to a service of the host")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise Invalid("A text that is not Unicode can't be sent to a service of the host") from None
