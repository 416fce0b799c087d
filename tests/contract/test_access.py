"""Who may ask for what: the table of the contract, written out by hand, tried with every kind of caller."""

from __future__ import annotations

import asyncio
from typing import Any

import aiohttp
from access_table import ADMIN, NOBODY, OWN, TABLE, UNAUTHORIZED
from household import Household

from daemon import Daemon, over_tcp

OTHER = "local_rich"
UNKNOWN = {
    ("GET", "/no/such/path"): ADMIN,
    ("GET", "/snapshots"): ADMIN,
    ("GET", "/addons/"): ADMIN,
}
# A body that no route takes: the decision is made, the handler never runs.
BROKEN = b"{"
WRONG = "0" * 112
NAMES = {"{addon}": OTHER, "{bootid}": "99", "{version}": "1.0", "{uuid}": "0" * 32, "{hostname}": "nowhere.example"}
NAMES |= {"{issue}": "0" * 32, "{suggestion}": "0" * 32, "{repository}": "ffffffff", "{service}": "mqtt"}
NAMES["{slug}"] = "00000000"
NAMES |= {"{check}": "no_such_check"}


def tokens(household: Household) -> dict[str, str | None]:
    return {**household.tokens, "none": None, "wrong": WRONG}


async def admitted(method: str, path: str, token: str | None, *, may: bool) -> bool:
    """Tell whether the caller got past the decision; `may` whether that is expected."""
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    data = BROKEN if method in {"POST", "PUT"} else None
    # A log that is followed, and silent, answers nothing at all to those who may read it; a refusal may take its time.
    timeout = aiohttp.ClientTimeout(sock_read=5 if may and path.endswith("/follow") else 60)
    async with aiohttp.ClientSession(timeout=timeout) as session:
        try:
            async with session.request(method, f"http://172.30.32.1{path}", headers=headers, data=data) as answer:
                if answer.status not in {401, 403}:
                    return True
                # What a handler refuses for reasons of its own comes in the envelope, the decision itself as text.
                own_reasons = answer.content_type == "application/json"
                unknown = token is None or path.startswith(UNAUTHORIZED)
                stranger = token == WRONG
                refused = {401} if unknown and not stranger else {403}
                assert own_reasons or answer.status in refused, (method, path, answer.status)
                return own_reasons
        except TimeoutError:
            return True


def filled(path: str) -> str:
    for name, value in NAMES.items():
        path = path.replace(name, value)
    return path


async def misjudged(household: Household, table: dict[tuple[str, str], Any], base: str = "") -> list[str]:
    """Try every route of a table with every caller; return who was treated otherwise than it says."""

    async def judge(method: str, path: str, caller: str, token: str | None, *, may: bool) -> str | None:
        if await admitted(method, filled(base + path), token, may=may) == may:
            return None
        return f"{caller}: {method} {base}{path}, should be {'admitted' if may else 'refused'}"

    cases = [
        (path.endswith("/follow"), judge(method, path, caller, token, may=caller in allowed))
        for (method, path), allowed in table.items()
        for caller, token in tokens(household).items()
    ]
    # All that may have to be waited for are waited for together.
    found = await asyncio.gather(*(case for follows, case in cases if follows))
    found += [await case for follows, case in cases if not follows]
    return [wrong for wrong in found if wrong is not None]


async def test_every_route_admits_exactly_who_the_contract_says(household: Household) -> None:
    wrong = await misjudged(household, TABLE)
    assert not wrong, "\n".join(wrong)


async def test_an_add_on_may_ask_about_itself(household: Household) -> None:
    wrong = await misjudged(household, OWN, "/addons/self/")
    assert not wrong, "\n".join(wrong)


async def test_what_the_store_serves_does_not_know_self(household: Household) -> None:
    for method, rest in (("POST", "install"), ("POST", "update"), ("GET", "icon")):
        answer = await over_tcp(household.tokens["manager"], f"/addons/self/{rest}", method=method)
        assert answer.status == 404, (rest, answer.text)


async def test_an_administrator_of_the_machine_may_do_everything_but_what_is_cores(daemon: Daemon) -> None:
    for (method, path), allowed in TABLE.items():
        if path.endswith("/follow") or path in {"/addons/{addon}/stdin", "/addons/{addon}/options/validate"}:
            continue  # streams, and what takes any body
        answer = await daemon.ask(method, filled(path), raw=BROKEN if method == "POST" else None)
        by_decision = answer.status in {401, 403} and answer.body is None
        assert by_decision == (allowed == NOBODY), (method, path, answer.status, answer.text)


async def test_paths_that_do_not_exist_are_for_administrators_only(household: Household) -> None:
    for (method, path), allowed in UNKNOWN.items():
        for caller, token in tokens(household).items():
            may = caller in allowed
            assert await admitted(method, path, token, may=may) == may, (caller, path)


async def test_the_tables_know_every_route(daemon: Daemon) -> None:
    document = (await daemon.ask("GET", "/openapi.json")).body
    routes = {(method.upper(), path) for path, item in document["paths"].items() for method in item}
    assert routes == set(TABLE)
    below = "/addons/{addon}/"
    assert {(method, path.removeprefix(below)) for method, path in routes if path.startswith(below)} == set(OWN)
