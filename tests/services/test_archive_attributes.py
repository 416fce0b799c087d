"""Extended attributes: those that users give are saved, those of the system are not."""

from __future__ import annotations

import errno
import os
import subprocess
import tarfile
from pathlib import Path

import pytest
from test_archive_roundtrip import pack

from file_trees import attributes_of, described, fill, mark
from supervisor.drivers.archive.content import Tree
from supervisor.drivers.archive.reader import ArchiveReader, Inner
from supervisor.drivers.archive.rules import Rules
from supervisor.drivers.archive.unpack import unpack
from supervisor.drivers.archive.work import Work


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Three of what is in it have attributes."""
    root = tmp_path / "source"
    fill(root, "word")
    mark(root)
    if not attributes_of(root):
        pytest.skip("The file system has no attributes")
    return root


def test_attributes_are_written_as_other_programs_read_them_and_those_of_the_system_are_left_alone(
    source: Path, tmp_path: Path
) -> None:
    outer, theirs, target = tmp_path / "a.tar", tmp_path / "theirs", tmp_path / "target"
    os.setxattr(source / "text", "trusted.overlay.opaque", b"y")
    pack(outer, [Tree(".", source)], compressed=False)
    with tarfile.open(outer) as tar:
        inner = tar.extractfile(tar.getmembers()[0]).read()  # type: ignore[union-attr]
    assert b"trusted." not in inner
    theirs.mkdir()
    command = ("tar", "--extract", "--xattrs", "--xattrs-include=user.*", "--directory", str(theirs))
    subprocess.run(command, input=inner, check=True)
    assert {path: attributes_of(theirs / path) for path in ("text", "sub")} == {
        path: attributes_of(source / path) for path in ("text", "sub")
    }
    packing = ("tar", "--create", "--format=posix", "--xattrs", "--xattrs-include=*", "--directory", str(source), ".")
    made = subprocess.run(packing, capture_output=True, check=True).stdout
    assert b"trusted.overlay.opaque" in made
    target.mkdir()
    path = tmp_path / "share.tar"
    path.write_bytes(made)
    with path.open("rb") as opened:
        part = Inner("share.tar", 0, len(made), opened.fileno())
        unpack(part, None, target, Rules(set_id=True), Work())
    assert described(target) == described(source)
    assert set(os.listxattr(target / "text")) == set(attributes_of(source / "text"))


def test_attributes_that_can_not_be_taken_are_counted_and_the_file_is_there(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    outer, target = tmp_path / "a.tar", tmp_path / "target"
    target.mkdir()
    monkeypatch.setattr("supervisor.drivers.archive.content.MAX_ATTRIBUTES", 1)
    assert pack(outer, [Tree(".", source)]).packed.left_out == 3
    monkeypatch.undo()
    outer.unlink()
    pack(outer, [Tree(".", source)])

    def refuse(*_: object) -> None:
        raise OSError(errno.ENOTSUP, os.strerror(errno.ENOTSUP))

    monkeypatch.setattr(os, "setxattr", refuse)
    with ArchiveReader(outer) as archive:
        (part,) = archive.inner.values()
        assert unpack(part, None, target, Rules(), Work()).left_out == 6
    assert (target / "text").read_bytes() == (source / "text").read_bytes()
