"""Add-on options against the schema that their add-on declares (add-on contract §1.7, §1.8)."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final, Protocol, TypeAlias

import attrs
import voluptuous as vol

from supervisor.errors import Invalid
from supervisor.model.option_types import Kind, TypeRule, parse_type, password_hash

SECRET_PREFIX: Final = "!secret "  # noqa: S105 - how a reference is written
MAX_SCHEMA_DEPTH: Final = 32
_MAX_SHOWN: Final = 300

SecretLookup: TypeAlias = Callable[[str], str | int | float | bool | None]


class DeviceLike(Protocol):
    """What options need to know of a device: its node, its stable link where it has one, its kernel subsystem."""

    @property
    def path(self) -> str: ...

    @property
    def by_id(self) -> str | None: ...

    @property
    def subsystem(self) -> str: ...


class DeviceLookup(Protocol):
    """The hardware list as options see it."""

    def find(self, path: str) -> DeviceLike | None:
        """Return the device with this node, sysfs path or link."""
        ...

    def by_subsystem(self, subsystem: str | None) -> Iterable[DeviceLike]:
        """Return the devices of a subsystem, or all."""
        ...


class NoDevices:
    """A machine on which no hardware is known."""

    def find(self, path: str) -> DeviceLike | None:  # noqa: ARG002 - the protocol's signature
        return None

    def by_subsystem(self, subsystem: str | None) -> Iterable[DeviceLike]:  # noqa: ARG002 - the protocol's signature
        return ()


@attrs.frozen
class ListRule:
    """Every member follows `member`; none means that the schema names no type and nothing is accepted."""

    member: TypeRule | MappingRule | None

    @property
    def optional(self) -> bool:
        return isinstance(self.member, TypeRule) and self.member.optional


@attrs.frozen
class MappingRule:
    """A nested mapping is never optional itself; only defaults can supply it."""

    fields: Mapping[str, Rule]
    optional: bool = False


Rule: TypeAlias = TypeRule | ListRule | MappingRule


@attrs.frozen
class ValidatedOptions:
    """What became of a set of options.

    `stored` keeps references to secrets as they were written, `resolved` holds the secrets themselves and is meant for
    the add-on alone. `dropped` lists the paths of keys that the schema doesn't know; `password_hashes` are SHA-1 in
    upper-case hex.
    """

    stored: dict[str, Any]
    resolved: dict[str, Any] = attrs.field(repr=False)
    devices: tuple[DeviceLike, ...] = ()
    password_hashes: frozenset[str] = attrs.field(default=frozenset(), repr=False)
    dropped: tuple[str, ...] = ()

    @property
    def rendered(self) -> bytes:
        """The content of the `options.json` that the add-on finds."""
        return json.dumps(self.resolved, indent=2, ensure_ascii=False).encode()


def parse_schema(schema: object) -> MappingRule:
    """Parse an option schema.

    Raises:
        vol.Invalid: a type string or the nesting is wrong; the error's path leads there.
    """
    return _parse_mapping(schema, [], 0)


def check_schema(schema: object) -> dict[str, Any]:
    """Return the schema unchanged when it is one; a building block for the manifest's own schema.

    Raises:
        vol.Invalid: as `parse_schema`.
    """
    parse_schema(schema)
    if not isinstance(schema, dict):
        raise vol.DictInvalid("expected a dictionary")
    return schema


def merge_options(defaults: Mapping[str, Any], user: Mapping[str, Any]) -> dict[str, Any]:
    """Lay the user's options over the defaults: mappings merge, everything else is replaced. Neither is changed."""
    merged = dict(defaults)
    for key, value in user.items():
        default = merged.get(key)
        if isinstance(default, Mapping) and isinstance(value, Mapping):
            merged[key] = merge_options(default, value)
        else:
            merged[key] = value
    return merged


class OptionSchema:
    """The schema of one add-on. Without a schema the add-on takes no options: whatever is set becomes `{}`."""

    def __init__(self, schema: Mapping[str, Any] | None, name: str, slug: str) -> None:
        """Parse `schema`; `name` and the full `slug` stand in every error's text."""
        self._who = f"{name} ({slug})"
        self._root: MappingRule | None = None
        if schema is not None:
            try:
                self._root = parse_schema(dict(schema))
            except vol.Invalid as err:
                raise Invalid(f"The option schema of {self._who} is wrong: {err}") from err

    def option_devices(self, options: Mapping[str, Any], devices: DeviceLookup) -> tuple[DeviceLike, ...]:
        """Return the devices that options name and that are there now; the options need not be valid."""
        found = {} if self._root is None else {device.path: device for device in _devices(self._root, options, devices)}
        return tuple(found.values())

    def validate(self, options: object, *, secrets: SecretLookup, devices: DeviceLookup) -> ValidatedOptions:
        """Check options and return what to store and what to hand to the add-on.

        Raises:
            Invalid: with a text that names the option, the add-on and its slug.
        """
        if self._root is None:
            return ValidatedOptions({}, {})
        if not isinstance(options, Mapping):
            raise Invalid(f"Options of {self._who} must be a mapping. Got {_shown(options)}")
        return _Run(self._who, secrets, devices).run(self._root, options)


def _parse(element: object, path: list[Any], depth: int) -> Rule:
    if isinstance(element, str):
        return _parse_text(element, path)
    if isinstance(element, list):
        return ListRule(_parse_member(element, path, depth))
    if isinstance(element, dict):
        return _parse_mapping(element, path, depth)
    raise vol.Invalid("expected an option type, a list or a dictionary", path)


def _parse_text(element: str, path: list[Any]) -> TypeRule:
    try:
        return parse_type(element)
    except vol.Invalid as err:
        err.prepend(path)
        raise


def _parse_member(element: list[Any], path: list[Any], depth: int) -> TypeRule | MappingRule | None:
    if not element:
        return None
    here = [*path, 0]
    match element[0]:
        case str() as text:
            return _parse_text(text, here)
        case dict() as mapping:
            return _parse_mapping(mapping, here, depth + 1)
    raise vol.Invalid("expected an option type or a dictionary", here)


def _parse_mapping(element: object, path: list[Any], depth: int) -> MappingRule:
    if not isinstance(element, dict):
        raise vol.DictInvalid("expected a dictionary", path)
    if depth > MAX_SCHEMA_DEPTH:
        raise vol.Invalid(f"is nested deeper than {MAX_SCHEMA_DEPTH} levels", path)
    fields: dict[str, Rule] = {}
    for key, value in element.items():
        if not isinstance(key, str):
            raise vol.TypeInvalid("expected str as a key", path)
        fields[key] = _parse(value, [*path, key], depth + 1)
    return MappingRule(fields)


@attrs.define
class _Run:
    """One validation: walks options and schema side by side and collects what it meets."""

    who: str
    secrets: SecretLookup
    devices: DeviceLookup
    found: dict[str, DeviceLike] = attrs.field(factory=dict)
    hashes: set[str] = attrs.field(factory=set)
    dropped: list[str] = attrs.field(factory=list)

    def run(self, root: MappingRule, options: Mapping[Any, Any]) -> ValidatedOptions:
        stored, resolved = self._mapping(root, options, "", "root")
        return ValidatedOptions(
            stored, resolved, tuple(self.found.values()), frozenset(self.hashes), tuple(self.dropped)
        )

    def _mapping(
        self, rule: MappingRule, options: Mapping[Any, Any], path: str, container: str
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        stored: dict[str, Any] = {}
        resolved: dict[str, Any] = {}
        for key, value in options.items():
            here = f"{path}.{key}" if path else str(key)
            field = rule.fields.get(key) if isinstance(key, str) else None
            if field is None:
                self.dropped.append(here)
                continue
            stored[key], resolved[key] = self._value(field, value, here, key)
        for key, field in rule.fields.items():
            if key not in stored and not field.optional:
                shown = _shown(_redacted(options, rule))
                raise Invalid(f"Missing option '{key}' in {container} in {self.who}. Got {shown}")
        return stored, resolved

    def _value(self, rule: Rule, value: Any, path: str, key: str) -> tuple[Any, Any]:
        if isinstance(rule, MappingRule):
            if not isinstance(value, Mapping):
                raise Invalid(f"Invalid dict for option '{path}' in {self.who}. Got {_shown(_redacted(value, rule))}")
            return self._mapping(rule, value, path, key)
        if isinstance(rule, ListRule):
            return self._list(rule, value, path, key)
        return self._scalar(rule, value, path)

    def _list(self, rule: ListRule, value: Any, path: str, key: str) -> tuple[list[Any], list[Any]]:
        if rule.member is None:
            raise Invalid(f"type error: the list option '{path}' has no member type in {self.who}")
        if not isinstance(value, list):
            raise Invalid(f"Invalid list for option '{path}' in {self.who}. Got {_shown(_redacted(value, rule))}")
        pairs = [self._value(rule.member, item, f"{path}[{index}]", key) for index, item in enumerate(value)]
        return [stored for stored, _ in pairs], [resolved for _, resolved in pairs]

    def _scalar(self, rule: TypeRule, value: Any, path: str) -> tuple[Any, Any]:
        if value is None:
            raise Invalid(f"Missing required option '{path}' in {self.who}")
        if not isinstance(value, str) or not value.startswith(SECRET_PREFIX):
            checked = self._typed(rule, value, path, _shown(_redacted(value, rule)))
            return checked, checked
        name = value.removeprefix(SECRET_PREFIX)
        secret = self.secrets(name)
        if secret is None:
            raise Invalid(f"Unknown secret '{name[:_MAX_SHOWN]}' for option '{path}' in {self.who}")
        return value, self._typed(rule, secret, path, _shown(value))

    def _typed(self, rule: TypeRule, value: Any, path: str, shown: str) -> Any:
        """Apply the type; `shown` stands in the error, since the value itself may be a secret."""
        try:
            checked = rule.check(value)
        except vol.Invalid as err:
            raise Invalid(f"{err.error_message} for option '{path}' in {self.who}. Got {shown}") from None
        if rule.kind is Kind.PASSWORD and checked:
            self.hashes.add(password_hash(checked))
        if rule.kind is Kind.DEVICE:
            self._device(rule, checked, path, shown)
        return checked

    def _device(self, rule: TypeRule, device_path: str, path: str, shown: str) -> None:
        device = self.devices.find(device_path)
        if device is None:
            raise Invalid(f"Device {shown} of option '{path}' does not exist in {self.who}")
        if rule.subsystem is not None and device.subsystem != rule.subsystem:
            raise Invalid(
                f"Device {shown} of option '{path}' doesn't match the filter subsystem={rule.subsystem} in {self.who}"
            )
        self.found.setdefault(device.path, device)


def _devices(rule: Rule | None, value: object, devices: DeviceLookup) -> Iterator[DeviceLike]:
    if isinstance(rule, MappingRule) and isinstance(value, Mapping):
        for key, field in rule.fields.items():
            yield from _devices(field, value.get(key), devices)
    elif isinstance(rule, ListRule) and isinstance(value, list):
        for item in value:
            yield from _devices(rule.member, item, devices)
    elif isinstance(rule, TypeRule) and rule.kind is Kind.DEVICE and isinstance(value, str):
        device = devices.find(value)
        if device is not None and rule.subsystem in (None, device.subsystem):
            yield device


def _redacted(value: Any, rule: Rule | None) -> Any:
    """Return `value` fit for an error's text: a password shows as its type alone, keys that nobody knows not at all.

    So does a value of the wrong shape where the rule holds passwords.
    """
    if rule is None:
        return value
    if isinstance(rule, MappingRule) and isinstance(value, Mapping):
        return {key: _redacted(item, rule.fields[key]) for key, item in value.items() if key in rule.fields}
    if isinstance(rule, ListRule) and isinstance(value, list):
        return [_redacted(item, rule.member) for item in value]
    return f"<{type(value).__name__}>" if _holds_password(rule) else value


def _holds_password(rule: Rule | None) -> bool:
    if isinstance(rule, MappingRule):
        return any(_holds_password(field) for field in rule.fields.values())
    if isinstance(rule, ListRule):
        return _holds_password(rule.member)
    return rule is not None and rule.kind is Kind.PASSWORD


def _shown(value: Any) -> str:
    shown = repr(value)
    return shown if len(shown) <= _MAX_SHOWN else f"{shown[:_MAX_SHOWN]}..."
