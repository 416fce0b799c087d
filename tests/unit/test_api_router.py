from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor.api.route import Access, Call, Route
from supervisor.api.router import Router


async def nothing(_call: Call) -> Any:
    return None


def route(method: str, path: str) -> Route:
    return Route(method, path, Access.ANY, nothing, "Nothing")


ROUTER = Router(
    [
        route("GET", "/backups"),
        route("GET", "/backups/info"),
        route("DELETE", "/backups/{slug}"),
        route("GET", "/backups/{slug}/info"),
        route("GET", "/os/boards/green"),
        route("GET", "/os/boards/{board}"),
        route("GET", "/store/addons/{addon}/{version}"),
        route("GET", "/store/addons/{addon}/icon"),
        route("GET", "/store/addons/special/tail"),
        route("GET", "/core/api/{path...}"),
        route("GET", "/ingress/{token}/{path...}"),
        route("GET", "/"),
    ]
)


@pytest.mark.parametrize(
    ("method", "path", "found", "names"),
    [
        ("GET", "/", "/", {}),
        ("GET", "/backups", "/backups", {}),
        ("HEAD", "/backups/info", "/backups/info", {}),
        ("DELETE", "/backups/info", "/backups/{slug}", {"slug": "info"}),
        ("GET", "/backups/info/info", "/backups/{slug}/info", {"slug": "info"}),
        ("GET", "/os/boards/green", "/os/boards/green", {}),
        ("GET", "/os/boards/red", "/os/boards/{board}", {"board": "red"}),
        ("GET", "/store/addons/x/icon", "/store/addons/{addon}/icon", {"addon": "x"}),
        ("GET", "/store/addons/x/1.0", "/store/addons/{addon}/{version}", {"addon": "x", "version": "1.0"}),
        ("GET", "/store/addons/special/icon", "/store/addons/{addon}/icon", {"addon": "special"}),
        ("GET", "/core/api/", "/core/api/{path...}", {"path": ""}),
        ("GET", "/core/api/a/b/", "/core/api/{path...}", {"path": "a/b/"}),
        ("GET", "/ingress/t/", "/ingress/{token}/{path...}", {"token": "t", "path": ""}),
        ("GET", "/ingress/t/x/y", "/ingress/{token}/{path...}", {"token": "t", "path": "x/y"}),
    ],
)
def test_the_most_literal_route_of_the_method_answers(
    method: str, path: str, found: str, names: dict[str, str]
) -> None:
    match = ROUTER.find(method, path)
    assert match.route is not None
    assert match.route.path == found
    assert dict(match.names) == names


@pytest.mark.parametrize(
    "path", ["/backups/", "/nowhere", "/core/api", "/store/addons//x", "/ingress//x", "/backups/a/b/c"]
)
def test_what_is_not_declared_is_not_found(path: str) -> None:
    match = ROUTER.find("GET", path)
    assert match.route is None
    assert not match.others


def test_a_wrong_method_learns_all_that_the_path_answers() -> None:
    assert ROUTER.find("POST", "/backups/info").allow == "DELETE,GET,HEAD"
    assert ROUTER.find("GET", "/backups/x").allow == "DELETE"


def test_two_routes_for_one_question_are_a_mistake() -> None:
    with pytest.raises(ValueError, match="twice"):
        Router([route("GET", "/a/{x}"), route("GET", "/a/{y}")])


@pytest.mark.parametrize("path", ["a", "/{x}/{x}", "/{x...}/y"])
def test_an_impossible_path_is_refused_when_it_is_declared(path: str) -> None:
    with pytest.raises(ValueError, match="can't be the path"):
        route("GET", path)


@given(st.lists(st.sampled_from(["backups", "info", "store", "addons", "x", "", "{slug}", "api", "core"]), max_size=8))
def test_any_path_can_be_looked_up(segments: list[str]) -> None:
    match = ROUTER.find("GET", "/" + "/".join(segments))
    assert match.route is None or set(match.names) <= {"slug", "board", "addon", "version", "path", "token"}
