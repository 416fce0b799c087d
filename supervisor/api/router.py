"""Finds the route of a method and a path."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Final

import attrs

from supervisor.api.route import Route

_NO_NAMES: Final[Mapping[str, str]] = MappingProxyType({})


@attrs.define
class _Node:
    literals: dict[str, _Node] = attrs.field(factory=dict)
    name: _Node | None = None
    routes: dict[str, Route] = attrs.field(factory=dict)
    rest: dict[str, Route] = attrs.field(factory=dict)


@attrs.frozen
class Match:
    """`route` is None where nothing answers; `others` are then the routes of the same path by their methods."""

    route: Route | None
    names: Mapping[str, str] = _NO_NAMES
    others: Mapping[str, Route] = attrs.field(factory=dict)
    segments: Sequence[str] = ()

    def names_of(self, route: Route) -> dict[str, str]:
        """Return what the names in the path of one of the others stand for."""
        return names_in(route, self.segments)

    @property
    def allow(self) -> str:
        methods = set(self.others)
        if "GET" in methods:
            methods.add("HEAD")
        return ",".join(sorted(methods))


class Router:
    def __init__(self, routes: Sequence[Route]) -> None:
        """Index `routes`; ValueError where two of them answer the same method and path."""
        self._root = _Node()
        self._plain: dict[tuple[str, str], Match] = {}
        for route in routes:
            self._add(route)

    def _add(self, route: Route) -> None:
        node = self._root
        rest = False
        for segment in _segments(route.path):
            if segment.endswith("...}"):
                rest = True
            elif segment.startswith("{"):
                node.name = node.name or _Node()
                node = node.name
            else:
                node = node.literals.setdefault(segment, _Node())
        table = node.rest if rest else node.routes
        if route.method in table:
            raise ValueError(f"{route.method} {route.path} is declared twice")
        table[route.method] = route
        if "{" not in route.path:
            self._plain[route.method, route.path] = Match(route)

    def find(self, method: str, path: str) -> Match:
        """Return what answers `path`; HEAD is answered by what answers GET."""
        if method == "HEAD":
            method = "GET"
        plain = self._plain.get((method, path))
        if plain is not None:
            return plain
        segments = _segments(path)
        others: dict[str, Route] = {}
        for table in _walk(self._root, segments, 0):
            route = table.get(method)
            if route is not None:
                return Match(route, MappingProxyType(names_in(route, segments)))
            for other, candidate in table.items():
                others.setdefault(other, candidate)
        return Match(None, others=others, segments=segments)


def names_in(route: Route, segments: Sequence[str]) -> dict[str, str]:
    """Return what the names of the route's path stand for in these segments."""
    names = {}
    for index, declared in enumerate(_segments(route.path)):
        if declared.endswith("...}"):
            names[declared[1:-4]] = "/".join(segments[index:])
        elif declared.startswith("{"):
            names[declared[1:-1]] = segments[index]
    return names


def _segments(path: str) -> list[str]:
    return path[1:].split("/")


def _walk(node: _Node, segments: Sequence[str], index: int) -> Iterator[dict[str, Route]]:
    """Yield the tables of every declared path that fits, the most literal first."""
    if index == len(segments):
        if node.routes:
            yield node.routes
        return
    segment = segments[index]
    literal = node.literals.get(segment)
    if literal is not None:
        yield from _walk(literal, segments, index + 1)
    if node.name is not None and segment:
        yield from _walk(node.name, segments, index + 1)
    if node.rest:
        yield node.rest
