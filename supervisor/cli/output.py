"""Shows what the daemon answered: as a table for people, as JSON, YAML or bare names for scripts.

On a terminal the tables are drawn by rich (`rich_output`, imported when needed); elsewhere they are plain aligned text,
so that a script's pipe costs nothing and gets the same columns.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TextIO

import attrs
import click

from supervisor.cli import text
from supervisor.cli.columns import Column, Field, show

FORMATS = ("table", "json", "yaml", "name")


def dump_yaml(data: object) -> str:
    """Return data as YAML; anything a terminal would act on is escaped."""
    import yaml  # noqa: PLC0415 - costs 20 ms that only this format should pay

    plain = text.is_safe(json.dumps(data, ensure_ascii=False, default=str))
    # The C dumper can't write lone surrogates at all; the other one escapes them.
    dumper = getattr(yaml, "CSafeDumper", yaml.SafeDumper) if plain else yaml.SafeDumper
    document = yaml.dump(data, Dumper=dumper, sort_keys=False, allow_unicode=plain, width=120)
    return str(document).removesuffix("...\n")


def load_yaml(document: str) -> Any:
    """Parse YAML (or JSON).

    Raises:
        ValueError: it is neither.
    """
    import yaml  # noqa: PLC0415 - costs 20 ms that only few commands need

    try:
        return yaml.load(document, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # noqa: S506 - a safe loader
    except (yaml.YAMLError, RecursionError) as err:
        raise ValueError(str(err)) from err


@attrs.frozen
class Output:
    """Writes to stdout in the chosen format. `colours` is already decided: a terminal, and nobody said no."""

    format: str
    terminal: bool
    colours: bool

    def rows(
        self,
        rows: Sequence[Mapping[str, Any]],
        columns: Sequence[Column],
        *,
        name: str,
        empty: str,
        data: object = None,
    ) -> None:
        """Show a list; `name` is the key that `-o name` prints, `data` what JSON shows if not the rows."""
        if self._machine(rows if data is None else data, (row.get(name) for row in rows)):
            return
        if not rows:
            click.echo(empty, err=True)
            return
        cells = [[column.of(row) for column in columns] for row in rows]
        if self.terminal:
            from supervisor.cli import rich_output  # noqa: PLC0415 - rich costs 80 ms that pipes need not pay

            rich_output.table(columns, cells, colours=self.colours)
            return
        titles = [column.title for column in columns]
        widths = [max(len(line[index]) for line in [titles, *cells]) for index in range(len(columns))]
        for line in [titles, *cells]:
            padded = (
                cell.rjust(width) if column.right else cell.ljust(width)
                for cell, width, column in zip(line, widths, columns, strict=True)
            )
            click.echo("  ".join(padded).rstrip())

    def record(self, data: Mapping[str, Any], fields: Iterable[Field], *, name: object = None) -> None:
        """Show one thing as lines of label and value."""
        if self._machine(data, [name]):
            return
        lines = []
        for field in fields:
            value = show(data.get(field.value) if isinstance(field.value, str) else field.value(data))
            if not (field.optional and value == "-"):
                lines.append((field.label, value))
        if self.terminal:
            from supervisor.cli import rich_output  # noqa: PLC0415 - rich costs 80 ms that pipes need not pay

            rich_output.record(lines, colours=self.colours)
            return
        width = max((len(label) for label, _ in lines), default=0)
        for label, value in lines:
            click.echo(f"{label.ljust(width)}  {value}")

    def done(self, message: str, *, name: str | None = None, data: object = None) -> None:
        """Say that something was done; scripts get what the daemon answered."""
        if not self._machine({} if data is None else data, [name]):
            click.echo(text.line(message))

    def document(self, markdown: str) -> None:
        """Show a document (changelog, documentation): rendered on a terminal, as it is elsewhere."""
        if self._machine(markdown, []):
            return
        if self.terminal:
            from supervisor.cli import rich_output  # noqa: PLC0415 - rich costs 80 ms that pipes need not pay

            rich_output.markdown(text.block(markdown), colours=self.colours)
            return
        click.echo(text.block(markdown).rstrip("\n"))

    def data(self, data: object) -> None:
        """Show data of any shape: JSON unless YAML was asked for."""
        click.echo(dump_yaml(data).rstrip("\n") if self.format == "yaml" else self._json(data))

    def _machine(self, data: object, names: Iterable[object]) -> bool:
        if self.format == "json":
            click.echo(self._json(data))
        elif self.format == "yaml":
            click.echo(dump_yaml(data), nl=False)
        elif self.format == "name":
            for name in names:
                if name is not None:
                    click.echo(text.line(str(name)))
        else:
            return False
        return True

    @staticmethod
    def _json(data: object) -> str:
        return text.json_safe(json.dumps(data, indent=2, ensure_ascii=False, default=str))


def is_terminal(stream: TextIO) -> bool:
    """Tell whether a stream is a terminal that can do more than print lines."""
    return stream.isatty() and os.environ.get("TERM") not in (None, "", "dumb")
