"""What a route declares. Routing, validation, the access decision and the OpenAPI document all come from here."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from enum import Enum, StrEnum, auto
from typing import Any

import attrs
import voluptuous as vol
from aiohttp import web
from multidict import MultiMapping

from supervisor.api.caller import Caller
from supervisor.const import MAX_BODY_BYTES

OWN_NAMESPACE = "/addons/{addon}/"
METHODS = frozenset({"GET", "POST", "PUT", "PATCH", "DELETE"})


class Access(StrEnum):
    """Who may call, besides Core, the command-line plugin and the machine's administrators (API contract §2)."""

    OPEN = "open"
    """Everyone; a token is not even looked at."""
    ANY = "any"
    """Every installed add-on."""
    ALL = "all"
    """Add-ons with `hassio_api`, whatever their role; the observer too where the path ends with `/info`."""
    HOMEASSISTANT = "homeassistant"
    BACKUP = "backup"
    MANAGER = "manager"
    ADMIN = "admin"
    CORE_HANDLER = "core"
    """Core alone; others are told 401."""
    CORE_PATH = "core_path"
    """Core alone; others are told 403."""


@attrs.frozen
class RawBody:
    """The body reaches the handler as bytes, whatever it holds."""

    media_type: str = "application/octet-stream"
    max_bytes: int = MAX_BODY_BYTES


@attrs.frozen
class StreamedBody:
    """The handler reads `call.request` itself; no size limit is kept for it."""

    media_type: str = "application/octet-stream"


Body = vol.Schema | Mapping[Any, Any] | RawBody | StreamedBody


class ErrorForm(Enum):
    """How an error of the handler is told (API contract §1.6)."""

    ENVELOPE = auto()
    TEXT = auto()
    """The message as `text/plain`, with the real status."""
    BYTES = auto()
    """The message as `application/octet-stream`, with the real status."""
    SENTENCE = auto()
    """The message as `text/plain` with status 200."""


@attrs.frozen
class Raw:
    """The handler returns a response of its own instead of data for the envelope."""

    media_type: str
    errors: ErrorForm = ErrorForm.ENVELOPE
    description: str = ""


LOG_TEXT = Raw("text/plain", ErrorForm.TEXT, "Log lines")
MARKDOWN = Raw("text/plain", ErrorForm.SENTENCE, "Markdown; the sentence of an error where there is none")
PNG = Raw("image/png", ErrorForm.BYTES, "A picture")


@attrs.frozen
class Call:
    """One request that may be answered. `body` is what the route's schema made of it, bytes for a `RawBody`."""

    request: web.BaseRequest
    caller: Caller
    path: Mapping[str, str]
    body: Any = None

    @property
    def query(self) -> MultiMapping[str]:
        return self.request.query


Handler = Callable[[Call], Awaitable[Any]]


def _check_path(_instance: Route, _attribute: attrs.Attribute[str], value: str) -> None:
    names = [segment[1:-1] for segment in value.split("/") if segment.startswith("{")]
    if not value.startswith("/") or len(names) != len(set(names)) or "..." in value.rpartition("/")[0]:
        raise ValueError(f"{value} can't be the path of a route")


@attrs.frozen
class Route:
    """One method of one path.

    `path` holds `{name}` for one segment and, as its last segment only, `{name...}` for any remainder, also an empty
    one. A literal segment wins over a name.

    `body`: a schema for a JSON object, see also `RawBody` and `StreamedBody`; None leaves the body unread.
    `returns`: what msgspec can describe (an attrs class, `list[...]`, `dict[str, ...]`), None for no data, or `Raw`.
    `own`: every installed add-on may call it with `self` for `{addon}`, whatever `access` says (contract §4.3).
    `query`: name to description of each query parameter, for the document; the handler reads them.
    `ready`: answered only while the daemon is ready (contract §4.5).
    `barred`: what the remainder may not start with for anybody (contract §4.2 step 1).
    """

    method: str = attrs.field(validator=attrs.validators.in_(METHODS))
    path: str = attrs.field(validator=_check_path)
    access: Access
    handler: Handler
    summary: str
    body: Body | None = None
    returns: Any = None
    own: bool = attrs.field(default=False, kw_only=True)
    query: Mapping[str, str] = attrs.field(factory=dict, kw_only=True)
    tag: str = attrs.field(kw_only=True)
    ready: bool = attrs.field(default=True, kw_only=True)
    barred: tuple[str, ...] = attrs.field(default=(), kw_only=True)
    description: str = attrs.field(default="", kw_only=True)

    @tag.default
    def _first_segment(self) -> str:
        return self.path.lstrip("/").partition("/")[0] or "root"

    @own.validator
    def _check_own(self, _attribute: attrs.Attribute[bool], value: bool) -> None:  # noqa: FBT001 - attrs calls it so
        if value and not self.path.startswith(OWN_NAMESPACE):
            raise ValueError(f"{self.path} is not in an add-on's own namespace")

    @property
    def error_form(self) -> ErrorForm:
        return self.returns.errors if isinstance(self.returns, Raw) else ErrorForm.ENVELOPE
