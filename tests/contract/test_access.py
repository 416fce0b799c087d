"""Who may ask for what: the table of the contract, written out by hand, tried with every kind of caller."""

from __future__ import annotations

import aiohttp
from household import ROLES, Household

from daemon import Daemon

# From the narrowest to the widest; each group may do what stands behind its name.
NOBODY = frozenset[str]()
ADMIN = frozenset({"admin"})
MANAGER = ADMIN | {"manager"}
ALL = MANAGER | {"default", "homeassistant", "backup"}
ANY = ALL | {"plain"}
OPEN = ANY | {"none", "wrong"}

OTHER = "local_rich"
TABLE: dict[tuple[str, str], frozenset[str]] = {
    ("GET", "/info"): ANY,
    ("POST", "/reload_updates"): ADMIN,
    ("POST", "/refresh_updates"): MANAGER,
    ("GET", "/available_updates"): MANAGER,
    ("GET", "/supervisor/available_updates"): MANAGER,
    ("GET", "/addons"): MANAGER,
    ("POST", "/addons/reload"): MANAGER,
    ("GET", "/addons/{addon}/info"): ALL,
    ("POST", "/addons/{addon}/install"): MANAGER,
    ("POST", "/addons/{addon}/update"): MANAGER,
    ("POST", "/addons/{addon}/uninstall"): MANAGER,
    ("POST", "/addons/{addon}/start"): MANAGER,
    ("POST", "/addons/{addon}/stop"): MANAGER,
    ("POST", "/addons/{addon}/restart"): MANAGER,
    ("POST", "/addons/{addon}/rebuild"): MANAGER,
    ("POST", "/addons/{addon}/rollback"): MANAGER,
    ("POST", "/addons/{addon}/options"): MANAGER,
    ("POST", "/addons/{addon}/options/validate"): MANAGER,
    ("GET", "/addons/{addon}/options/config"): MANAGER,
    ("POST", "/addons/{addon}/sys_options"): NOBODY,
    ("POST", "/addons/{addon}/security"): ADMIN,
    ("POST", "/addons/{addon}/stdin"): MANAGER,
    ("GET", "/addons/{addon}/stats"): MANAGER,
    ("GET", "/addons/{addon}/logs"): MANAGER,
    ("GET", "/addons/{addon}/logs/follow"): MANAGER,
    ("GET", "/addons/{addon}/logs/latest"): MANAGER,
    ("GET", "/addons/{addon}/logs/boots/{bootid}"): MANAGER,
    ("GET", "/addons/{addon}/logs/boots/{bootid}/follow"): MANAGER,
    ("GET", "/addons/{addon}/icon"): OPEN,
    ("GET", "/addons/{addon}/logo"): OPEN,
    ("GET", "/addons/{addon}/changelog"): MANAGER,
    ("GET", "/addons/{addon}/documentation"): MANAGER,
    ("GET", "/docker/info"): ALL,
    ("POST", "/docker/options"): MANAGER,
    ("GET", "/docker/registries"): MANAGER,
    ("POST", "/docker/registries"): MANAGER,
    ("DELETE", "/docker/registries/{hostname}"): MANAGER,
    ("GET", "/jobs/info"): ALL,
    ("POST", "/jobs/options"): MANAGER,
    ("POST", "/jobs/reset"): MANAGER,
    ("GET", "/jobs/history"): MANAGER,
    ("GET", "/jobs/{uuid}"): MANAGER,
    ("POST", "/jobs/{uuid}/cancel"): MANAGER,
    ("DELETE", "/jobs/{uuid}"): MANAGER,
    ("GET", "/resolution/info"): ALL,
    ("GET", "/resolution/issue/{issue}/suggestions"): MANAGER,
    ("DELETE", "/resolution/issue/{issue}"): MANAGER,
    ("DELETE", "/resolution/suggestion/{suggestion}"): MANAGER,
    ("GET", "/store"): MANAGER,
    ("GET", "/store/addons"): MANAGER,
    ("GET", "/store/addons/{addon}"): MANAGER,
    ("GET", "/store/addons/{addon}/{version}"): MANAGER,
    ("GET", "/store/addons/{addon}/availability"): MANAGER,
    ("GET", "/store/addons/{addon}/icon"): OPEN,
    ("GET", "/store/addons/{addon}/logo"): OPEN,
    ("GET", "/store/addons/{addon}/changelog"): MANAGER,
    ("GET", "/store/addons/{addon}/documentation"): MANAGER,
    ("POST", "/store/addons/{addon}/install"): MANAGER,
    ("POST", "/store/addons/{addon}/install/{version}"): MANAGER,
    ("POST", "/store/addons/{addon}/update"): MANAGER,
    ("POST", "/store/addons/{addon}/update/{version}"): MANAGER,
    ("POST", "/store/reload"): MANAGER,
    ("GET", "/store/repositories"): MANAGER,
    ("POST", "/store/repositories"): MANAGER,
    ("GET", "/store/repositories/{repository}"): MANAGER,
    ("DELETE", "/store/repositories/{repository}"): MANAGER,
    ("POST", "/store/repositories/{repository}/repair"): MANAGER,
    ("GET", "/supervisor/ping"): OPEN,
    ("GET", "/supervisor/info"): ALL,
    ("GET", "/supervisor/stats"): MANAGER,
    ("POST", "/supervisor/options"): MANAGER,
    ("POST", "/supervisor/reload"): MANAGER,
    ("POST", "/supervisor/restart"): MANAGER,
    ("GET", "/supervisor/logs"): MANAGER,
    ("GET", "/supervisor/logs/follow"): MANAGER,
    ("GET", "/supervisor/logs/latest"): MANAGER,
    ("GET", "/supervisor/logs/boots/{bootid}"): MANAGER,
    ("GET", "/supervisor/logs/boots/{bootid}/follow"): MANAGER,
}
# What an add-on may ask about itself without any right: one step below its own name, and its rendered options.
OWN = {
    ("GET", "info"): ANY,
    ("POST", "start"): ANY,
    ("POST", "stop"): ANY,
    ("POST", "restart"): ANY,
    ("POST", "rebuild"): ANY,
    ("POST", "uninstall"): ANY,
    ("POST", "rollback"): MANAGER,
    ("POST", "options"): ANY,
    ("POST", "stdin"): ANY,
    ("GET", "stats"): ANY,
    ("GET", "logs"): ANY,
    ("GET", "options/config"): ANY,
    ("POST", "options/validate"): MANAGER,
    ("GET", "logs/latest"): MANAGER,
    ("POST", "security"): ADMIN,
    ("POST", "update"): MANAGER,
    ("POST", "sys_options"): NOBODY,
}
UNKNOWN = {
    ("GET", "/no/such/path"): ADMIN,
    ("POST", "/os/datadisk/wipe"): ADMIN,
    ("GET", "/snapshots"): MANAGER & ADMIN,
}
# A body that no route takes: the decision is made, the handler never runs.
BROKEN = b"{"
NAMES = {"{addon}": OTHER, "{bootid}": "99", "{version}": "1.0", "{uuid}": "0" * 32, "{hostname}": "nowhere.example"}
NAMES |= {"{issue}": "0" * 32, "{suggestion}": "0" * 32, "{repository}": "ffffffff"}


def tokens(household: Household) -> dict[str, str | None]:
    return {**household.tokens, "none": None, "wrong": "0" * 112}


async def admitted(method: str, path: str, token: str | None) -> bool:
    """Tell whether the caller got past the decision."""
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    data = BROKEN if method in {"POST", "PUT"} else None
    timeout = aiohttp.ClientTimeout(total=10, sock_read=0.5)
    async with aiohttp.ClientSession(timeout=timeout) as session:
        try:
            async with session.request(method, f"http://172.30.32.1{path}", headers=headers, data=data) as answer:
                if answer.status not in {401, 403}:
                    return True
                # What a handler refuses for reasons of its own comes in the envelope, the decision itself as text.
                own_reasons = answer.content_type == "application/json"
                assert own_reasons or answer.status == (401 if token is None else 403), (method, path, answer.status)
                return own_reasons
        except TimeoutError:
            return True  # a log that is followed and silent


def filled(path: str) -> str:
    for name, value in NAMES.items():
        path = path.replace(name, value)
    return path


async def test_every_route_admits_exactly_who_the_contract_says(household: Household) -> None:
    wrong = []
    for (method, path), allowed in TABLE.items():
        for caller, token in tokens(household).items():
            if await admitted(method, filled(path), token) != (caller in allowed):
                wrong.append(f"{caller}: {method} {path}, should be {'admitted' if caller in allowed else 'refused'}")
    assert not wrong, "\n".join(wrong)


async def test_an_add_on_may_ask_about_itself(household: Household) -> None:
    wrong = []
    for (method, rest), allowed in OWN.items():
        if rest == "stdin":
            continue  # takes any body: its handler would run
        for role in ROLES:
            path = f"/addons/self/{rest}"
            if await admitted(method, path, household.tokens[role]) != (role in allowed):
                wrong.append(f"{role}: {method} {path}, should be {'admitted' if role in allowed else 'refused'}")
    assert not wrong, "\n".join(wrong)


async def test_paths_that_do_not_exist_are_for_administrators_only(household: Household) -> None:
    for (method, path), allowed in UNKNOWN.items():
        for caller, token in tokens(household).items():
            assert await admitted(method, path, token) == (caller in allowed), (caller, path)


async def test_the_table_knows_every_route(daemon: Daemon) -> None:
    document = (await daemon.ask("GET", "/openapi.json")).body
    routes = {(method.upper(), path) for path, item in document["paths"].items() for method in item}
    own = {("GET", path) for _, path in routes if path.startswith(("/docs", "/openapi"))}
    assert routes - own == set(TABLE)
