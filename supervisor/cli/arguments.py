"""Kinds of arguments, each with what the shell may complete for it from the running daemon."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

import click
from click.shell_completion import CompletionItem

from supervisor.cli import text
from supervisor.cli.answers import mappings
from supervisor.cli.client import Client
from supervisor.cli.command import find_target
from supervisor.cli.failures import Failure

LOCAL: Final = ".local"
_COMPLETION_TIMEOUT = 0.7
_SERVICE_WORD = re.compile(r"[A-Za-z0-9][-_.:@\\A-Za-z0-9]*")
_WORD = re.compile(r"[A-Za-z0-9][-_.A-Za-z0-9]*")
_NAME = re.compile(r"\S.*")


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
        """Offer what the daemon knows."""
        chosen = ctx.params.get(param.name or "")
        taken = set(chosen) if isinstance(chosen, tuple) else set()
        return list(self._items(_asked(ctx, self._path, self._key), incomplete, taken))

    def _items(self, found: Iterable[Mapping[str, Any]], incomplete: str, taken: set[str]) -> Iterable[CompletionItem]:
        for item in found:
            word = str(item.get(self._field, ""))
            if self._word.fullmatch(word) and word.startswith(incomplete) and word not in taken:
                yield CompletionItem(word, help=text.line(str(item.get(self._label) or "")) or None)


class _Location(click.ParamType[str]):
    """A place where backups are kept: `local` (the API's `.local`), the name of a mount, `repository:` and a name."""

    name = "location"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        del param, ctx
        return LOCAL if value == "local" else str(value)

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """Offer the mounts that are for backups, and the repositories."""
        del param
        mounts = [row for row in _asked(ctx, "/mounts", "mounts") if row.get("usage") == "backup"]
        repositories = _asked(ctx, "/backups/repositories", "repositories")
        words = ["local", *(str(row.get("name")) for row in mounts)]
        words += [f"repository:{row.get('name')}" for row in repositories]
        return [CompletionItem(text.line(word)) for word in words if word.startswith(incomplete)]


def _asked(ctx: click.Context, path: str, key: str | None) -> list[Mapping[str, Any]]:
    """Ask the daemon for a list; whatever goes wrong, complete nothing and stay quiet."""
    try:
        root = ctx.find_root().params
        target = find_target(root.get("socket"), root.get("url"), root.get("token"))
        return mappings(Client(target, timeout=_COMPLETION_TIMEOUT).get(path), key)
    except (Failure, click.UsageError):
        return []


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
SCHEDULE = _Identifier("schedule", "/backups/schedules", "schedules", "name", "cron", _NAME)
LOCATION = _Location()
