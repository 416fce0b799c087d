"""Backups that strangers made, given to a whole daemon: refused, and nothing around them changes."""

from __future__ import annotations

import asyncio
import gzip
import io
import json
import subprocess
import tarfile
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import attrs
import pytest

from daemon import Daemon
from tarballs import tar_of

LAMP = "local_lamp"
Change = Callable[[tarfile.TarInfo], tarfile.TarInfo | None]


@attrs.define
class Stage:
    """A running add-on with a backup of it and of Core, and a folder that is none of their business."""

    daemon: Daemon
    slug: str
    outside: Path

    @property
    def archive(self) -> Path:
        return self.daemon.data / "backup" / f"{self.slug}.tar"

    async def replace(self, item: str, change: Change) -> None:
        """Write an inner archive anew, as a stranger would."""
        await asyncio.to_thread(rewrite, self.archive, f"{item}.tar.gz", change)
        await self.daemon.post("/backups/reload")

    async def restored(self, **what: Any) -> Any:
        return await self.daemon.ask("POST", f"/backups/{self.slug}/restore/partial", what)

    async def assert_untouched(self) -> None:
        data = self.daemon.data
        assert {path.name: path.read_text() for path in self.outside.iterdir()} == {
            "mine": "mine",
            "addon.json": "{}",
            "homeassistant.json": '{"port": 1}',
        }
        assert (data / "addons" / "data" / LAMP / "note").read_text() == "here"
        assert (data / "homeassistant" / "note").read_text() == "here"
        assert json.loads((data / "homeassistant.json").read_text())["port"] == 8123
        assert list((data / "restore").iterdir()) == []
        assert await self.daemon.state_of(LAMP) == "started"


def rewrite(archive: Path, name: str, change: Change) -> None:
    content = io.BytesIO()
    with tarfile.open(archive) as old, tarfile.open(fileobj=content, mode="w") as new:
        for member in old:
            data = old.extractfile(member).read()  # type: ignore[union-attr]
            if member.name == name:
                data = changed(data, change)
                member.size = len(data)
                member.pax_headers = {}
            new.addfile(member, io.BytesIO(data))
    archive.write_bytes(content.getvalue())


def changed(inner: bytes, change: Change) -> bytes:
    content = io.BytesIO()
    with (
        tarfile.open(fileobj=io.BytesIO(gzip.decompress(inner))) as old,
        tarfile.open(fileobj=content, mode="w") as new,
    ):
        for member in old:
            if (kept := change(member)) is not None:
                new.addfile(kept, old.extractfile(member) if kept.isreg() else None)
    return gzip.compress(content.getvalue())


def linked(name: str, target: Path) -> Change:
    """Put a link in the place of a file or a folder, with nothing of what was in it."""

    def change(member: tarfile.TarInfo) -> tarfile.TarInfo | None:
        path = member.name.removeprefix("./")
        if path == name:
            member.type, member.linkname, member.size = tarfile.SYMTYPE, str(target), 0
        return None if path.startswith(f"{name}/") else member

    return change


@pytest.fixture
async def stage(daemon: Daemon, tmp_path: Path) -> Stage:
    slug = daemon.add_on("lamp")
    await daemon.start()
    await daemon.install(slug, start=True)
    notes = [daemon.data / "addons" / "data" / slug / "note", daemon.data / "homeassistant" / "note"]
    (daemon.data / "homeassistant.json").write_text('{"version": "2026.4.1", "port": 8123}')
    for note in notes:
        note.write_text("saved")
    made = await daemon.post("/backups/new/partial", {"addons": [slug], "homeassistant": True})
    for note in notes:
        note.write_text("here")
    outside = tmp_path / "outside"
    outside.mkdir()
    for name, text in (("mine", "mine"), ("addon.json", "{}"), ("homeassistant.json", '{"port": 1}')):
        (outside / name).write_text(text)
    return Stage(daemon, made["slug"], outside)


@pytest.mark.parametrize(
    ("item", "name", "to"),
    [
        (LAMP, "data", "."),
        (LAMP, "addon.json", "addon.json"),
        ("homeassistant", "data", "."),
        ("homeassistant", "homeassistant.json", "homeassistant.json"),
    ],
)
async def test_a_link_in_the_place_of_what_is_read_or_put_back_is_not_followed(
    stage: Stage, item: str, name: str, to: str
) -> None:
    await stage.replace(item, linked(name, stage.outside / to))
    what: dict[str, Any] = {"homeassistant": True} if item == "homeassistant" else {"addons": [item]}
    refused = await stage.restored(**what)
    assert refused.status == 400, refused.text
    await stage.assert_untouched()


_DEEP = b"[" * 100_000


@pytest.mark.parametrize(
    "own",
    [{"mounts.json": _DEEP, "docker.json": _DEEP}, {"mounts.json": b"[]", "docker.json": b'{"registries": 5}'}],
    ids=["nested", "wrong types"],
)
async def test_settings_that_make_no_sense_fail_alone(stage: Stage, own: dict[str, bytes]) -> None:
    with tarfile.open(stage.archive) as tar:
        members = {member.name: tar.extractfile(member).read() for member in tar}  # type: ignore[union-attr]
    stage.archive.write_bytes(tar_of({**members, "supervisor.tar.gz": gzip.compress(tar_of(own))}))
    await stage.daemon.post("/backups/reload")
    refused = await stage.restored(homeassistant=True)
    assert refused.status == 400, refused.text
    job = await stage.daemon.get(f"/jobs/{refused.body['job_id']}")
    (child,) = [one for one in job["child_jobs"] if one["name"] == "backup_restore_supervisor_config"]
    assert [error["type"] for error in child["errors"]] == ["BackupInvalidError"] * 2
    assert (stage.daemon.data / "homeassistant" / "note").read_text() == "saved"
    verdict = await stage.daemon.post(f"/backups/{stage.slug}/verify")
    assert ("no JSON" in str(verdict["problems"])) is (_DEEP in own.values())


async def test_one_file_that_nobody_can_read_hides_no_other_backup(stage: Stage) -> None:
    folder = stage.daemon.data / "backup"
    least = '"slug":"abcd1234","type":"full","name":"n","date":"2024-01-01T00:00:00+00:00"'
    addon = '"slug":"a","name":"a","version":"1","size":'
    bombs = [
        f'{{{least},"addons":[{{{addon}NaN}}]}}',
        f'{{{least},"addons":[{{{addon}1{"0" * 400}}}]}}',
        f'{{{least},"addons":[{{{addon}1e999}}]}}',
        f'{{{least},"name":"\\ud800"}}',
        f'{{{least},"extra":{"[" * 200_000}}}',
        f'{{{least},"extra":{{"a":{"[" * 200}{"]" * 200}}}}}',
        f'{{{least},"slug":"abcd\\n"}}',
        f'{{{least},"extra":{{"a":"{"x" * 3_000_000}"}}}}',
        '{"slug":"a"}' * 2,
    ]
    for number, text in enumerate(bombs):
        (folder / f"bomb{number}.tar").write_bytes(tar_of({"./backup.json": text.encode()}))
    for _ in range(2):
        await stage.daemon.post("/backups/reload")
        assert [backup["slug"] for backup in (await stage.daemon.get("/backups"))["backups"]] == [stage.slug]
        await stage.daemon.end()
        await stage.daemon.start()
    assert len(list(folder.glob("bomb*"))) == len(bombs), "they are left alone"
    assert "Traceback" not in stage.daemon.log


async def test_dates_and_days_beyond_all_calendars_are_no_trouble(stage: Stage) -> None:
    folder = stage.daemon.data / "backup"
    for number, date in enumerate(("0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", "")):
        text = json.dumps({"slug": f"dated{number}", "type": "full", "name": "n", "date": date})
        (folder / f"dated{number}.tar").write_bytes(tar_of({"./backup.json": text.encode()}))
    await stage.daemon.post("/backups/options", {"days_until_stale": 2**40})
    await stage.daemon.post("/backups/reload")
    await stage.daemon.end()
    await stage.daemon.start()
    info = await stage.daemon.get("/backups/info")
    assert info["days_until_stale"] == 2**40
    assert len(info["backups"]) == 4
    for backup in info["backups"]:
        datetime.fromisoformat(backup["date"])
        details = await stage.daemon.get(f"/backups/{backup['slug']}/info")
        assert details["date"] == backup["date"], "clients have to read it"


async def test_what_somebody_mounted_deep_in_a_folder_is_not_removed_with_it(stage: Stage, tmp_path: Path) -> None:
    daemon, nas = stage.daemon, tmp_path / "nas"
    nas.mkdir()
    (nas / "film").write_text("irreplaceable")
    made = await daemon.post("/backups/new/partial", {"folders": ["media"]})
    deep = daemon.data / "media" / "films" / "nas"
    deep.mkdir(parents=True)
    await asyncio.to_thread(subprocess.run, ("mount", "--bind", str(nas), str(deep)), check=True)
    try:
        refused = await daemon.ask("POST", f"/backups/{made['slug']}/restore/partial", {"folders": ["media"]})
        assert refused.status == 400, refused.text
        job = await daemon.get(f"/jobs/{refused.body['job_id']}")
        assert "unmount it first" in str(job["child_jobs"])
        assert (deep / "film").read_text() == "irreplaceable"
    finally:
        await asyncio.to_thread(subprocess.run, ("umount", str(deep)), check=True)
    assert (nas / "film").read_text() == "irreplaceable"
    await daemon.post(f"/backups/{made['slug']}/restore/partial", {"folders": ["media"]})
    assert not deep.exists()


async def test_what_can_not_be_restored_is_told_when_it_is_saved(stage: Stage) -> None:
    share = stage.daemon.data / "share"
    (share / "/".join(["d"] * 130)).mkdir(parents=True)
    (share / "precious").write_text("saved")
    made = await stage.daemon.post("/backups/new/partial", {"folders": ["share"]})
    assert "not in the backup, for they lie deeper" in json.dumps(await stage.daemon.get(f"/jobs/{made['job_id']}"))
    (share / "precious").unlink()
    await stage.daemon.post(f"/backups/{made['slug']}/restore/partial", {"folders": ["share"]})
    assert (share / "precious").read_text() == "saved"


def chattr(*arguments: str | Path) -> None:
    subprocess.run(("chattr", *arguments), check=False)


async def test_files_marked_as_immutable_hold_no_restore_up(stage: Stage) -> None:
    data = stage.daemon.data
    # A file of its own can't be moved away: nothing happens. One deeper goes with its folder.
    own, deep = data / "addons" / "data" / LAMP / "fixed", data / "addons" / "data" / LAMP / "sub" / "fixed"
    deep.parent.mkdir()
    for file in (own, deep):
        file.write_text("fixed")
        chattr("+i", file)
    try:
        refused = await stage.restored(addons=[LAMP])
        assert refused.status == 400, refused.text
        await stage.assert_untouched()
        chattr("-i", own)
        restored = await stage.restored(addons=[LAMP])
    finally:
        chattr("-R", "-f", "-i", data)
    assert restored.status == 200, restored.text
    assert (data / "addons" / "data" / LAMP / "note").read_text() == "saved"
    assert not deep.exists()
    assert list((data / "restore").iterdir()) == []
    assert await stage.daemon.state_of(LAMP) == "started"


@pytest.mark.parametrize(
    "body",
    [
        b"--XX\r\nX: " + b"a" * 1_000_000 + b"\r\n\r\nx\r\n--XX--\r\n",
        b"--XX" + b"".join(b"\r\nX%d: a" % number for number in range(20_000)) + b"\r\n\r\nx\r\n--XX--\r\n",
        b"--XX\r\n\xff\xfe\r\n\r\nx\r\n--XX--\r\n",
        b"a" * 3_000_000,
    ],
    ids=["long header", "many headers", "no header", "no part"],
)
async def test_an_upload_that_is_no_form_is_refused(running: Daemon, body: bytes) -> None:
    reader, writer = await asyncio.open_unix_connection(running.socket)
    try:
        head = f"POST /backups/new/upload HTTP/1.1\r\nHost: s\r\nContent-Length: {len(body)}\r\n"
        writer.write(f"{head}Content-Type: multipart/form-data; boundary=XX\r\n\r\n".encode() + body)
        answer = await asyncio.wait_for(reader.read(4096), 30)
    finally:
        writer.close()
        await writer.wait_closed()
    assert answer.startswith(b"HTTP/1.1 400"), answer
    assert b"Improperly formatted upload" in answer
    assert "Traceback" not in running.log
