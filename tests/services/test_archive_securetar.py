"""Archives pass both ways between ours and the public library of existing systems."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from file_trees import mark
from supervisor.drivers.archive.content import Tree
from supervisor.drivers.archive.keys import Keyring
from supervisor.drivers.archive.reader import ArchiveReader
from supervisor.drivers.archive.rules import Rules
from supervisor.drivers.archive.unpack import check, unpack
from supervisor.drivers.archive.work import Work
from supervisor.drivers.archive.writer import ArchiveWriter, Encryption
from supervisor.errors import WrongPassword

LIBRARIES = Path(sys.prefix) / "securetar"
PEER = Path(__file__).parent / "securetar_peer.py"
PASSWORD = "correct horse"

# What each version writes: 1 and 2 are AES-CBC without and with a header, 3 is the secret stream.
WRITERS = [
    ("2022.2.0", 1),
    ("2023.12.0", 1),
    ("2024.11.0", 1),
    ("2025.2.1", 2),
    ("2025.12.0", 2),
    ("2026.4.1", 2),
    ("2026.4.1", 3),
    ("2026.10.0", 2),
    ("2026.10.0", 3),
]
READERS = [
    *[(version, None) for version in ("2022.2.0", "2023.12.0", "2024.11.0", "2025.2.1", "2026.10.0")],
    *[(version, Encryption.AES) for version in ("2025.2.1", "2025.12.0", "2026.4.1", "2026.10.0")],
    *[(version, Encryption.SECRETSTREAM) for version in ("2026.4.1", "2026.10.0")],
]


def peer(version: str, *arguments: str) -> str:
    """Run the library of that version."""
    library = LIBRARIES / version
    assert library.is_dir(), f"{library} is missing: run script/setup --test"
    environment = {**os.environ, "PYTHONPATH": str(library)}
    done = subprocess.run(
        (sys.executable, "-W", "ignore", str(PEER), *arguments),
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder whose packed size is no multiple of anything, with more than one block of data."""
    root = tmp_path_factory.mktemp("source")
    (root / "sub" / "empty").mkdir(parents=True)
    (root / "text.log").write_text("".join(f"line {number}\n" for number in range(200_003)))
    (root / "sub" / "random.bin").write_bytes(os.urandom(1_500_001))
    (root / "sub" / "ünï cödé").write_bytes(b"")
    (root / "link").symlink_to("sub/random.bin")
    (root / ("long" * 40)).write_text("x")
    # Which the library neither writes nor minds.
    mark(root / "sub" / "random.bin")
    mark(root / "sub")
    return root


def hashes(folder: Path) -> dict[str, str | None]:
    found: dict[str, str | None] = {".": None}
    for path in folder.rglob("*"):
        plain = path.is_file() and not path.is_symlink()
        found[str(path.relative_to(folder))] = hashlib.sha256(path.read_bytes()).hexdigest() if plain else None
    return found


@pytest.mark.parametrize("compressed", [True, False], ids=["gz", "plain"])
@pytest.mark.parametrize(("version", "encryption"), WRITERS)
@pytest.mark.parametrize("password", ["", PASSWORD], ids=["open", "encrypted"])
def test_we_open_what_the_library_wrote(
    folder: Path, tmp_path: Path, version: str, encryption: int, password: str, *, compressed: bool
) -> None:
    outer = tmp_path / "theirs.tar"
    peer(version, "write", str(folder), str(outer), password, str(compressed), str(encryption))
    target = tmp_path / "target"
    target.mkdir()
    name = "share.tar.gz" if compressed else "share.tar"
    with ArchiveReader(outer) as archive:
        assert archive.metadata() == b'{"slug":"peer"}'
        assert list(archive.inner) == [name]
        part = archive.inner[name]
        unpack(part, Keyring(password) if password else None, target, Rules(), Work())
        assert hashes(target) == hashes(folder)
        assert (target / "link").readlink() == Path("sub/random.bin")
        assert (target / "text.log").stat().st_mtime == pytest.approx((folder / "text.log").stat().st_mtime, abs=1e-5)
        for wrong in (Keyring("wrong"), *([None] if password else [])):
            with pytest.raises(WrongPassword):
                check(part, wrong, Rules(), Work())


@pytest.mark.parametrize("compressed", [True, False], ids=["gz", "plain"])
@pytest.mark.parametrize(("version", "encryption"), READERS)
def test_the_library_opens_what_we_wrote(
    folder: Path, tmp_path: Path, version: str, encryption: Encryption | None, *, compressed: bool
) -> None:
    outer = tmp_path / "ours.tar"
    password = PASSWORD if encryption is not None else ""
    name = "share.tar.gz" if compressed else "share.tar"
    with ArchiveWriter(
        outer, compressed=compressed, password=password, encryption=encryption or Encryption.AES
    ) as archive:
        archive.add(name, [Tree(".", folder)], Work())
        archive.add(f"other{name}", [Tree("data", folder / "sub")], Work())
        archive.finish(b"{}")
    assert json.loads(peer(version, "read", str(outer), name, password)) == hashes(folder)
    other = {str(Path("data") / path): value for path, value in hashes(folder / "sub").items()}
    assert json.loads(peer(version, "read", str(outer), f"other{name}", password)) == other
