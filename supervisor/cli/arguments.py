"""Kinds of arguments, each with what the shell may complete for it from the running daemon."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

import click
from click.shell_completion import CompletionItem

from supervisor.cli import text
from supervisor.cli.answers import mappings
from supervisor.cli.client import Client
from supervisor.cli.command import find_target
from supervisor.cli.failures import Failure

_COMPLETION_TIMEOUT = 0.7
_SERVICE_WORD = re.compile(r"[A-Za-z0-9][-_.:@\\A-Za-z0-9]*")
_WORD = re.compile(r"[A-Za-z0-9][-_.A-Za-z0-9]*")


class _Identifier(click.ParamType[str]):
    """A word that names something of the daemon's."""

    def __init__(
        self, name: str, path: str, key: str | None, field: str, label: str, word: re.Pattern[str] = _WORD
    ) -> None:
        self.name = name
        self._word = word
        self._path, self._key, self._field, self._label = path, key, field, label

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        if not self._word.fullmatch(str(value)):
            self.fail(f"{text.line(str(value))!r} is not a valid {self.name}", param, ctx)
        return str(value)

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """Ask the daemon; whatever goes wrong, complete nothing and stay quiet."""
        chosen = ctx.params.get(param.name or "")
        taken = set(chosen) if isinstance(chosen, tuple) else set()
        try:
            root = ctx.find_root().params
            target = find_target(root.get("socket"), root.get("url"), root.get("token"))
            found = mappings(Client(target, timeout=_COMPLETION_TIMEOUT).get(self._path), self._key)
        except (Failure, click.UsageError):
            return []
        return list(self._items(found, incomplete, taken))

    def _items(self, found: Iterable[Mapping[str, Any]], incomplete: str, taken: set[str]) -> Iterable[CompletionItem]:
        for item in found:
            word = str(item.get(self._field, ""))
            if self._word.fullmatch(word) and word.startswith(incomplete) and word not in taken:
                yield CompletionItem(word, help=text.line(str(item.get(self._label) or "")) or None)


INSTALLED = _Identifier("slug", "/addons", "addons", "slug", "name")
STORE_ADDON = _Identifier("slug", "/store/addons", "addons", "slug", "name")
REPOSITORY = _Identifier("repository", "/store/repositories", None, "slug", "name")
SERVICE = _Identifier("service", "/host/services", "services", "name", "description", _SERVICE_WORD)
BACKUP = _Identifier("slug", "/backups", "backups", "slug", "name")
JOB = _Identifier("uuid", "/jobs/info", "jobs", "uuid", "name")
ISSUE = _Identifier("uuid", "/resolution/info", "issues", "uuid", "type")
SUGGESTION = _Identifier("uuid", "/resolution/info", "suggestions", "uuid", "type")
CHECK = _Identifier("check", "/resolution/info", "checks", "slug", "slug")
MOUNT = _Identifier("mount", "/mounts", "mounts", "name", "server")
BACKUP_REPOSITORY = _Identifier("repository", "/backups/repositories", "repositories", "name", "place")
