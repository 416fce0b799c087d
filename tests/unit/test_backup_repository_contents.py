"""What comes out of a repository is put where it belongs, and follows nothing that a stranger left in its way."""

from __future__ import annotations

from pathlib import Path

import pytest

from supervisor.drivers.mountinfo import mounted_below
from supervisor.errors import BackupError, Invalid
from supervisor.managers.backups import path_restore, repository_contents
from supervisor.managers.backups.repository_backup import HERE, KeptPart


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    folder = tmp_path / "outside"
    (folder / "share").mkdir(parents=True)
    (folder / "share" / "mine").write_text("mine")
    return folder


@pytest.mark.parametrize("what", ["the folder", "a folder above it"])
def test_a_link_in_the_place_of_a_part_is_not_followed(tmp_path: Path, outside: Path, what: str) -> None:
    inside, target = tmp_path / "inside", tmp_path / "target"
    inside.mkdir()
    target.mkdir()
    if what == "the folder":
        (inside / "data").mkdir()
        (inside / "data" / "share").symlink_to(outside / "share")
    else:
        (inside / "data").symlink_to(outside)
    with pytest.raises(BackupError, match=r"is no folder|lies behind a link"):
        repository_contents._arrange(KeptPart("a" * 64, {HERE: "/data/share"}, 1), inside, target)
    assert (outside / "share" / "mine").read_text() == "mine"
    assert list(target.iterdir()) == []


def test_a_folder_with_something_mounted_in_it_is_not_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = tmp_path / "mountinfo"
    monkeypatch.setattr(path_restore, "mounted_below", lambda folder: mounted_below(folder, table))
    share, source = tmp_path / "share", tmp_path / "restored"
    (share / "films" / "nas").mkdir(parents=True)
    (share / "films" / "nas" / "film").write_text("irreplaceable")
    source.mkdir()
    table.write_text(f"1 1 0:1 / {share}/films/nas rw - cifs //nas/x rw\n")
    with pytest.raises(Invalid, match="something is mounted at nas in it"):
        path_restore.put_back(source, share, "films", tmp_path / "aside")
    assert (share / "films" / "nas" / "film").read_text() == "irreplaceable"
    table.write_text("")
    path_restore.put_back(source, share, "films", tmp_path / "aside")
    assert list((share / "films").iterdir()) == []
