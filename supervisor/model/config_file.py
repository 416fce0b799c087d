"""Reading YAML and JSON files that strangers wrote, without giving them a way to hurt us."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Hashable, Iterator
from pathlib import Path
from typing import Any, Final, NoReturn

import yaml

from supervisor.const import MIB
from supervisor.errors import Invalid

CONFIG_SUFFIXES: Final = (".yaml", ".yml", ".json")
MAX_FILE_BYTES: Final = MIB
MAX_DEPTH: Final = 64
# What a file's nodes may come to with every alias written out.
MAX_NODES: Final = 100_000
_MAX_NUMBER_LENGTH: Final = 64
_SKIPPED_FOLDER: Final = "rootfs"


def find_config_files(folder: Path, stem: str) -> Iterator[Path]:
    """Yield the `<stem>.yaml`, `.yml` and `.json` files below a folder in a stable order. Blocking.

    Hidden folders, `rootfs` folders and whatever a symbolic link leads out of the folder to are skipped.

    Raises:
        OSError: the folder can't be walked.
    """
    root = folder.resolve()
    names = {stem + suffix for suffix in CONFIG_SUFFIXES}
    for parent, folders, files in os.walk(root, onerror=_raise):
        folders[:] = sorted(name for name in folders if not name.startswith(".") and name != _SKIPPED_FOLDER)
        for name in sorted(names.intersection(files)):
            file = Path(parent, name)
            if not file.is_symlink() or _leads_inside(file, root):
                yield folder / file.relative_to(root)


def _leads_inside(link: Path, root: Path) -> bool:
    try:
        target = link.resolve(strict=True)
    except (OSError, RuntimeError):
        return False
    return target.is_relative_to(root)


def _raise(error: OSError) -> NoReturn:
    raise error


def read_text(path: Path, limit: int = MAX_FILE_BYTES) -> str:
    """Return the content of a regular file that is UTF-8 and no longer than `limit` bytes. Blocking.

    Raises:
        Invalid: it is something else.
    """
    try:
        # A FIFO would keep a plain open() waiting.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with open(descriptor, "rb") as file:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise Invalid(f"{path.name} is not a regular file")
            content = file.read(limit + 1)
    except (OSError, ValueError) as err:
        raise Invalid(f"{path.name} can't be read: {getattr(err, 'strerror', None) or err}") from err
    if len(content) > limit:
        raise Invalid(f"{path.name} is longer than {limit} bytes")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as err:
        raise Invalid(f"{path.name} is not UTF-8") from err


def read_config_file(path: Path) -> object:
    """Return what a `.yaml`, `.yml` or `.json` file holds; an empty YAML file holds `{}`. Blocking.

    Raises:
        Invalid: it can't be read, is too large, or is not what its suffix promises.
    """
    content = read_text(path)
    return parse_json(content, path.name) if path.suffix == ".json" else parse_yaml(content, path.name)


def parse_json(content: str, name: str) -> object:
    """Parse strict JSON.

    Raises:
        Invalid: it is none.
    """
    try:
        value: object = json.loads(content, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as err:
        raise Invalid(f"{name} is not valid JSON: {err}") from err
    return value


def parse_yaml(content: str, name: str) -> object:
    """Parse one YAML document of plain data.

    Raises:
        Invalid: it is none, names types beyond plain data, or its aliases unfold to too much.
    """
    try:
        _measure(content, name)
        # The loader is the safe one, kept from making dates.
        value: object = yaml.load(content, Loader=_PlainLoader)  # noqa: S506
    except (yaml.YAMLError, ValueError, RecursionError) as err:
        raise Invalid(f"{name} is not valid YAML: {err}") from err
    return {} if value is None else value


def _refuse_constant(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no JSON number")


class _PlainLoader(yaml.CSafeLoader):
    """Scalars that look like dates stay text: JSON, which everything becomes in the end, has no dates."""

    yaml_implicit_resolvers = {  # noqa: RUF012 - how PyYAML has it
        first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
        for first, resolvers in yaml.CSafeLoader.yaml_implicit_resolvers.items()
    }

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:  # noqa: FBT001, FBT002
        try:
            return super().construct_mapping(node, deep=deep)
        except TypeError as err:
            raise yaml.constructor.ConstructorError(None, None, f"unusable key: {err}", node.start_mark) from err


def _construct_int(loader: _PlainLoader, node: yaml.ScalarNode) -> int:
    # Python makes any number of a long 0xfff..., and then refuses to write it out.
    if len(node.value) > _MAX_NUMBER_LENGTH:
        raise yaml.constructor.ConstructorError(None, None, "the number is too long", node.start_mark)
    number: int = loader.construct_yaml_int(node)
    return number


_PlainLoader.add_constructor("tag:yaml.org,2002:int", _construct_int)


def _measure(content: str, name: str) -> None:
    """Count nodes with aliases unfolded, from the parser's events alone: nothing has been built yet."""
    sizes: dict[str, int] = {}
    open_nodes: list[tuple[str | None, int]] = []
    total = 0

    def close(anchor: str | None, began: int) -> None:
        if anchor is not None:
            sizes[anchor] = total - began

    for event in yaml.parse(content, Loader=yaml.CSafeLoader):
        if isinstance(event, yaml.AliasEvent):
            if any(anchor == event.anchor for anchor, _ in open_nodes):
                raise Invalid(f"{name} holds an alias of itself")
            total += sizes.get(event.anchor or "", 1)
        elif isinstance(event, yaml.ScalarEvent):
            total += 1
            close(event.anchor, total - 1)
        elif isinstance(event, yaml.SequenceStartEvent | yaml.MappingStartEvent):
            open_nodes.append((event.anchor, total))
            total += 1
        elif isinstance(event, yaml.SequenceEndEvent | yaml.MappingEndEvent):
            close(*open_nodes.pop())
        if total > MAX_NODES or len(open_nodes) > MAX_DEPTH:
            raise Invalid(f"{name} holds more, or more deeply nested, data than a configuration should")
