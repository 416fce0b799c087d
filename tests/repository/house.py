"""A machine with something to save, and the manager of its repositories."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import attrs
from repository_stage import PASSWORD, silent

from supervisor.drivers.restic import Restic
from supervisor.events import EventBus
from supervisor.jobs import JobManager
from supervisor.jobs.manager import JOBS_SCHEMA
from supervisor.managers.backups.repositories import RepositoryManager
from supervisor.managers.backups.repository_backup import KeptPart, Part, Root
from supervisor.managers.backups.repository_contents import RepositoryContents
from supervisor.managers.backups.repository_files import RepositoryFiles, Secrets
from supervisor.managers.backups.repository_place import parse
from supervisor.managers.backups.repository_record import REPOSITORIES_SCHEMA
from supervisor.paths import DataPaths
from supervisor.state import StateFile


@attrs.define(eq=False)
class Stage:
    """A machine with a share folder and an add-on, and a manager of repositories."""

    folder: Path
    bus: EventBus = attrs.field(factory=EventBus)
    clock: datetime = datetime(2026, 5, 1, 3, tzinfo=UTC)

    @property
    def share(self) -> Path:
        return self.paths.share

    @property
    def addon(self) -> Path:
        return self.paths.addons_data / "local_x"

    @property
    def paths(self) -> DataPaths:
        return DataPaths(self.folder / "data", self.folder / "data")

    @property
    def files(self) -> RepositoryFiles:
        return RepositoryFiles(
            self.folder / "repositories", self.folder / "repositories" / ".ssh" / "key", self.folder / "mounts"
        )

    def manager(self) -> RepositoryManager:
        return RepositoryManager(
            Restic(name_of=lambda access: access.cache.parent.name),
            StateFile(self.folder / "backup_repositories.json", REPOSITORIES_SCHEMA, self.bus),
            self.files,
            JobManager(self.bus, StateFile(self.folder / "jobs.json", JOBS_SCHEMA, self.bus)),
            self.bus,
            self.paths,
        )

    def contents(self, manager: RepositoryManager) -> RepositoryContents:
        return RepositoryContents(manager._engine, manager, manager._jobs, self.paths)

    def parts(self) -> list[Part]:
        addon = self.addon
        return [
            Part("share", (Root(".", self.share, lambda path: path.endswith(".tmp")),)),
            Part("local_x", (Root("data", addon),), {"addon.json": b'{"version":"1.0"}'}),
        ]

    def metadata(self, slug: str, kept: Mapping[str, KeptPart]) -> dict[str, Any]:
        self.clock += timedelta(days=1)
        return {
            "slug": slug, "name": f"backup {slug}", "date": self.clock.isoformat(), "type": "partial",
            "folders": [name for name in kept if name == "share"], "extra": {"commas": "a,b,c"},
        }  # fmt: skip

    async def save(self, manager: RepositoryManager, slug: str, parts: Sequence[Part] | None = None) -> None:
        async with manager.writing("nas", slug) as writer:
            first, *rest = self.parts() if parts is None else parts
            await writer.store(rest, silent)
            await writer.finish(lambda kept: self.metadata(slug, kept), [first], silent)


async def with_repository(stage: Stage) -> RepositoryManager:
    manager = stage.manager()
    await manager.load()
    await manager.add("nas", parse(str(stage.folder / "repository")), Secrets(PASSWORD), adopt=False)
    return manager
