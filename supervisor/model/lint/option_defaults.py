"""The defaults of options against the schema beside them (add-on contract §1.7, §1.8)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import voluptuous as vol

from supervisor.model.manifest import Manifest
from supervisor.model.option_types import Kind, TypeRule
from supervisor.model.options import SECRET_PREFIX, ListRule, MappingRule, Rule, parse_schema

from .finding import Notes

_Path = Sequence[str | int]


def check_options(notes: Notes, manifest: Manifest) -> None:
    """Note defaults that would keep the add-on from starting, and those that nobody will ever see."""
    if manifest.schema is None:
        if manifest.options:
            notes.advice("options", ("options",), "are ignored: 'schema' says that there are none")
        return
    _mapping(notes, parse_schema(manifest.schema), manifest.options, ())
    _useless(notes, parse_schema(manifest.schema), ())


def _mapping(notes: Notes, rule: MappingRule, options: Mapping[str, Any], path: _Path) -> None:
    for key, value in options.items():
        field = rule.fields.get(key)
        here = ("options", *path, key)
        if field is None:
            notes.advice("options", here, "is not in 'schema' and is dropped")
        else:
            _value(notes, field, value, (*path, key))
    for key, field in rule.fields.items():
        if key in options or field.optional:
            continue
        here = ("schema", *path, key)
        if isinstance(field, MappingRule):
            text = "can't be left out: without a default in 'options' the user must set it before the first start"
        else:
            text = "has no default: null in 'options' asks the user for it, ? after the type lets it be left out"
        notes.advice("no-default", here, text)


def _value(notes: Notes, rule: Rule, value: Any, path: _Path) -> None:
    here = ("options", *path)
    if isinstance(rule, MappingRule):
        if isinstance(value, Mapping):
            _mapping(notes, rule, value, path)
        else:
            notes.error("options", here, "must be a mapping, says 'schema'")
    elif isinstance(rule, ListRule):
        if not isinstance(value, list):
            notes.error("options", here, "must be a list, says 'schema'")
        elif rule.member is not None:
            for index, item in enumerate(value):
                _value(notes, rule.member, item, (*path, index))
    elif value is None:
        _null(notes, rule, here)
    elif not (isinstance(value, str) and value.startswith(SECRET_PREFIX)):
        try:
            rule.check(value)
        except vol.Invalid as err:
            notes.error("options", here, f"the default doesn't fit 'schema': {err.error_message}")


def _null(notes: Notes, rule: TypeRule, here: _Path) -> None:
    if rule.optional:
        text = "null makes the user set an option that 'schema' calls optional: leave it out of 'options'"
        notes.advice("options", here, text)


def _useless(notes: Notes, rule: Rule, path: _Path) -> None:
    """Note types that accept no value."""
    match rule:
        case MappingRule():
            for key, field in rule.fields.items():
                _useless(notes, field, (*path, key))
        case ListRule(member=None):
            notes.advice("options", ("schema", *path), "is an empty list: no value will be accepted")
        case ListRule(member=member) if member is not None:
            _useless(notes, member, (*path, 0))
        case TypeRule(kind=Kind.NOTHING):
            notes.advice("options", ("schema", *path), "names no type: no value will be accepted")
