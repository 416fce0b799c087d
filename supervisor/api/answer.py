"""What goes back to the caller: the envelope, its errors, and the few plain texts (API contract §1.2, §1.3, §1.6)."""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from http import HTTPStatus
from pathlib import PurePath
from typing import Any, Final

import msgspec
from aiohttp import web
from multidict import CIMultiDict

from supervisor.api.route import ErrorForm
from supervisor.api.status import DEFAULT_STATUS, status_of
from supervisor.errors import SEE_LOGS, SupervisorError, Unauthorized
from supervisor.events import CoreState

JSON_TYPE: Final = "application/json; charset=utf-8"
TEXT_TYPE: Final = "text/plain; charset=utf-8"
UNKNOWN_ERROR: Final = "An unknown error happened. " + SEE_LOGS
CHALLENGE: Final = 'Basic realm="Home Assistant Authentication"'

# The add-on word of these keys is older than the rest of the catalogue, and clients of this API version know it.
_KEYS: Final[Mapping[str, str]] = {
    f"app_not_supported_{what}_error": f"addon_not_supported_{what}_error"
    for what in ("architecture", "machine_type", "home_assistant_version")
}


def _plain(value: Any) -> Any:
    """Make what msgspec doesn't know into something it does."""
    if isinstance(value, PurePath):
        return value.as_posix()
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, AbstractSet):
        return list(value)
    return str(value)


_ENCODER: Final = msgspec.json.Encoder(enc_hook=_plain)


def encode(data: Any) -> bytes:
    """Return `data` as JSON. A datetime must know its zone; text that is no Unicode gets its bad parts replaced."""
    try:
        return _ENCODER.encode(data)
    except UnicodeEncodeError:
        return _ENCODER.encode(_readable(msgspec.to_builtins(data, enc_hook=_plain, str_keys=True)))


def _readable(data: Any) -> Any:
    if isinstance(data, str):
        return data.encode("utf-8", "replace").decode()
    if isinstance(data, dict):
        return {_readable(key): _readable(value) for key, value in data.items()}
    if isinstance(data, list | tuple):
        return [_readable(value) for value in data]
    return data


def _json(body: bytes, status: int = 200) -> web.Response:
    return web.Response(body=body, status=status, headers=CIMultiDict({"Content-Type": JSON_TYPE}))


def ok(data: Any = None) -> web.Response:
    """Answer with `data` in the envelope; what is empty becomes an empty object, False a failure without a reason."""
    if data is False:
        return _failure(UNKNOWN_ERROR, DEFAULT_STATUS)
    if not data:
        return _json(b'{"result":"ok","data":{}}')
    return _json(b'{"result":"ok","data":' + encode(data) + b"}")


def document(data: Any) -> web.Response:
    """Answer with `data` as it is, without the envelope."""
    return _json(encode(data))


def _failure(message: str, status: int, **more: Any) -> web.Response:
    present = {key: value for key, value in more.items() if value is not None}
    return _json(encode({"result": "error", "message": message, **present}), status)


def error(failure: SupervisorError, form: ErrorForm = ErrorForm.ENVELOPE) -> web.Response:
    """Answer with a known failure, in the form that the route promises."""
    status = status_of(failure)
    if isinstance(failure, Unauthorized) and failure.key is None:
        return refusal(401)
    message = _message(failure)
    if form is not ErrorForm.ENVELOPE:
        return _bare(message, status, form)
    key = None if failure.key is None else _KEYS.get(failure.key, failure.key)
    response = _failure(
        message, status, job_id=failure.job_id, error_key=key, extra_fields=failure.fields if key else None
    )
    if status == HTTPStatus.UNAUTHORIZED:
        response.headers["WWW-Authenticate"] = CHALLENGE
    return response


def _bare(message: str, status: int, form: ErrorForm) -> web.Response:
    content_type = "application/octet-stream" if form is ErrorForm.BYTES else TEXT_TYPE
    if form is ErrorForm.SENTENCE:
        status = 200
    body = message.encode("utf-8", "replace")
    return web.Response(body=body, status=status, headers=CIMultiDict({"Content-Type": content_type}))


def refusal(status: int, headers: Mapping[str, str] | None = None) -> web.Response:
    """Answer with the bare status as text, which is how the door itself speaks."""
    text = f"{status}: {HTTPStatus(status).phrase}"
    return web.Response(
        body=text.encode(), status=status, headers=CIMultiDict({"Content-Type": TEXT_TYPE, **(headers or {})})
    )


def not_ready(state: CoreState) -> web.Response:
    return _failure(f"The Supervisor can't answer now: it is in state {state.value}", 400)


def _message(failure: SupervisorError) -> str:
    """Return the first text found in the chain of causes."""
    seen: set[int] = set()
    current: BaseException | None = failure
    while current is not None and id(current) not in seen:
        seen.add(id(current))
        if text := str(current).strip():
            return text
        current = current.__cause__ or (None if current.__suppress_context__ else current.__context__)
    return UNKNOWN_ERROR
