"""Progress on a terminal, drawn on stderr by rich."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Self

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    SpinnerColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from supervisor.cli.job_view import JobView


def _console(*, colours: bool) -> Console:
    return Console(stderr=True, color_system="auto" if colours else None, highlight=False, markup=False, emoji=False)


@contextmanager
def spinner(message: str, *, colours: bool) -> Iterator[None]:
    with _console(colours=colours).status(message):
        yield


class BarReporter:
    """A line for each job: what it is, a bar, the percentage, the stage, the time it took and may still take."""

    def __init__(self, *, colours: bool) -> None:
        self._progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=30),
            TextColumn("{task.percentage:>3.0f} %", markup=False),
            TimeElapsedColumn(),
            TimeRemainingColumn(elapsed_when_finished=True),
            TextColumn("{task.fields[stage]}", markup=False, style="dim"),
            console=_console(colours=colours),
            transient=True,
        )
        self._tasks: dict[str, TaskID] = {}

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def update(self, view: JobView) -> None:
        task = self._tasks.get(view.uuid)
        if task is None:
            task = self._tasks[view.uuid] = self._progress.add_task(view.title, total=100, stage="")
        self._progress.update(task, completed=view.percent, stage=f"{view.stage} {view.amount}".strip())

    def gone(self, uuid: str) -> None:
        if (task := self._tasks.pop(uuid, None)) is not None:
            self._progress.remove_task(task)
