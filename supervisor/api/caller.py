"""Who sends a request."""

from __future__ import annotations

from enum import StrEnum
from typing import Protocol

import attrs


class CallerKind(StrEnum):
    CORE = "core"
    HOST = "host"
    """The command-line plugin."""
    OBSERVER = "observer"
    ADDON = "addon"
    ADMIN = "admin"
    """An administrator of this machine, known by the peer credentials of the Unix socket."""
    NOBODY = "nobody"
    """No proof was given, or none was asked for because the route is open."""
    STRANGER = "stranger"
    """A proof was given that names nobody we know."""


class Role(StrEnum):
    """What a manifest's `hassio_role` grants (API contract §4.3)."""

    DEFAULT = "default"
    HOMEASSISTANT = "homeassistant"
    BACKUP = "backup"
    MANAGER = "manager"
    ADMIN = "admin"


@attrs.frozen
class Caller:
    """`slug`, `role` and `hassio_api` speak of add-ons only; `name` is what the log shows."""

    kind: CallerKind
    name: str
    slug: str | None = None
    role: str | None = None
    hassio_api: bool = False

    @classmethod
    def addon(cls, slug: str, *, role: str = Role.DEFAULT, hassio_api: bool = False) -> Caller:
        return cls(CallerKind.ADDON, f"add-on {slug}", slug, role, hassio_api)

    @property
    def may_manage(self) -> bool:
        """Whether what only managers may see (the options of other add-ons) is shown to this caller."""
        if self.kind is CallerKind.ADDON:
            return self.hassio_api and self.role in (Role.MANAGER, Role.ADMIN)
        return self.kind in (CallerKind.CORE, CallerKind.HOST, CallerKind.ADMIN)


CORE = Caller(CallerKind.CORE, "Home Assistant Core")
HOST = Caller(CallerKind.HOST, "command-line plugin")
OBSERVER = Caller(CallerKind.OBSERVER, "observer plugin")
NOBODY = Caller(CallerKind.NOBODY, "nobody")
STRANGER = Caller(CallerKind.STRANGER, "a stranger")


class CallerDirectory(Protocol):
    def by_token(self, token: str) -> Caller | None: ...
