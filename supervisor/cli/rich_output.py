"""Draws on a terminal with rich. Every string comes in already safe; markup in it is never interpreted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

from rich.cells import cell_len
from rich.console import Console, Group
from rich.live import Live
from rich.markdown import Markdown
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from supervisor.cli.columns import Column

_GAP = 2
_NARROWEST = 8
_READABLE = 40
_INDENT = 4
_STYLES = {
    "started": "green",
    "running": "green",
    "healthy": "green",
    "startup": "yellow",
    "stopped": "dim",
    "unknown": "dim",
    "-": "dim",
    "error": "red",
    "failed": "red",
}


def _console(*, colours: bool) -> Console:
    return Console(color_system="auto" if colours else None, highlight=False, markup=False, emoji=False)


def table(columns: Sequence[Column], rows: Sequence[Sequence[str]], *, colours: bool) -> None:
    console = _console(colours=colours)
    widths = _widths(columns, rows, console.width)
    if columns[-1].wraps and widths[-1] < min(_READABLE, max((cell_len(row[-1]) for row in rows), default=0)):
        _print_with_last_below(console, columns[:-1], rows)
        return
    _print(console, columns, rows, widths)


def _print_with_last_below(console: Console, columns: Sequence[Column], rows: Sequence[Sequence[str]]) -> None:
    """Print below each row what its last cell says: beside the others there is no room to read it."""
    beside = [row[:-1] for row in rows]
    widths = _widths(columns, beside, console.width)
    for number, row in enumerate(rows):
        _print(console, columns, beside[number : number + 1], widths, header=number == 0)
        if row[-1] != "-":
            console.print(Padding(Text(row[-1]), (0, 0, 0, _INDENT)))


def _print(
    console: Console,
    columns: Sequence[Column],
    rows: Sequence[Sequence[str]],
    widths: Sequence[int],
    *,
    header: bool = True,
) -> None:
    # Too wide even so: let the terminal break the lines, rather than fold words within their cells.
    console.width = max(console.width, sum(widths) + _GAP * (len(widths) - 1))
    grid = _grid(columns, rows, widths)
    grid.show_header = header
    console.print(grid)


def _grid(columns: Sequence[Column], rows: Sequence[Sequence[str]], widths: Sequence[int]) -> Table:
    grid = Table(box=None, pad_edge=False, padding=(0, _GAP, 0, 0), header_style="bold")
    for column, width in zip(columns, widths, strict=True):
        grid.add_column(
            column.title,
            justify="right" if column.right else "left",
            no_wrap=column.flexible,
            overflow="ellipsis" if column.flexible else "fold",
            width=width,
        )
    for row in rows:
        grid.add_row(*(Text(cell, style=_STYLES.get(cell, "")) for cell in row))
    return grid


class LiveTable:
    """A table that is drawn again in place, on a screen of its own as long as the context lasts."""

    def __init__(self, columns: Sequence[Column], *, colours: bool) -> None:
        self._columns = columns
        self._console = _console(colours=colours)
        self._live = Live(console=self._console, screen=True, auto_refresh=False)

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def show(self, rows: Sequence[Sequence[str]], footer: str) -> None:
        """Draw as many rows as fit, and the footer below."""
        shown = rows[: max(1, self._console.height - 3)]
        grid = _grid(self._columns, shown, _widths(self._columns, rows, self._console.width))
        self._live.update(Group(grid, Text(), Text(footer, style="dim", no_wrap=True)), refresh=True)


def _widths(columns: Sequence[Column], rows: Sequence[Sequence[str]], available: int) -> list[int]:
    """Decide how wide each column is: what identifies a row stays whole on a narrow terminal, the flexible give way."""
    widths = [max([len(column.title), *(cell_len(row[index]) for row in rows)]) for index, column in enumerate(columns)]
    shrinking = (index for index, column in enumerate(columns) if column.flexible or column.wraps)
    flexible = sorted(shrinking, key=lambda at: widths[at])
    spare = available - _GAP * (len(columns) - 1) - sum(widths) + sum(widths[index] for index in flexible)
    while flexible:
        # The narrowest first: what it does not need is left to the others.
        index = flexible[0]
        widths[index] = min(widths[index], max(_NARROWEST, spare // len(flexible)))
        spare -= widths[index]
        flexible.pop(0)
    return widths


def record(lines: Sequence[tuple[str, str]], *, colours: bool) -> None:
    grid = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    grid.add_column(style="bold", no_wrap=True)
    grid.add_column(overflow="fold")
    for label, value in lines:
        grid.add_row(label, Text(value, style=_STYLES.get(value, "")))
    _console(colours=colours).print(grid)


def markdown(document: str, *, colours: bool) -> None:
    # No terminal hyperlinks: the words of a link must not be able to hide where it leads.
    _console(colours=colours).print(Markdown(document, hyperlinks=False))
