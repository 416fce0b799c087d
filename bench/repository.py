"""A backup repository: the first backup, a second one of unchanged data, and a restore.

What is measured is all that the daemon does for it: looking at the files, the engine, and reading back what is there
then. The data is that of the archives' benchmark.
"""

from __future__ import annotations

import argparse
import asyncio
import shutil
import statistics
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

from archive import make_data
from stage import Row, show

from supervisor.drivers.folder import remove_tree
from supervisor.drivers.restic import Restic
from supervisor.drivers.snapshot_engine import Progress
from supervisor.events import EventBus
from supervisor.jobs import JobManager
from supervisor.jobs.manager import JOBS_SCHEMA
from supervisor.managers.backups.repositories import RepositoryManager
from supervisor.managers.backups.repository_backup import Part, Root
from supervisor.managers.backups.repository_contents import RepositoryContents
from supervisor.managers.backups.repository_files import RepositoryFiles, Secrets
from supervisor.managers.backups.repository_place import parse
from supervisor.managers.backups.repository_record import REPOSITORIES_SCHEMA
from supervisor.paths import DataPaths
from supervisor.state import StateFile


def silent(_: Progress) -> None:
    pass


class Bench:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        paths, bus = DataPaths(folder / "data", folder / "data"), EventBus()
        paths.create()
        engine = Restic()
        jobs = JobManager(bus, StateFile(folder / "jobs.json", JOBS_SCHEMA, bus))
        files = RepositoryFiles(folder / "repositories", folder / "key", folder / "mounts")
        state = StateFile(folder / "state.json", REPOSITORIES_SCHEMA, bus)
        self.share = paths.share
        self.manager = RepositoryManager(engine, state, files, jobs, bus, paths)
        self.contents = RepositoryContents(engine, self.manager, jobs, paths)

    async def add(self) -> None:
        place = parse(str(self.folder / "repository"))
        await self.manager.add("bench", place, Secrets("bench"), adopt=False)

    async def backup(self, slug: str) -> float:
        began = time.perf_counter()
        metadata = {"slug": slug, "date": datetime.now(UTC).isoformat()}
        async with self.manager.writing("bench", slug) as writer:
            await writer.finish(lambda _: metadata, [Part("share", (Root(".", self.share),))], silent)
        return time.perf_counter() - began

    async def restore(self, slug: str) -> float:
        target = self.folder / "restored"
        target.mkdir(mode=0o700)
        began = time.perf_counter()
        await self.contents.fetch("bench", slug, "share", target)
        took = time.perf_counter() - began
        remove_tree(target)
        return took


async def measure(folder: Path, megabytes: int) -> list[Row]:
    bench = Bench(folder)
    size = make_data(bench.share, megabytes)
    await bench.add()
    first = await bench.backup("first")
    again = statistics.median([await bench.backup(f"again{number}") for number in range(3)])
    restored = size / 1e6 / await bench.restore("first")
    share = again / first
    return [
        Row(f"first backup of {size / 1e6:.0f} MB into a repository", f"{first:.1f} s ({size / 1e6 / first:.0f} MB/s)"),
        Row("second one of unchanged data, of the first", f"{share:.1%} ({again:.2f} s)", "<= 10%", share <= 0.1),
        Row("restore from the repository", f"{restored:.0f} MB/s"),
    ]


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--quick", action="store_true")
    given = parser.parse_args()
    given.folder.mkdir(parents=True)
    try:
        # With little data the fixed costs of both runs are what is compared.
        rows = asyncio.run(measure(given.folder, 600 if given.quick else 1000))
    finally:
        shutil.rmtree(given.folder, ignore_errors=True)
    return show(rows)


if __name__ == "__main__":
    sys.exit(main())
