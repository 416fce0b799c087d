"""The routes that every log has (API contract §5)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from aiohttp import web

from supervisor.api.logs import respond
from supervisor.api.route import LOG_TEXT, Access, Call, Handler, Route
from supervisor.managers.logs import LogManager, LogRequest, LogTarget

QUERY: Final = {
    "lines": "How many of the last lines, 2 at least",
    "verbose": "Present: time, host and process before each line",
    "format": "plain, timestamp or verbose",
    "no_colors": "Present: terminal colours are taken out",
    "level": "Only this level and graver ones (err), or those between two (err..notice)",
    "since": "Only from this time on: 2026-01-31T12:00:00Z, -1h30m or seconds since 1970; without lines, all of it",
    "until": "Only up to this time",
    "grep": "Only what holds this regular expression; case counts if it holds a capital letter",
}


def log_routes(
    base: str,
    access: Access,
    logs: LogManager,
    target: Callable[[Call], LogTarget],
    *,
    verbose: bool = False,
    own: bool = False,
    runs: bool = True,
    boot: str | None = None,
) -> list[Route]:
    """Return the routes of one log.

    `verbose` is its default format; `own` speaks of `base` itself only; `runs` tells that it has runs, so that there
    is a latest one; `boot` is the path of one boot where it is not below `base`.
    """

    def handler(*, follow: bool = False, latest: bool = False) -> Handler:
        async def answer(call: Call) -> web.StreamResponse:
            request = LogRequest.from_query(
                call.request.headers,
                call.query,
                latest=latest,
                follow=follow,
                boot=call.path.get("bootid"),
                default_verbose=verbose,
            )
            return await respond(call.request, logs, target(call), request)

        return answer

    boot = boot or f"{base}/boots/{{bootid}}"

    def route(path: str, run: Handler, summary: str, *, bypass: bool = False) -> Route:
        return Route("GET", path, access, run, summary, None, LOG_TEXT, own=bypass, query=QUERY)

    latest = route(f"{base}/latest", handler(latest=True), "Read the log of the present run")
    return [
        route(base, handler(), "Read a log", bypass=own),
        route(f"{base}/follow", handler(follow=True), "Read a log and what comes"),
        *([latest] if runs else []),
        route(boot, handler(), "Read the log of one boot"),
        route(f"{boot}/follow", handler(follow=True), "Read the log of one boot and what comes"),
    ]
