"""What people see of a job, and the failure that its errors stand for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs

from supervisor.cli import text
from supervisor.cli.answers import mappings
from supervisor.cli.columns import size
from supervisor.cli.failures import Failure, exit_code_for, hint_for


@attrs.frozen
class JobView:
    """What people see of a job. Every string is safe to print; `amount` tells the bytes of a download."""

    uuid: str
    title: str
    percent: float
    stage: str
    done: bool
    amount: str = ""


def view(job: Mapping[str, Any], title: str | None = None) -> JobView:
    name = str(job.get("name") or "job").replace("_", " ")
    reference = job.get("reference")
    moving = _moving(job)
    return JobView(
        uuid=str(job.get("uuid", "")),
        title=text.line(title or (f"{name} {reference}" if reference else name)),
        percent=_percent(moving),
        stage=text.line(_stage(job) + _reason(job)),
        done=job.get("done") is True,
        amount=_amount(moving),
    )


def _moving(job: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the job that shows how far it is: this one, or the one below it that runs where this one only waits."""
    if _percent(job) == 0 and job.get("done") is False:
        for child in reversed(mappings(job, "child_jobs")):
            if child.get("done") is False:
                return _moving(child)
    return job


def _percent(job: Mapping[str, Any]) -> float:
    progress = job.get("progress")
    return min(100.0, max(0.0, float(progress))) if isinstance(progress, (int, float)) else 0.0


def _stage(job: Mapping[str, Any]) -> str:
    """Name what the job is doing: its own stage, else that of the child job that is running."""
    if stage := job.get("stage"):
        return str(stage).replace("_", " ")
    for child in reversed(mappings(job, "child_jobs")):
        if child.get("done") is False:
            return _stage(child) or str(child.get("name") or "").replace("_", " ")
    return ""


def _reason(job: Mapping[str, Any]) -> str:
    """Tell why a job waits before it tries again, where it says so."""
    extra = job.get("extra")
    reason = extra.get("reason") if isinstance(extra, dict) else None
    return f": {reason}" if isinstance(reason, str) else ""


def _amount(job: Mapping[str, Any]) -> str:
    """Tell how much of a download is here, where the job says so."""
    extra = job.get("extra")
    current, total = (extra.get("current"), extra.get("total")) if isinstance(extra, dict) else (None, None)
    if not isinstance(current, int) or not isinstance(total, int) or not 0 < current < total:
        return ""
    return f"{size(current)} of {size(total)}"


def raise_for_errors(job: Mapping[str, Any]) -> None:
    """Raise the failure that the errors of a job, or of a job below it, stand for."""
    errors = all_errors(job)
    if not errors:
        return
    messages = [str(error.get("message") or error.get("type") or "unknown error") for error in errors]
    key = next((error["error_key"] for error in errors if isinstance(error.get("error_key"), str)), None)
    fields = next((error["extra_fields"] for error in errors if isinstance(error.get("extra_fields"), dict)), None)
    raise Failure("\n".join(dict.fromkeys(messages)), exit_code_for(0, key), hint=hint_for(key, fields), key=key)


def all_errors(job: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    found = list(mappings(job, "errors"))
    for child in mappings(job, "child_jobs"):
        found.extend(all_errors(child))
    return found


def state(job: Mapping[str, Any]) -> str:
    """Name where a job stands, in one word."""
    if job.get("done") is True:
        return "failed" if all_errors(job) else "done"
    return "running" if job.get("done") is False else "waiting"
