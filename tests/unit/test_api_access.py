from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from supervisor.api.access import decide, decide_unknown
from supervisor.api.caller import NOBODY, STRANGER, Caller, CallerKind, Role
from supervisor.api.route import Access, Call, Route
from supervisor.errors import Forbidden, Unauthorized
from toy_api import CALLERS, Toy, serving


async def whoami(call: Call) -> dict[str, Any]:
    return {"caller": call.caller.kind, "path": dict(call.path)}


def route(path: str, access: Access, *, method: str = "GET", own: bool = False, barred: tuple[str, ...] = ()) -> Route:
    return Route(method, path, access, whoami, "Who am I", own=own, barred=barred)


ROUTES = (
    route("/supervisor/ping", Access.OPEN),
    route("/info", Access.ANY),
    route("/services", Access.ANY),
    route("/addons/{addon}/info", Access.ALL, own=True),
    route("/network/interface/{interface}/info", Access.ALL),
    route("/core/stats", Access.HOMEASSISTANT),
    route("/backups", Access.BACKUP),
    route("/addons/{addon}/start", Access.MANAGER, own=True, method="POST"),
    route("/addons/{addon}/options/config", Access.MANAGER, own=True),
    route("/addons/{addon}/options/validate", Access.MANAGER, method="POST"),
    route("/addons/{addon}/security", Access.ADMIN, method="POST"),
    route("/addons/{addon}/sys_options", Access.CORE_PATH, own=True, method="POST"),
    route("/discovery", Access.CORE_HANDLER),
    route("/discovery", Access.ANY, method="POST"),
    route("/core/api/{path...}", Access.OPEN, barred=("hassio/", "hassio_")),
)

COLUMNS = [
    "nobody",
    "stranger",
    "core",
    "host",
    "observer",
    "plain",
    "plain_admin",
    "default",
    "homeassistant",
    "backup",
    "manager",
    "admin",
    "socket",
]

# Written from the contract (§4.2, §4.3) by hand: one column for each of COLUMNS. "." is 200.
#                                       nob str core host obs pln pad def ha  bak man adm socket
TABLE = """
GET  /supervisor/ping                   .   .   .    .    .   .   .   .   .   .   .   .   .
GET  /info                              401 403 .    .    403 .   .   .   .   .   .   .   .
GET  /services                          401 403 .    .    403 .   .   .   .   .   .   .   .
GET  /addons/self/info                  401 403 .    .    .   .   .   .   .   .   .   .   .
GET  /addons/other/info                 401 403 .    .    .   403 403 .   .   .   .   .   .
GET  /network/interface/eth0/info       401 403 .    .    .   403 403 .   .   .   .   .   .
GET  /core/stats                        401 403 .    .    403 403 403 403 .   403 .   .   .
GET  /backups                           401 403 .    .    403 403 403 403 403 .   .   .   .
POST /addons/self/start                 401 403 .    .    403 .   .   .   .   .   .   .   .
POST /addons/other/start                401 403 .    .    403 403 403 403 403 403 .   .   .
GET  /addons/self/options/config        401 403 .    .    403 .   .   .   .   .   .   .   .
GET  /addons/other/options/config       401 403 .    .    403 403 403 403 403 403 .   .   .
POST /addons/self/options/validate      401 403 .    .    403 403 403 403 403 403 .   .   .
POST /addons/self/security              401 403 .    .    403 403 403 403 403 403 403 .   .
POST /addons/other/security             401 403 .    .    403 403 403 403 403 403 403 .   .
POST /addons/self/sys_options           401 403 .    403  403 403 403 403 403 403 403 403 403
POST /addons/other/sys_options          401 403 .    403  403 403 403 403 403 403 403 403 403
GET  /discovery                         401 403 .    401  403 401 401 401 401 401 401 401 401
POST /discovery                         401 403 .    .    403 .   .   .   .   .   .   .   .
GET  /core/api/states                   .   .   .    .    .   .   .   .   .   .   .   .   .
GET  /core/api/hassio                   .   .   .    .    .   .   .   .   .   .   .   .   .
GET  /core/api/hassiox                  .   .   .    .    .   .   .   .   .   .   .   .   .
GET  /core/api/hassio/app               403 403 403  403  403 403 403 403 403 403 403 403 403
GET  /core/api/hassio_auth              403 403 403  403  403 403 403 403 403 403 403 403 403
GET  /nowhere                           401 403 404  404  403 403 403 403 403 403 403 404 404
GET  /addons/                           401 403 404  404  403 403 403 403 403 403 403 404 404
DELETE /backups                         401 403 405  405  403 403 403 403 403 405 405 405 405
DELETE /discovery                       401 403 405  405  403 405 405 405 405 405 405 405 405
POST /supervisor/ping                   405 405 405  405  405 405 405 405 405 405 405 405 405
"""

CASES = [
    (row.split()[0], row.split()[1], column, 200 if cell == "." else int(cell))
    for row in TABLE.strip().splitlines()
    for column, cell in zip(COLUMNS, row.split()[2:], strict=True)
]


@pytest_asyncio.fixture
async def toy(tmp_path: Path) -> AsyncIterator[Toy]:
    async with serving(ROUTES, tmp_path) as running:
        yield running


async def test_every_caller_gets_what_the_contract_grants_and_nothing_else(toy: Toy) -> None:
    wrong = []
    for method, path, column, expected in CASES:
        if column == "socket":
            reply = await toy.ask(method, path, unix=True)
        else:
            reply = await toy.ask(method, path, caller=None if column == "nobody" else column)
        if reply.status != expected:
            wrong.append(f"{method} {path} as {column}: {reply.status}, not {expected}")
    assert not wrong, "\n".join(wrong)


async def test_an_open_route_does_not_look_at_the_token(toy: Toy) -> None:
    assert (await toy.ask("GET", "/supervisor/ping", caller="core")).json["data"]["caller"] == "nobody"
    assert (await toy.ask("GET", "/supervisor/ping", unix=True)).json["data"]["caller"] == "admin"


async def test_a_wrong_method_names_the_right_ones(toy: Toy) -> None:
    reply = await toy.ask("DELETE", "/discovery")
    assert reply.headers["allow"] == "GET,HEAD,POST"
    assert reply.body == b"405: Method Not Allowed"


async def test_refusals_of_the_door_are_plain_text(toy: Toy) -> None:
    for caller, path, text in ((None, "/info", "401: Unauthorized"), ("default", "/backups", "403: Forbidden")):
        reply = await toy.ask("GET", path, caller=caller)
        assert reply.body.decode() == text
        assert reply.headers["content-type"] == "text/plain; charset=utf-8"


ALL_CALLERS = [NOBODY, STRANGER, *CALLERS.values(), Caller(CallerKind.ADMIN, "root")]


@pytest.mark.parametrize("access", list(Access))
def test_nobody_and_strangers_pass_open_routes_alone(access: Access) -> None:
    declared = route("/x/info", access)
    if access is Access.OPEN:
        decide(declared, NOBODY, {})
        decide(declared, STRANGER, {})
        return
    with pytest.raises(Unauthorized):
        decide(declared, NOBODY, {})
    with pytest.raises(Forbidden):
        decide(declared, STRANGER, {})


def test_a_wider_role_never_loses_what_a_narrower_one_has() -> None:
    order = (Role.DEFAULT, Role.HOMEASSISTANT, Role.MANAGER, Role.ADMIN), (Role.DEFAULT, Role.BACKUP, Role.MANAGER)
    for access in Access:
        for ladder in order:
            passed = [_passes(access, Caller.addon("a", role=role, hassio_api=True)) for role in ladder]
            assert passed == sorted(passed), access


def _passes(access: Access, caller: Caller) -> bool:
    try:
        decide(route("/x", access), caller, {})
    except (Forbidden, Unauthorized):
        return False
    return True


def test_a_role_nobody_defined_grants_nothing() -> None:
    odd = Caller.addon("odd", role="superuser", hassio_api=True)
    granted = {access for access in Access if _passes(access, odd)}
    assert granted == {Access.OPEN, Access.ANY}


def test_without_hassio_api_a_role_is_worth_nothing() -> None:
    powerless = Caller.addon("powerless", role=Role.ADMIN)
    assert {access for access in Access if _passes(access, powerless)} == {Access.OPEN, Access.ANY}
    with pytest.raises(Forbidden):
        decide_unknown(powerless)
    assert not powerless.may_manage


def test_only_managers_and_the_trusted_may_manage() -> None:
    assert [name for name, caller in CALLERS.items() if caller.may_manage] == ["core", "host", "manager", "admin"]


def test_the_own_flag_is_refused_outside_an_addons_namespace() -> None:
    with pytest.raises(ValueError, match="own namespace"):
        route("/store/addons/{addon}", Access.MANAGER, own=True)
