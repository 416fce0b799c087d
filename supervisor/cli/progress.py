"""Follows jobs of the daemon: asks for them again and again, and reports what moved."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Protocol, Self

import attrs
import click

from supervisor.cli import text
from supervisor.cli.answers import mapping, mappings
from supervisor.cli.client import Client, route
from supervisor.cli.command import Session
from supervisor.cli.failures import ExitCode, Failure
from supervisor.cli.job_view import JobView, raise_for_errors, view

POLL_SECONDS = 0.3


class Reporter(Protocol):
    def __enter__(self) -> Self: ...

    def __exit__(self, *_: object) -> None: ...

    def update(self, view: JobView) -> None: ...

    def gone(self, uuid: str) -> None: ...


class LineReporter:
    """Where no terminal is: a line on stderr for each new stage, and for each further quarter of the way."""

    def __init__(self) -> None:
        self._seen: dict[str, tuple[str, int]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._seen.clear()

    def update(self, view: JobView) -> None:
        step = (view.stage, int(view.percent) // 25)
        if self._seen.get(view.uuid) == step:
            return
        self._seen[view.uuid] = step
        click.echo(f"{view.title}: {f'{view.stage}, ' if view.stage else ''}{view.percent:.0f} %", err=True)

    def gone(self, uuid: str) -> None:
        self._seen.pop(uuid, None)


def reporter(session: Session) -> Reporter:
    if session.stderr_terminal:
        from supervisor.cli.progress_bar import BarReporter  # noqa: PLC0415 - rich costs 80 ms that pipes need not pay

        return BarReporter(colours=session.stderr_colours)
    return LineReporter()


def fetch(client: Client, uuid: str) -> Mapping[str, Any] | None:
    """Return a job, or None when the daemon knows it no longer: most jobs are forgotten as soon as they are done."""
    try:
        return mapping(client.get(route("jobs", uuid)))
    except Failure as failure:
        if failure.exit_code == ExitCode.NOT_FOUND:
            return None
        raise


def ended(client: Client, uuid: str) -> Mapping[str, Any] | None:
    """Return a job that ended lately and was forgotten, or None when the daemon doesn't remember it either."""
    try:
        jobs = mappings(client.get("/jobs/history"), "jobs")
    except Failure as failure:
        if failure.exit_code == ExitCode.NOT_FOUND:
            return None
        raise
    return next((job for job in jobs if job.get("uuid") == uuid), None)


def follow(session: Session, uuid: str, title: str | None = None) -> None:
    """Report a job's progress until it is done.

    Raises:
        Failure: the job ended with errors.
    """
    try:
        with reporter(session) as shown:
            while (job := fetch(session.client, uuid)) is not None:
                shown.update(view(job, title))
                if job.get("done") is True:
                    break
                time.sleep(POLL_SECONDS)
    except KeyboardInterrupt:
        click.echo(f"The daemon goes on with it. Look again with: supervisor jobs watch {text.line(uuid)}", err=True)
        raise
    job = job or ended(session.client, uuid)
    if job is not None:
        raise_for_errors(job)


def follow_started(session: Session, path: str, body: Mapping[str, Any], title: str) -> None:
    """Ask for work in the background, and report its progress until it is done.

    Raises:
        Failure: it was refused, or ended with errors.
    """
    started = mapping(session.client.post(path, {**body, "background": True})).get("job_id")
    if isinstance(started, str):
        follow(session, started, title)


@contextmanager
def watched(session: Session, name: str, reference: str, title: str) -> Iterator[None]:
    """Show on a terminal how far the daemon is with a job, while the block waits for an answer that needs its end."""
    if not session.stderr_terminal:
        yield
        return
    ended = threading.Event()
    with reporter(session) as shown:
        shown.update(JobView(name, text.line(title), 0.0, "", done=False))
        watcher = threading.Thread(target=_watch, args=(session.client, name, reference, title, shown, ended))
        watcher.start()
        try:
            yield
        finally:
            ended.set()
            watcher.join()


def _watch(client: Client, name: str, reference: str, title: str, shown: Reporter, ended: threading.Event) -> None:
    while not ended.wait(POLL_SECONDS):
        try:
            jobs = mappings(client.get("/jobs/info"), "jobs")
        except Failure:
            # Whoever waits for the answer will hear what the matter is.
            return
        for job in jobs:
            if job.get("name") == name and job.get("reference") == reference and job.get("done") is False:
                shown.update(attrs.evolve(view(job, title), uuid=name))
