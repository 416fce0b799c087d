"""Real repositories for tests: where they lie, and files of every kind to put into them."""

from __future__ import annotations

import hashlib
import os
import stat
from pathlib import Path

from daemon import until
from supervisor.drivers.restic import Restic
from supervisor.drivers.snapshot_engine import Progress, RepositoryAccess, Selection

PASSWORD = "correct horse"


def access_to(folder: Path, *, url: str | None = None, password: str = PASSWORD) -> RepositoryAccess:
    """Return the way to a repository in `folder`/repository; the password lies in a file of its own."""
    secret = folder / f"password-{hashlib.sha1(password.encode()).hexdigest()[:8]}"
    secret.write_text(password)
    secret.chmod(0o600)
    return RepositoryAccess(url or str(folder / "repository"), secret, folder / "cache")


def silent(_: Progress) -> None:
    pass


def every_kind_of_file(folder: Path) -> None:
    """Make files, links, owners, modes and attributes that a backup has to bring back as they were."""
    (folder / "sub" / "deeper").mkdir(parents=True)
    (folder / "empty").mkdir(mode=0o711)
    (folder / "text.txt").write_text("words\n" * 1000)
    (folder / "noise.bin").write_bytes(os.urandom(3 * 1024 * 1024 + 17))
    (folder / "sub" / "deeper" / "blank name .txt ").write_text("blank")
    (folder / "sub" / "*?[x]").write_text("special")
    (folder / os.fsdecode(b"not-utf8-\xff")).write_text("bytes")
    (folder / "private").write_text("secret")
    (folder / "private").chmod(0o600)
    (folder / "owned").write_text("owned")
    os.chown(folder / "owned", 1234, 4321)
    (folder / "setgid").write_text("x")
    (folder / "setgid").chmod(0o2755)
    (folder / "link").symlink_to("text.txt")
    (folder / "dangling").symlink_to("/nowhere/at/all")
    os.link(folder / "text.txt", folder / "hardlink")
    with (folder / "sparse").open("wb") as file:
        file.truncate(12 * 1024 * 1024)
        file.seek(6 * 1024 * 1024)
        file.write(b"island")
    os.utime(folder / "private", ns=(1_000_000_000_123_456_789, 1_500_000_000_987_654_321))
    os.chown(folder / "link", 77, 88, follow_symlinks=False)
    if has_attributes(folder):
        os.setxattr(folder / "text.txt", "user.comment", b"kept")


def has_attributes(folder: Path) -> bool:
    probe = folder / ".probe"
    probe.touch()
    try:
        os.setxattr(probe, "user.probe", b"x")
    except OSError:
        return False
    finally:
        probe.unlink()
    return True


def described(folder: Path) -> dict[str, tuple[object, ...]]:
    """Return everything that matters of a tree, by path below it: a comparable value."""
    found: dict[str, tuple[object, ...]] = {}
    for path in sorted([folder, *folder.rglob("*")]):
        status = path.lstat()
        content: object = None
        if stat.S_ISREG(status.st_mode):
            content = hashlib.sha256(path.read_bytes()).hexdigest()
        elif stat.S_ISLNK(status.st_mode):
            content = str(path.readlink())
        attributes = (
            ()
            if stat.S_ISLNK(status.st_mode)
            else tuple((name, os.getxattr(path, name)) for name in os.listxattr(path) if name.startswith("user."))
        )
        links = status.st_nlink if stat.S_ISREG(status.st_mode) else 0
        found[os.fsencode(path.relative_to(folder)).decode("latin-1")] = (
            stat.S_IFMT(status.st_mode),
            stat.S_IMODE(status.st_mode),
            status.st_uid,
            status.st_gid,
            status.st_mtime_ns,
            links,
            attributes,
            content,
        )
    return found


# So much that whoever sees the first of it written has time to do something to the run that writes.
LONG = 192 * 1024 * 1024


async def begun(repository: Path) -> None:
    """Wait until a run has written something of what it saves."""

    def packs() -> int:
        return sum(1 for path in (repository / "data").rglob("*") if path.is_file())

    before = packs()
    await until(lambda: packs() > before, 60)


async def filled(folder: Path, engine: Restic) -> tuple[RepositoryAccess, Path, str]:
    """Make a repository with a snapshot of every kind of file; return the way to it, the source and the snapshot."""
    access, source = access_to(folder), folder / "source"
    source.mkdir()
    every_kind_of_file(source)
    await engine.init(access)
    saved = await engine.backup(access, Selection([source]), ("supervisor",), silent)
    return access, source, saved.snapshot.id
