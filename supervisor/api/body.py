"""Reads a request's body and checks it (API contract §1.4). Whatever a client sends, the worst answer is a refusal."""

from __future__ import annotations

import asyncio
import json
import math
from typing import Any, Final, NoReturn

import voluptuous as vol
from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from supervisor.api.invalid import describe_invalid
from supervisor.api.route import RawBody
from supervisor.const import MAX_BODY_BYTES
from supervisor.errors import Invalid

MAX_DEPTH: Final = 64
# What is larger than this is parsed and checked in a thread.
INLINE_BYTES: Final = 64 * 1024

_INTEGER_LIMIT: Final = 2**63
_INTEGER_DIGITS: Final = 20


class BodyTooLarge(Exception):
    """The body is larger than what the route takes."""


class BodyTooSlow(Exception):
    """The client did not send the body in time."""


async def read_json(request: web.BaseRequest, schema: vol.Schema, *, seconds: float) -> Any:
    """Return what `schema` makes of the JSON body; an empty body is an empty object.

    Raises:
        Invalid: not JSON, ambiguous JSON, or not what the schema wants.
    """
    raw = await _read(request, MAX_BODY_BYTES, seconds)
    if len(raw) > INLINE_BYTES:
        return await asyncio.to_thread(_checked, raw, schema)
    return _checked(raw, schema)


async def read_raw(request: web.BaseRequest, body: RawBody, *, seconds: float) -> bytes:
    return await _read(request, body.max_bytes, seconds)


async def _read(request: web.BaseRequest, limit: int, seconds: float) -> bytes:
    if not request.can_read_body:
        return b""
    if (request.content_length or 0) > limit:
        raise BodyTooLarge
    await welcome(request)
    body = bytearray()
    try:
        async with asyncio.timeout(seconds):
            while chunk := await request.content.readany():
                body += chunk
                if len(body) > limit:
                    raise BodyTooLarge
    except TimeoutError as err:
        raise BodyTooSlow from err
    except (web.RequestPayloadError, HttpProcessingError) as err:
        raise Invalid("The body of the request is broken") from err
    return bytes(body)


async def welcome(request: web.BaseRequest) -> None:
    """Tell a client that asked first that its body is wanted."""
    if request.headers.get("Expect", "").lower() == "100-continue":
        await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        request.writer.output_size = 0


def _checked(raw: bytes, schema: vol.Schema) -> Any:
    data = parse_object(raw)
    try:
        return schema(data)
    except vol.Invalid as err:
        raise Invalid(describe_invalid(data, err)) from err
    except (TypeError, ArithmeticError, RecursionError) as err:
        # A validator met a value that its author did not think of; that is still the value's fault.
        raise Invalid("The body of the request holds a value that can't be used") from err


def parse_object(raw: bytes) -> dict[str, Any]:
    """Return the JSON object in `raw`, {} when it is blank.

    Raises:
        Invalid: not JSON; JSON that two readers may read in two ways (a key twice, a number outside 64 bits, text that
            is no Unicode); nested too deeply; not an object.
    """
    try:
        text = raw.decode("utf-8")
        data = _DECODER.decode(text) if text and not text.isspace() else {}
        # Only an escape can bring half a character in; decoding the bytes has refused it already.
        if "\\u" in text:
            json.dumps(data, ensure_ascii=False).encode("utf-8")
    except (ValueError, RecursionError) as err:
        raise Invalid(f"The body of the request is invalid JSON: {_reason(err)}") from err
    if not isinstance(data, dict):
        raise Invalid("The body of the request must be a JSON object")
    _require_flat(data)
    return data


def _reason(err: Exception) -> str:
    if isinstance(err, json.JSONDecodeError):
        return f"{err.msg.removesuffix(' at')} at character {err.pos}"
    if isinstance(err, UnicodeError):
        return "not valid Unicode"
    if isinstance(err, RecursionError):
        return "nested too deeply"
    return str(err)


def _require_flat(data: dict[str, Any]) -> None:
    level: list[Any] = [data]
    for _ in range(MAX_DEPTH):
        level = [
            child
            for node in level
            for child in (node.values() if isinstance(node, dict) else node)
            if isinstance(child, dict | list)
        ]
        if not level:
            return
    raise Invalid("The body of the request is nested too deeply")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key is there twice")
    return found


def _integer(digits: str) -> int:
    if len(digits) > _INTEGER_DIGITS or not -_INTEGER_LIMIT <= int(digits) < _INTEGER_LIMIT:
        raise ValueError("a number is too large")
    return int(digits)


def _number(digits: str) -> float:
    number = float(digits)
    if math.isinf(number):
        raise ValueError("a number is too large")
    return number


def _constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON value")


_DECODER: Final = json.JSONDecoder(
    object_pairs_hook=_unique, parse_int=_integer, parse_float=_number, parse_constant=_constant
)
