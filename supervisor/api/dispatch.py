"""A request's way: what it asks for, is the daemon ready, who is it, may it, its body, the handler, the answer."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import lru_cache
from typing import Any, Final

import voluptuous as vol
from aiohttp import web

from supervisor.api import answer
from supervisor.api.access import decide, decide_unknown, is_barred
from supervisor.api.body import BodyTooLarge, BodyTooSlow, read_json, read_raw, welcome
from supervisor.api.caller import NOBODY, Caller, CallerKind
from supervisor.api.identity import Identify
from supervisor.api.route import Access, Call, RawBody, Route, StreamedBody
from supervisor.api.router import Match, Router
from supervisor.api.target import HostileTarget, decoded_path
from supervisor.errors import Failed, Forbidden, Internal, SupervisorError, Unauthorized, Unavailable
from supervisor.events import CoreState

_LOGGER = logging.getLogger(__name__)

KNOWN_TARGETS: Final = 1024
KNOWN_LENGTH: Final = 256
READY_STATES: Final = frozenset({CoreState.STARTUP, CoreState.RUNNING, CoreState.FREEZE})


class Dispatcher:
    """Answers the requests of one listener; `identify` is how that listener knows its callers.

    `guarded`: strangers get nothing at all, not even open routes.
    """

    def __init__(
        self,
        router: Router,
        state: Callable[[], CoreState],
        identify: Identify,
        *,
        guarded: bool,
        body_seconds: float,
    ) -> None:
        self._router = router
        self._find_known = lru_cache(KNOWN_TARGETS)(self._find)
        self._state = state
        self._identify = identify
        self._guarded = guarded
        self._body_seconds = body_seconds
        self._schemas: dict[int, vol.Schema] = {}

    async def __call__(self, request: web.BaseRequest) -> web.StreamResponse:
        target = request.raw_path
        try:
            # The same few targets are asked for again and again; strange long ones shall not fill the memory.
            find = self._find_known if len(target) <= KNOWN_LENGTH else self._find
            match = find(request.method, target)
        except HostileTarget as err:
            _LOGGER.warning("A request was refused: %s", err)
            return answer.refusal(400)
        route = match.route
        state = self._state()
        if state not in READY_STATES and (route is None or route.ready):
            return answer.not_ready(state)
        try:
            caller = self._admit(request, match)
        except Unauthorized:
            return answer.refusal(401)
        except Forbidden:
            return answer.refusal(403)
        if route is None:
            return answer.refusal(405, {"Allow": match.allow}) if match.others else answer.refusal(404)
        return await self._serve(route, request, caller, match)

    def _find(self, method: str, target: str) -> Match:
        return self._router.find(method, decoded_path(target))

    def _admit(self, request: web.BaseRequest, match: Match) -> Caller:
        """Return the caller when it may go on; a wrong method is told to those who may use another one there."""
        route = match.route
        if route is not None and route.access is Access.OPEN and not self._guarded:
            if is_barred(route, match.names):
                raise Forbidden
            return NOBODY
        caller = self._identify(request)
        if self._guarded and caller.kind is not CallerKind.ADMIN:
            raise Forbidden
        if route is not None:
            decide(route, caller, match.names)
        elif match.others:
            _decide_any(match, caller)
        else:
            decide_unknown(caller)
        return caller

    async def _serve(self, route: Route, request: web.BaseRequest, caller: Caller, match: Match) -> web.StreamResponse:
        try:
            body = None
            if route.body is not None and route.method != "GET":
                body = await self._body(route, request)
            data = await route.handler(Call(request, caller, match.names, body))
            return data if isinstance(data, web.StreamResponse) else answer.ok(data)
        except BodyTooLarge:
            return answer.refusal(413)
        except BodyTooSlow:
            return answer.refusal(408)
        except web.HTTPException as err:
            # What reads a body for a handler (forms, uploads) complains in aiohttp's own way.
            _require_unanswered(request)
            return answer.refusal(err.status)
        except SupervisorError as err:
            _log(route, caller, err)
            _require_unanswered(request)
            return answer.error(err, route.error_form)
        except Exception:
            if request.transport is None or request.transport.is_closing():
                _LOGGER.debug("%s %s: the caller is gone", route.method, route.path, exc_info=True)
                raise ConnectionAbortedError from None
            _LOGGER.exception("%s %s asked by %s failed", route.method, route.path, caller.name)
            _require_unanswered(request)
            return answer.refusal(500)

    async def _body(self, route: Route, request: web.BaseRequest) -> Any:
        if isinstance(route.body, RawBody):
            return await read_raw(request, route.body, seconds=self._body_seconds)
        if isinstance(route.body, StreamedBody):
            await welcome(request)
            return None
        schema = self._schemas.get(id(route))
        if schema is None:
            schema = self._schemas[id(route)] = (
                route.body if isinstance(route.body, vol.Schema) else vol.Schema(route.body)
            )
        return await read_json(request, schema, seconds=self._body_seconds)


def _decide_any(match: Match, caller: Caller) -> None:
    """Return if `caller` may use any method of this path; else raise why not."""
    refusals: list[SupervisorError] = []
    for candidate in match.others.values():
        try:
            decide(candidate, caller, match.names_of(candidate))
        except (Unauthorized, Forbidden) as err:
            refusals.append(err)
        else:
            return
    raise next((err for err in refusals if isinstance(err, Unauthorized)), refusals[0])


def _require_unanswered(request: web.BaseRequest) -> None:
    """Break the connection where a part of an answer is out already: a second answer in its middle would be a lie."""
    if request.writer.output_size > 0:
        if request.transport is not None:
            request.transport.abort()
        raise ConnectionAbortedError


def _log(route: Route, caller: Caller, err: SupervisorError) -> None:
    if isinstance(err, Failed):
        _LOGGER.error("%s %s asked by %s failed: %s", route.method, route.path, caller.name, err)
    elif isinstance(err, Internal):
        _LOGGER.error("%s %s asked by %s failed", route.method, route.path, caller.name, exc_info=err)
    elif isinstance(err, Unavailable):
        _LOGGER.warning("%s %s asked by %s: %s", route.method, route.path, caller.name, err)
    else:
        _LOGGER.debug("%s %s asked by %s was refused: %s", route.method, route.path, caller.name, err)
