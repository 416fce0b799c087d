"""Whether a caller may do what it asks for (API contract §4.2, §4.3).

The decision looks at the matched route's declaration and the name in it, never at the text of a path. What is not
granted here is refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from supervisor.api.caller import Caller, CallerKind, Role
from supervisor.api.route import Access, Route
from supervisor.errors import Forbidden, Unauthorized

SELF: Final = "self"

_ROLES: Final[Mapping[Access, frozenset[str]]] = {
    Access.ALL: frozenset(Role),
    Access.HOMEASSISTANT: frozenset({Role.HOMEASSISTANT, Role.MANAGER, Role.ADMIN}),
    Access.BACKUP: frozenset({Role.BACKUP, Role.MANAGER, Role.ADMIN}),
    Access.MANAGER: frozenset({Role.MANAGER, Role.ADMIN}),
    Access.ADMIN: frozenset({Role.ADMIN}),
}
_TRUSTED: Final = frozenset({CallerKind.CORE, CallerKind.HOST, CallerKind.ADMIN})


def is_barred(route: Route, names: Mapping[str, str]) -> bool:
    """Whether the remainder of the path is closed to everybody."""
    return bool(route.barred) and list(names.values())[-1].startswith(route.barred)


def decide(route: Route, caller: Caller, names: Mapping[str, str]) -> None:
    """Return if `caller` may call `route` with these `names` in its path.

    Raises:
        Unauthorized: nobody proved anything, or the route answers Core alone in that way.
        Forbidden: the caller may not do this.
    """
    if is_barred(route, names):
        raise Forbidden
    if route.access is Access.OPEN:
        return
    _require_known(caller)
    if caller.kind is CallerKind.CORE:
        return
    if route.access is Access.CORE_PATH:
        raise Forbidden
    if caller.kind is CallerKind.OBSERVER:
        if route.path.endswith("/info") and route.path != "/info":
            return
        raise Forbidden
    if route.access is Access.CORE_HANDLER:
        raise Unauthorized
    if caller.kind in (CallerKind.HOST, CallerKind.ADMIN):
        return
    if caller.kind is not CallerKind.ADDON or not _addon_may(route, caller, names):
        raise Forbidden


def decide_unknown(caller: Caller) -> None:
    """Return if `caller` may learn that a path does not exist; else raise as `decide` does."""
    _require_known(caller)
    if caller.kind in _TRUSTED:
        return
    if caller.kind is CallerKind.ADDON and caller.hassio_api and caller.role == Role.ADMIN:
        return
    raise Forbidden


def _require_known(caller: Caller) -> None:
    if caller.kind is CallerKind.NOBODY:
        raise Unauthorized
    if caller.kind is CallerKind.STRANGER:
        raise Forbidden


def _addon_may(route: Route, caller: Caller, names: Mapping[str, str]) -> bool:
    if route.access is Access.ANY or (route.own and names.get("addon") == SELF):
        return True
    return caller.hassio_api and caller.role in _ROLES.get(route.access, frozenset())
