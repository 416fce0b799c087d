"""Which backups there are, in which locations, and how copies of one are told from strangers."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import attrs
import pytest

from supervisor.drivers.archive.content import Text
from supervisor.drivers.archive.work import Work
from supervisor.drivers.archive.writer import ArchiveWriter
from supervisor.errors import (
    BackupError,
    BackupFileExistError,
    BackupFileNotFoundError,
    BackupInvalidError,
    BackupMountDownError,
    Invalid,
    NotFound,
)
from supervisor.events import EventBus
from supervisor.jobs import JobManager
from supervisor.jobs.manager import JOBS_SCHEMA
from supervisor.managers.backups import catalogue as catalogue_module
from supervisor.managers.backups import transfer
from supervisor.managers.backups.backup import CLOUD
from supervisor.managers.backups.catalogue import Catalogue, read_file, unfinished
from supervisor.managers.backups.copies import Copies
from supervisor.managers.backups.indexes import Indexes
from supervisor.managers.backups.locations import Locations
from supervisor.managers.backups.metadata import BackupType, Metadata
from supervisor.managers.backups.order import check_file_name
from supervisor.managers.backups.transfer import Imports
from supervisor.managers.resolution import Resolution
from supervisor.paths import DataPaths
from supervisor.state import StateFile


@attrs.define
class Mounts:
    """Mounts that are plain folders. `down` are those that can't be used just now."""

    folders: dict[str, Path]
    down: set[str] = attrs.field(factory=set)
    default_backup_mount: str | None = None

    @property
    def active(self) -> Mapping[str, Path]:
        return {name: folder for name, folder in self.folders.items() if name not in self.down}

    def is_backup_mount(self, name: str) -> bool | None:
        return True if name in self.folders else False if name == "media" else None

    async def probe(self, name: str) -> bool:
        return name not in self.down


@attrs.define
class House:
    paths: DataPaths
    mounts: Mounts
    catalogue: Catalogue
    jobs: JobManager
    copies: Copies
    imports: Imports

    def write(self, folder: Path, metadata: Metadata, name: str | None = None, password: str | None = None) -> Path:
        path = folder / (name or f"{metadata.slug}.tar")
        with ArchiveWriter(path, compressed=True, password=password) as archive:
            archive.add("share.tar.gz", [Text("a", b"1")], Work())
            archive.finish(attrs.evolve(metadata, protected=bool(password)).packed())
        return path


@pytest.fixture
async def house(tmp_path: Path) -> House:
    paths = DataPaths(tmp_path, tmp_path)
    paths.create()
    for name in ("nas", "usb"):
        (tmp_path / name).mkdir()
    bus = EventBus()
    mounts = Mounts({name: tmp_path / name for name in ("nas", "usb")})
    locations = Locations(paths, mounts)
    catalogue = Catalogue(locations, Resolution(bus))
    jobs = JobManager(bus, StateFile(tmp_path / "jobs.json", JOBS_SCHEMA, bus))
    copies = Copies(jobs, locations, catalogue, Indexes(paths.backup_indexes))
    return House(paths, mounts, catalogue, jobs, copies, Imports(jobs, locations, catalogue, copies))


def described(slug: str = "00000001", **more: object) -> Metadata:
    return Metadata(slug=slug, name="N", date="2026-01-01T00:00:00+00:00", type=BackupType.PARTIAL, **more)  # type: ignore[arg-type]


async def test_copies_of_one_backup_are_one_whether_encrypted_or_not(house: House, tmp_path: Path) -> None:
    house.write(house.paths.backup, described())
    house.write(tmp_path / "nas", described(), "other.tar", "correct horse")
    house.write(tmp_path / "usb", described("00000002"))
    house.write(house.paths.core_backup, described())
    house.write(house.paths.core_backup, described("00000003"))
    await house.catalogue.reload()
    backup = house.catalogue.get("00000001")
    assert backup.locations == (None, "nas"), "the local folder first, and nothing of the cloud"
    assert [backup.copies[place].protected for place in (None, "nas")] == [False, True]
    assert house.catalogue.get("00000002").location == "usb"
    assert house.catalogue.get("00000003").hidden
    assert house.catalogue.get("00000003").locations == (CLOUD,)


async def test_a_stranger_with_the_same_slug_is_left_out(house: House, tmp_path: Path) -> None:
    house.write(house.paths.backup, described())
    house.write(tmp_path / "nas", attrs.evolve(described(), name="something else"))
    await house.catalogue.reload()
    assert house.catalogue.get("00000001").locations == (None,)


async def test_what_is_no_backup_is_left_alone(house: House, tmp_path: Path) -> None:
    good = house.write(house.paths.backup, described())
    for name, content in (("text.tar", b"text"), ("cut.tar", good.read_bytes()[:3000]), ("empty.tar", b"")):
        (house.paths.backup / name).write_bytes(content)
    (house.paths.backup / "link.tar").symlink_to(good)
    (house.paths.backup / "folder.tar").mkdir()
    os.mkfifo(house.paths.backup / "pipe.tar")
    house.write(house.paths.backup, attrs.evolve(described("00000009"), more={"slug": "../../x"}))
    async with asyncio.timeout(30):
        await house.catalogue.reload()
    assert "00000001" in house.catalogue.backups
    assert len(list(house.paths.backup.iterdir())) == 8, "nothing was removed"


async def test_what_comes_and_goes_is_noticed(house: House, tmp_path: Path) -> None:
    path = house.write(house.paths.backup, described())
    await house.catalogue.reload()
    backup = house.catalogue.get("00000001")
    path.unlink()
    house.write(house.paths.backup, described("00000002"))
    with pytest.raises(BackupFileNotFoundError, match="has vanished"):
        await house.catalogue.remove(backup, [None])
    assert list(house.catalogue.backups) == ["00000002"], "and what is new there was found by the way"
    house.write(tmp_path / "nas", described("00000002"))
    await house.catalogue.reload_location("nas")
    assert house.catalogue.get("00000002").locations == (None, "nas")
    house.mounts.down.add("nas")
    await house.catalogue.reload()
    assert house.catalogue.get("00000002").locations == (None,)


async def test_a_backup_leaves_one_location_or_all(house: House, tmp_path: Path) -> None:
    house.write(house.paths.backup, described())
    house.write(tmp_path / "nas", described())
    await house.catalogue.reload()
    await house.catalogue.remove(house.catalogue.get("00000001"), ["usb", "nas"])
    assert house.catalogue.get("00000001").locations == (None,)
    await house.catalogue.remove(house.catalogue.get("00000001"), [None])
    with pytest.raises(NotFound, match="Backup does not exist"):
        house.catalogue.get("00000001")


async def test_halves_of_backups_are_never_listed_and_swept_away(
    house: House, caplog: pytest.LogCaptureFixture
) -> None:
    path = house.write(house.paths.backup, described())
    path.rename(unfinished(path))
    (house.paths.backup / ".mine").write_text("mine")
    await house.catalogue.reload()
    assert dict(house.catalogue.backups) == {}
    await house.catalogue.sweep()
    assert [entry.name for entry in house.paths.backup.iterdir()] == [".mine"]
    assert f"A backup was cut off: {unfinished(path).name} is removed" in caplog.text


async def test_a_half_on_a_mount_that_went_is_removed_when_that_is_back(house: House, tmp_path: Path) -> None:
    nas, away = tmp_path / "nas", tmp_path / "away"

    async def fail() -> None:
        async with house.catalogue.draft(nas / "x.tar") as draft:
            draft.write_text("half")
            nas.rename(away)
            nas.mkdir()
            raise BackupMountDownError("nas is down")

    with pytest.raises(BackupMountDownError):
        await fail()
    house.mounts.down.add("nas")
    await house.catalogue.reload()
    nas.rmdir()
    away.rename(nas)
    (nas / ".y.tar.unfinished").write_text("of another machine")
    house.mounts.down.clear()
    async with house.catalogue.draft(nas / "x.tar") as draft:
        await house.catalogue.reload()
        assert draft.exists(), "it is being written anew"
        draft.unlink()
        draft.write_text("half")
    await house.catalogue.reload()
    assert [entry.name for entry in nas.iterdir()] == [".y.tar.unfinished"]


async def test_locations_that_can_not_be_written_to_are_told_apart(house: House) -> None:
    locations = Locations(house.paths, house.mounts)
    house.mounts.down.add("nas")
    with pytest.raises(BackupMountDownError) as down:
        await locations.target("nas")
    assert (down.value.key, down.value.fields) == ("backup_mount_down", {"mount": "nas"})
    with pytest.raises(NotFound) as unknown:
        await locations.target("nowhere")
    assert unknown.value.key == "mount_not_found_error"
    with pytest.raises(Invalid, match="not used for backups"):
        await locations.target("media")


async def test_copies_are_made_one_by_one_and_one_that_fails_costs_only_itself(house: House, tmp_path: Path) -> None:
    house.write(house.paths.backup, described())
    await house.catalogue.reload()
    backup = house.catalogue.get("00000001")
    house.mounts.down.add("usb")
    async with house.jobs.run("around") as job:
        await house.copies.make(backup, ("usb", "nas", None), job)
    assert backup.locations == (None, "nas")
    assert (tmp_path / "nas" / "00000001.tar").read_bytes() == backup.copy.path.read_bytes()
    (group,) = job.children
    assert [error.type for error in group.errors] == ["BackupMountDownError"]
    assert list((tmp_path / "usb").iterdir()) == []


async def test_a_copy_never_replaces_a_file(house: House, tmp_path: Path) -> None:
    house.write(house.paths.backup, described())
    await house.catalogue.reload()
    (tmp_path / "nas" / "00000001.tar").write_text("precious")
    async with house.jobs.run("around") as job:
        await house.copies.make(house.catalogue.get("00000001"), ("nas",), job)
    assert (tmp_path / "nas" / "00000001.tar").read_text() == "precious"
    assert [entry.name for entry in (tmp_path / "nas").iterdir()] == ["00000001.tar"]


async def sent(content: bytes) -> AsyncIterator[bytes]:
    for at in range(0, len(content), 1000):
        yield content[at : at + 1000]


async def test_an_upload_is_listed_where_it_should_be(house: House, tmp_path: Path) -> None:
    content = house.write(tmp_path, described()).read_bytes()
    backup = await house.imports.receive(sent(content), ("nas", None), "named.tar")
    assert backup.locations == (None, "nas")
    assert (tmp_path / "nas" / "named.tar").read_bytes() == content
    again = await house.imports.receive(sent(content), ("nas",), "named.tar")
    assert again is backup, "the same backup may come again"
    assert [entry.name for entry in (tmp_path / "nas").iterdir()] == ["named.tar"]


async def test_copies_of_an_upload_that_is_known_already_are_known_at_once(house: House, tmp_path: Path) -> None:
    content = house.write(house.paths.backup, described(), "elsewhere.tar").read_bytes()
    await house.catalogue.reload()
    house.mounts.down.add("usb")
    backup = await house.imports.receive(sent(content), (CLOUD, "nas", "usb"), None)
    assert backup is house.catalogue.get("00000001")
    assert set(backup.copies) == {None, CLOUD, "nas"}, "and one that is down costs only itself"
    with pytest.raises(NotFound):
        await house.imports.receive(sent(content), (None, "nowhere"), None)


async def test_an_upload_never_replaces_another_backup(house: House, tmp_path: Path) -> None:
    house.write(house.paths.backup, described(), "named.tar")
    await house.catalogue.reload()
    other = house.write(tmp_path, described("00000002")).read_bytes()
    with pytest.raises(BackupFileExistError, match="left alone"):
        await house.imports.receive(sent(other), (None,), "named.tar")
    stranger = house.write(tmp_path, attrs.evolve(described(), name="else"), "s.tar").read_bytes()
    with pytest.raises(BackupError, match="Cannot import backup 00000001"):
        await house.imports.receive(sent(stranger), (None,), None)
    assert [entry.name for entry in house.paths.backup.iterdir()] == ["named.tar"]
    assert list(house.catalogue.backups) == ["00000001"]


async def test_a_broken_or_cut_off_upload_leaves_nothing(house: House, tmp_path: Path) -> None:
    content = house.write(tmp_path, described()).read_bytes()
    with pytest.raises(BackupInvalidError):
        await house.imports.receive(sent(content[:-9000]), (None,), None)

    async def broken() -> AsyncIterator[bytes]:
        yield content[:5000]
        raise ConnectionResetError

    with pytest.raises(BackupError):
        await house.imports.receive(broken(), (None,), None)
    assert list(house.paths.backup.iterdir()) == []


async def test_what_changes_while_all_is_read_anew_counts(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    for slug in ("00000001", "00000002"):
        house.write(house.paths.backup, described(slug))
    await house.catalogue.reload()
    seen, go_on = threading.Event(), threading.Event()

    def slowly(path: Path) -> tuple[Metadata, int]:
        found = read_file(path)
        seen.set()
        assert go_on.wait(60)
        return found

    monkeypatch.setattr(catalogue_module, "read_file", slowly)
    for again in (house.catalogue.reload, lambda: house.catalogue.reload_location(None)):
        seen.clear()
        go_on.clear()
        reading = asyncio.create_task(again())
        await asyncio.to_thread(seen.wait, 60)
        path = house.write(house.paths.backup, described("00000003"))
        house.catalogue.add(described("00000003"), None, path, 1)
        await house.catalogue.remove(house.catalogue.get("00000001"), [None])
        go_on.set()
        await reading
        assert sorted(house.catalogue.backups) == ["00000002", "00000003"]
        await house.catalogue.remove(house.catalogue.get("00000003"), [None])
        house.catalogue.add(described("00000001"), None, house.write(house.paths.backup, described("00000001")), 1)


async def test_a_backup_that_a_scan_finds_gone_while_it_is_removed_is_no_trouble(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    house.write(house.paths.backup, described())
    await house.catalogue.reload()
    unlink = Path.unlink

    def unlinked(path: Path, **more: bool) -> None:
        unlink(path, **more)
        asyncio.run_coroutine_threadsafe(house.catalogue.reload(), loop).result(60)

    loop = asyncio.get_running_loop()
    monkeypatch.setattr(Path, "unlink", unlinked)
    await house.catalogue.remove(house.catalogue.get("00000001"), [None])
    assert dict(house.catalogue.backups) == {}


@pytest.mark.parametrize("name", ["é" * 130 + ".tar", "a" * 240 + ".tar", ".tar", "a\nb.tar", "a/b.tar", "a.TAR"])
async def test_a_name_that_no_disk_takes_is_refused_before_anything_is_done(house: House, name: str) -> None:
    with pytest.raises(Invalid, match="no name for the file"):
        await house.imports.receive(sent(b""), (None,), name)
    longest = "é" * 118 + ".tar"
    assert check_file_name(longest) == longest
    unfinished(house.paths.backup / longest).write_text("")


async def test_an_upload_does_not_fill_the_data_disk(
    house: House, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = house.write(tmp_path, described()).read_bytes()
    monkeypatch.setattr(transfer, "RESERVE", 2**60)
    for location in (None, CLOUD):
        with pytest.raises(BackupError, match="No space left"):
            await house.imports.receive(sent(content), (location,), None)
    assert list(house.paths.backup.iterdir()) == []
    assert (await house.imports.receive(sent(content), ("nas",), None)).location == "nas"
