"""Repositories of strangers in the running daemon: fetched, followed, repaired, taken over, removed."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from daemon import Daemon, until

MANIFEST = (
    "name: Lamp\nversion: '{version}'\nslug: lamp\ndescription: d\narch: [amd64, aarch64]\nimage: example.org/lamp\n"
)


class Author:
    """Somebody's repository on this machine."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()
        self.git("init", "-q", "-b", "main")
        self.publish("1.0")

    @property
    def url(self) -> str:
        return f"file://{self.folder}"

    def git(self, *arguments: str) -> None:
        settings = ("-c", "user.name=a", "-c", "user.email=a@example.org")
        subprocess.run(("git", *settings, *arguments), cwd=self.folder, check=True, capture_output=True)

    def publish(self, version: str, **files: str) -> None:
        (self.folder / "repository.yaml").write_text("name: Lamps\nmaintainer: Somebody\n")
        (self.folder / "lamp").mkdir(exist_ok=True)
        (self.folder / "lamp" / "config.yaml").write_text(MANIFEST.format(version=version))
        for name, content in files.items():
            (self.folder / "lamp" / f"{name}.md").write_text(content)
        self.git("add", "--all")
        self.git("commit", "-q", "-m", version)


@pytest.fixture
def author(tmp_path: Path) -> Author:
    return Author(tmp_path / "author")


async def repository(daemon: Daemon) -> dict[str, Any] | None:
    found = await daemon.get("/store/repositories")
    return next((one for one in found if one["name"] == "Lamps"), None)


def owners(folder: Path) -> set[int]:
    return {path.lstat().st_uid for path in (folder, *folder.rglob("*"))}


async def test_a_repository_is_added_followed_and_removed(running: Daemon, author: Author) -> None:
    await running.post("/store/repositories", {"repository": f"{author.url}#main"})
    listed = await repository(running)
    assert listed is not None
    assert (listed["source"], listed["maintainer"]) == (f"{author.url}#main", "Somebody")
    slug = listed["slug"]
    lamp = f"{slug}_lamp"
    assert (await running.get(f"/store/addons/{lamp}"))["version_latest"] == "1.0"
    clone = running.data / "addons" / "git" / slug
    assert owners(clone) == {os.geteuid()}
    assert (await running.ask("POST", "/store/repositories", {"repository": f"{author.url}#main"})).status == 409

    author.publish("1.1", CHANGELOG="# 1.1\n")
    await running.post("/store/reload")
    found = await running.get(f"/store/addons/{lamp}")
    assert (found["version_latest"], found["documentation"], found["icon"]) == ("1.1", False, False)
    assert (await running.ask("GET", f"/store/addons/{lamp}/changelog")).text == "# 1.1\n"

    assert (await running.ask("DELETE", f"/store/repositories/{slug}")).status == 200
    assert await repository(running) is None
    assert not clone.exists()
    assert (await running.ask("GET", f"/store/addons/{lamp}")).status == 404


async def test_a_clone_damaged_while_the_daemon_was_off_is_an_issue_and_can_be_repaired(
    running: Daemon, author: Author
) -> None:
    await running.post("/store/repositories", {"repository": author.url})
    listed = await repository(running)
    assert listed is not None
    slug = listed["slug"]
    await running.end()
    shutil.rmtree(running.data / "addons" / "git" / slug / ".git" / "objects")
    await running.start()

    async def issue() -> bool:
        issues = (await running.get("/resolution/info"))["issues"]
        return any((one["type"], one["reference"]) == ("fatal_error", slug) for one in issues)

    await until(issue, 30, lambda: running.log)
    assert (await running.get(f"/store/addons/{slug}_lamp"))["version_latest"] == "1.0", "its files are still there"
    author.publish("1.1")
    await running.post(f"/store/repositories/{slug}/repair")
    assert not await issue()
    assert (await running.get(f"/store/addons/{slug}_lamp"))["version_latest"] == "1.1"


async def test_repositories_of_an_older_system_are_taken_over(daemon: Daemon, author: Author) -> None:
    daemon.data.mkdir(parents=True, exist_ok=True)
    (daemon.data / "config.json").write_text(json.dumps({"addons_custom_list": [author.url], "timezone": "UTC"}))
    await daemon.start()
    await until(lambda: repository(daemon), 30, lambda: daemon.log)
    assert author.url in json.loads((daemon.data / "store.json").read_text())["repositories"]
    assert json.loads((daemon.data / "config.json").read_text())["addons_custom_list"] == []


async def test_what_a_repository_brings_along_is_never_run(running: Daemon, author: Author, tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    author.git("config", "uploadpack.packObjectsHook", f"touch {canary}")
    author.git("config", "core.fsmonitor", f"touch {canary}")
    (author.folder / ".gitattributes").write_text("* filter=x\n")
    (author.folder / ".gitmodules").write_text('[submodule "x"]\n\tpath = x\n\turl = ext::sh\n')
    author.publish("1.0", README="x")
    canary.unlink(missing_ok=True)
    before = set((running.data / "addons" / "git").iterdir())
    answer = await running.ask("POST", "/store/repositories", {"repository": author.url})
    assert not canary.exists()
    if answer.status != 200:
        assert set((running.data / "addons" / "git").iterdir()) == before
    for source in (f"{author.url}#-u", f"{author.url}#../x", f"ext::touch {canary}", f"--upload-pack=touch {canary}"):
        assert (await running.ask("POST", "/store/repositories", {"repository": source})).status == 400
    assert not canary.exists()
