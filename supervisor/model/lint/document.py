"""A YAML or JSON file together with where in it everything stands."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final, TypeGuard

import attrs
import yaml

from supervisor.errors import Invalid
from supervisor.model.config_file import parse_json, parse_yaml, read_text
from supervisor.model.validators import TRUE_WORDS

_MERGE: Final = "tag:yaml.org,2002:merge"
_BOOL: Final = "tag:yaml.org,2002:bool"
_MAX_LOOKS: Final = 10_000

Place = tuple[int | None, int | None]


@attrs.frozen
class Document:
    """`value` is what the store would read. Places are best effort: JSON is looked at as the YAML that it nearly is."""

    file: Path
    value: object
    root: yaml.Node | None = attrs.field(repr=False)

    @classmethod
    def read(cls, file: Path) -> Document:
        """Read a file as the store does. Blocking.

        Raises:
            Invalid: it can't be read; `error_place` tells where the trouble is.
        """
        content = read_text(file)
        value = parse_json(content, file.name) if file.suffix == ".json" else parse_yaml(content, file.name)
        try:
            # Only after it was parsed, and so measured, above.
            root = yaml.compose(content, Loader=yaml.CSafeLoader)
        except (yaml.YAMLError, RecursionError):
            root = None
        return cls(file, value, root)

    def place(self, path: Sequence[object]) -> Place:
        """Return line and column of a key or item, or of the nearest thing around it that is there."""
        mark = self._walk(path)[0]
        return (None, None) if mark is None else _place(mark)

    def scalar(self, path: Sequence[object]) -> yaml.ScalarNode | None:
        """Return the scalar as it was written."""
        _, node, found = self._walk(path)
        return node if found and isinstance(node, yaml.ScalarNode) else None

    def duplicates(self) -> Iterator[tuple[str, Place]]:
        """Yield each key that stands a second time in its mapping; what stood first has no effect."""
        for mapping in self._mappings():
            names: set[str] = set()
            for key in mapping:
                if key.value in names:
                    yield key.value, _place(key.start_mark)
                names.add(key.value)

    def words_as_keys(self) -> Iterator[tuple[str, Place]]:
        """Yield each key such as `on` or `no`, which is true or false to YAML."""
        for mapping in self._mappings():
            for key in mapping:
                if key.tag == _BOOL and key.value.lower() not in ("true", "false"):
                    yield key.value, _place(key.start_mark)

    def _mappings(self) -> Iterator[list[yaml.ScalarNode]]:
        """Yield the plain keys of every mapping."""
        pending = [] if self.root is None else [self.root]
        seen: set[int] = set()
        while pending:
            node = pending.pop()
            if id(node) in seen:
                continue
            seen.add(id(node))
            if isinstance(node, yaml.SequenceNode):
                pending += node.value
            if isinstance(node, yaml.MappingNode):
                pending += [value for _, value in node.value]
                yield [key for key, _ in node.value if isinstance(key, yaml.ScalarNode) and key.tag != _MERGE]

    def _walk(self, path: Sequence[object]) -> tuple[yaml.Mark | None, yaml.Node | None, bool]:
        """Return the mark of the last step that was found, its node, and whether that is the end of the path."""
        node = self.root
        mark = None if node is None else node.start_mark
        for step in path:
            found = _step(node, step)
            if found is None:
                return mark, node, False
            mark, node = found
        return mark, node, True


def error_place(error: Invalid) -> Place:
    """Return where a file that can't be parsed is wrong, as far as its parser told."""
    cause = error.__cause__
    if isinstance(cause, json.JSONDecodeError):
        return cause.lineno, cause.colno
    if isinstance(cause, yaml.MarkedYAMLError) and cause.problem_mark is not None:
        return _place(cause.problem_mark)
    return None, None


def _place(mark: yaml.Mark) -> tuple[int, int]:
    return mark.line + 1, mark.column + 1


def _step(node: yaml.Node | None, step: object) -> tuple[yaml.Mark, yaml.Node] | None:
    if isinstance(node, yaml.MappingNode):
        return next(_entries(node, step, [_MAX_LOOKS]), None)
    if isinstance(node, yaml.SequenceNode) and _is_index(step) and step < len(node.value):
        item = node.value[step]
        return item.start_mark, item
    return None


def _entries(node: yaml.MappingNode, step: object, looks: list[int]) -> Iterator[tuple[yaml.Mark, yaml.Node]]:
    """Yield the entries of that key, the one that counts first: the last written, then what is merged in."""
    merged: list[yaml.Node] = []
    for key, value in reversed(node.value):
        looks[0] -= 1
        if looks[0] < 0:
            return
        if key.tag == _MERGE:
            merged += value.value if isinstance(value, yaml.SequenceNode) else [value]
        elif isinstance(key, yaml.ScalarNode) and _is_key(key, step):
            yield key.start_mark, value
    for other in merged:
        if isinstance(other, yaml.MappingNode):
            yield from _entries(other, step, looks)


def _is_key(key: yaml.ScalarNode, step: object) -> bool:
    if isinstance(step, bool):
        return key.tag == _BOOL and (key.value.lower() in TRUE_WORDS) is step
    return bool(key.value == str(step))


def _is_index(step: Any) -> TypeGuard[int]:
    return isinstance(step, int) and not isinstance(step, bool) and step >= 0
