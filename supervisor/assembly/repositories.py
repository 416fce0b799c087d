"""Builds what looks after backup repositories."""

from __future__ import annotations

import attrs

from supervisor.drivers.restic import Restic
from supervisor.managers.backups.repositories import RepositoryManager
from supervisor.managers.backups.repository_contents import RepositoryContents
from supervisor.managers.backups.repository_files import RepositoryFiles
from supervisor.managers.backups.repository_record import REPOSITORIES_SCHEMA

from .base import Base
from .parts import Parts


@attrs.frozen(eq=False)
class RepositoryParts:
    """The repositories, and what is in them."""

    manager: RepositoryManager
    contents: RepositoryContents


def build_repositories(base: Base) -> RepositoryParts:
    folder = base.paths.root / "repositories"
    # People know a repository by its name, and that is what its folder of ours is called.
    engine = Restic(name_of=lambda access: access.cache.parent.name)
    files = RepositoryFiles(folder, folder / ".ssh" / "id_ed25519", base.paths.root / "mounts")
    state = base.state_file("backup_repositories.json", REPOSITORIES_SCHEMA)
    manager = RepositoryManager(engine, state, files, base.jobs, base.bus, base.paths)
    return RepositoryParts(manager, RepositoryContents(engine, manager, base.jobs, base.paths))


def time_zone(base: Base, parts: Parts) -> str:
    """Return the name of the zone whose calendar counts."""
    return parts.configuration.timezone or base.host.facts.timezone or "UTC"
