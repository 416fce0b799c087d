"""`supervisor jobs`: what the daemon is doing."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from typing import Any

import click

from supervisor.cli.answers import mapping, mappings, match_uuid, short
from supervisor.cli.arguments import JOB
from supervisor.cli.client import route
from supervisor.cli.columns import Column, Field, moment
from supervisor.cli.command import Command, Group, Session, pass_session
from supervisor.cli.job_view import all_errors, state, view
from supervisor.cli.progress import POLL_SECONDS, follow, reporter

_COLUMNS = (
    Column("UUID", short),
    Column("JOB", lambda row: "- " * row["depth"] + str(row.get("name") or "-"), flexible=True),
    Column("REFERENCE", "reference"),
    Column("STATE", state),
    Column("PROGRESS", lambda row: f"{view(row).percent:.0f} %", right=True),
    Column("STAGE", "stage", flexible=True),
)
_FIELDS = (
    Field("Job", "name"),
    Field("UUID", "uuid"),
    Field("Reference", "reference"),
    Field("State", state),
    Field("Progress", lambda row: f"{view(row).percent:.0f} %"),
    Field("Stage", lambda row: view(row).stage),
    Field("Created", lambda row: moment(row.get("created"))),
    Field("Extra", "extra", optional=True),
    Field(
        "Errors", lambda row: list(dict.fromkeys(str(error.get("message")) for error in all_errors(row))), optional=True
    ),
)


@click.command("list", cls=Command)
@pass_session
def list_(session: Session) -> None:
    """List the jobs, each with what it is made of below it."""
    jobs = mappings(session.client.get("/jobs/info"), "jobs")
    rows = [row for job in jobs for row in _flat(job, 0)]
    session.output.rows(rows, _COLUMNS, name="uuid", empty="Nothing is going on.", data=jobs)


def _flat(job: Mapping[str, Any], depth: int) -> Iterator[Mapping[str, Any]]:
    yield {**job, "depth": depth}
    for child in mappings(job, "child_jobs"):
        yield from _flat(child, depth + 1)


def _uuid(session: Session, given: str) -> str:
    if len(given.replace("-", "")) == 32:
        return given.replace("-", "").lower()
    jobs = mappings(session.client.get("/jobs/info"), "jobs")
    return match_uuid(given, [str(row.get("uuid")) for job in jobs for row in _flat(job, 0)], "job")


@click.command(cls=Command)
@click.argument("uuid", type=JOB)
@pass_session
def info(session: Session, uuid: str) -> None:
    """Show one job; the beginning of its UUID is enough."""
    data = mapping(session.client.get(route("jobs", _uuid(session, uuid))))
    session.output.record(data, _FIELDS, name=data.get("uuid"))


@click.command(cls=Command)
@click.argument("uuid", type=JOB, required=False)
@pass_session
def watch(session: Session, uuid: str | None) -> None:
    """Follow one job until it is done, or all jobs until Ctrl-C."""
    if uuid is not None:
        full = _uuid(session, uuid)
        session.client.get(route("jobs", full))
        follow(session, full)
        session.output.done("Done", name=full)
        return
    click.echo("Waiting for jobs; Ctrl-C ends.", err=True)
    known: set[str] = set()
    with reporter(session) as shown:
        while True:
            views = [view(job) for job in mappings(session.client.get("/jobs/info"), "jobs")]
            for one in views:
                if not one.done:
                    shown.update(one)
            running = {one.uuid for one in views if not one.done}
            for gone in known - running:
                shown.gone(gone)
            known = running
            time.sleep(POLL_SECONDS)


@click.command(cls=Command)
@click.argument("uuid", type=JOB)
@pass_session
def forget(session: Session, uuid: str) -> None:
    """Forget a job that is done."""
    full = _uuid(session, uuid)
    data = session.client.delete(route("jobs", full))
    session.output.done(f"Forgot job {full}", name=full, data=data)


@click.command(cls=Command)
@pass_session
def history(session: Session) -> None:
    """List the jobs that ended lately, with what went wrong."""
    jobs = mappings(session.client.get("/jobs/history"), "jobs")
    begun = Column("BEGUN", lambda row: moment(row.get("created")))
    columns = (*_COLUMNS[:3], begun, Column("LAST STAGE", "stage"), Column("ERROR", _first_error, wraps=True))
    rows = [{**job, "depth": 0} for job in jobs]
    session.output.rows(rows, columns, name="uuid", empty="No job has ended yet.", data=jobs)


def _first_error(row: Mapping[str, Any]) -> str:
    return next((str(error.get("message")) for error in all_errors(row)), "-")


@click.command(cls=Command)
@click.argument("uuid", type=JOB)
@pass_session
def cancel(session: Session, uuid: str) -> None:
    """Stop a job, where that is safe; what it did is undone."""
    full = _uuid(session, uuid)
    data = session.client.post(f"{route('jobs', full)}/cancel")
    session.output.done(f"Cancelled job {full}", name=full, data=data)


@click.command(
    cls=Command,
    examples=(
        "supervisor jobs ignore",
        "supervisor jobs ignore free_space internet_host",
        "supervisor jobs ignore --reset",
    ),
)
@click.argument("conditions", nargs=-1, metavar="[CONDITION]...")
@click.option("--reset", is_flag=True, help="Ignore none any more.")
@pass_session
def ignore(session: Session, conditions: tuple[str, ...], *, reset: bool) -> None:
    """Show or set the conditions that jobs run without, such as free_space. Makes the system unsupported."""
    if conditions and reset:
        raise click.UsageError("choose conditions or --reset")
    if reset:
        session.client.post("/jobs/reset")
        session.output.done("All conditions count again")
    elif conditions:
        session.client.post("/jobs/options", {"ignore_conditions": list(conditions)})
        session.output.done(
            f"Ignored from now on: {', '.join(conditions)}", data={"ignore_conditions": list(conditions)}
        )
    else:
        ignored = mapping(session.client.get("/jobs/info")).get("ignore_conditions")
        rows = [{"condition": one} for one in ignored] if isinstance(ignored, list) else []
        session.output.rows(
            rows, (Column("IGNORED", "condition"),), name="condition", empty="All conditions count.", data=ignored
        )


jobs = Group(
    "jobs",
    default="list",
    help="See what the daemon is doing.",
    commands=[list_, info, watch, history, cancel, forget, ignore],
)
