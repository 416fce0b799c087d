"""The repositories' folders: fetched, verified, replaced and removed. No list of repositories lives here."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path
from typing import Final, Protocol

from supervisor.drivers.folder import remove_tree
from supervisor.errors import Invalid
from supervisor.model.repository import Source
from supervisor.paths import DataPaths

from .index import newest_change
from .repository import Repository

_LOGGER = logging.getLogger(__name__)

_OURS: Final = re.compile(r"[0-9a-f]{8}")


class GitClient(Protocol):
    """What the store needs of git; see the driver for errors."""

    async def clone(self, url: str, target: Path, *, branch: str | None = None) -> None: ...

    async def pull(self, folder: Path, url: str, branch: str | None = None) -> bool: ...

    async def check(self, folder: Path) -> None: ...

    async def sweep(self, folder: Path) -> None: ...


class Checkouts:
    """One call per repository at a time; the manager's locks see to that."""

    def __init__(self, paths: DataPaths, git: GitClient) -> None:
        self._paths = paths
        self._git = git
        self._local_change: dict[str, int] = {}

    async def sweep(self, listed: Collection[str] | None) -> None:
        """End what a crash interrupted. With `listed`, clones of repositories that are not listed are removed."""
        await self._git.sweep(self._paths.addons_git)
        await self._git.sweep(self._paths.addons_core.parent)
        if listed is not None:
            await asyncio.to_thread(_remove_unlisted, self._paths.addons_git, listed)

    async def present(self, repository: Repository) -> bool:
        return await asyncio.to_thread(_holds_something, repository.folder)

    async def ensure(self, repository: Repository) -> bool:
        """Clone what is missing, verify and mend what is there; tell whether something was cloned.

        Raises:
            SupervisorError: as git's `clone` and `check`.
        """
        source = _source(repository)
        if await self.present(repository):
            await self._git.check(repository.folder)
            return False
        await self._git.clone(source.url, repository.folder, branch=source.branch)
        return True

    async def update(self, repository: Repository) -> bool:
        """Bring the folder up to date and tell whether it changed; the local one is only looked at.

        Raises:
            SupervisorError: as git's `clone` and `pull`.
        """
        if repository.local:
            return await self._looked_at(repository)
        source = _source(repository)
        if not await self.present(repository):
            await self._git.clone(source.url, repository.folder, branch=source.branch)
            return True
        return await self._git.pull(repository.folder, source.url, source.branch)

    async def renew(self, repository: Repository) -> None:
        """Replace the folder by a fresh clone; it stays as it is when that fails.

        Raises:
            SupervisorError: as git's `clone`.
        """
        source = _source(repository)
        await self._git.clone(source.url, repository.folder, branch=source.branch)

    async def remove(self, repository: Repository) -> None:
        await asyncio.to_thread(remove_tree, repository.folder)

    async def remember_local(self, repository: Repository) -> None:
        await self._looked_at(repository)

    async def _looked_at(self, repository: Repository) -> bool:
        newest = await asyncio.to_thread(newest_change, repository.folder)
        before = self._local_change.get(repository.slug)
        self._local_change[repository.slug] = newest
        return newest != before


def _source(repository: Repository) -> Source:
    if repository.remote is None:
        raise Invalid(f"The source of repository {repository.slug} is not accepted")
    return repository.remote


def _holds_something(folder: Path) -> bool:
    try:
        return any(folder.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return False


def _remove_unlisted(folder: Path, listed: Collection[str]) -> None:
    with suppress(FileNotFoundError):
        for path in sorted(folder.iterdir()):
            if _OURS.fullmatch(path.name) and path.name not in listed:
                _LOGGER.info("Repository %s is in no list, its clone is removed", path.name)
                remove_tree(path)
