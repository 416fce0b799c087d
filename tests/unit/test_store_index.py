from __future__ import annotations

import errno
import logging
import os
import shutil
import time
from pathlib import Path

import pytest

from supervisor.drivers.folder import remove_tree
from supervisor.managers.store.addon import StoreAddon
from supervisor.managers.store.index import Place, Scan, StoreIndex, newest_change

MANIFEST = "name: {name}\nversion: '1.0'\nslug: {slug}\ndescription: d\narch: [amd64]\n"


def write_addon(folder: Path, slug: str, extra: str = "") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.yaml").write_text(MANIFEST.format(name=slug.title(), slug=slug) + extra)
    return folder


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "a0d7b954"
    folder.mkdir()
    (folder / "repository.yaml").write_text("name: Example\n")
    write_addon(folder / "one", "one")
    write_addon(folder / "deep" / "er" / "two", "two")
    return folder


def scan(index: StoreIndex, folder: Path) -> Scan:
    return index.scan([Place(folder.name, folder)])[folder.name]


def by_slug(result: Scan) -> dict[str, StoreAddon]:
    return {addon.slug: addon for addon in result.addons}


def test_every_manifest_is_found_with_its_full_slug_and_surroundings(root: Path) -> None:
    (root / "one" / "icon.png").write_bytes(b"x")
    (root / "one" / "DOCS.md").write_bytes(b"x")
    (root / "one" / "translations").mkdir()
    (root / "one" / "translations" / "de.yaml").write_text("network: {80/tcp: Netz}\n")
    write_addon(root / "one" / "rootfs" / "etc", "hidden")
    write_addon(root / ".hidden", "hidden")
    result = scan(StoreIndex(), root)
    addons = by_slug(result)
    assert sorted(addons) == ["a0d7b954_one", "a0d7b954_two"]
    one = addons["a0d7b954_one"]
    assert (one.icon, one.logo, one.documentation, one.changelog, one.readme) == (True, False, True, False, False)
    assert one.translations == {"de": {"network": {"80/tcp": "Netz"}}}
    assert one.version_timestamp == (root / "one" / "config.yaml").stat().st_mtime
    assert result.info is not None
    assert result.info.name == "Example"


def test_an_unchanged_manifest_is_not_read_again(root: Path) -> None:
    index = StoreIndex()
    before = by_slug(scan(index, root))
    write_addon(root / "one", "one", "url: https://example.org\n")
    after = by_slug(scan(index, root))
    assert after["a0d7b954_two"] is before["a0d7b954_two"]
    assert after["a0d7b954_one"] is not before["a0d7b954_one"]
    assert after["a0d7b954_one"].manifest.url == "https://example.org"


@pytest.mark.parametrize("change", ["translation", "asset_new", "asset_gone", "same_size", "replaced"])
def test_any_change_that_shows_is_noticed(root: Path, change: str) -> None:
    one = root / "one"
    (one / "translations").mkdir()
    (one / "logo.png").write_bytes(b"x")
    index = StoreIndex()
    before = by_slug(scan(index, root))["a0d7b954_one"]
    if change == "translation":
        (one / "translations" / "en.yaml").write_text("network: {80/tcp: Net}\n")
    elif change == "asset_new":
        (one / "icon.png").write_bytes(b"x")
    elif change == "asset_gone":
        (one / "logo.png").unlink()
    else:
        text = (one / "config.yaml").read_text().replace("1.0", "1.1")
        status = (one / "config.yaml").stat()
        target = one / ("config.new" if change == "replaced" else "config.yaml")
        target.write_text(text)
        if change == "replaced":
            os.utime(target, ns=(status.st_atime_ns, status.st_mtime_ns))
            target.rename(one / "config.yaml")
        else:
            os.utime(target, ns=(status.st_atime_ns, status.st_mtime_ns + 1))
    after = by_slug(scan(index, root))["a0d7b954_one"]
    assert after is not before
    assert (after.icon, after.logo) == (change == "asset_new", change != "asset_gone")


def test_a_vanished_add_on_vanishes(root: Path) -> None:
    index = StoreIndex()
    scan(index, root)
    shutil.rmtree(root / "one")
    assert list(by_slug(scan(index, root))) == ["a0d7b954_two"]


MALFORMED = {
    "no_mapping": b"- a\n",
    "empty": b"",
    "no_version": b"name: X\nslug: x\ndescription: d\narch: [amd64]\n",
    "broken_yaml": b"name: [\n",
    "not_utf8": b"name: \xff\xfe\n",
    "huge": b"#" * 2_000_000,
}


@pytest.mark.parametrize("kind", MALFORMED)
def test_a_malformed_manifest_is_named_once_and_the_others_are_offered(
    root: Path, caplog: pytest.LogCaptureFixture, kind: str
) -> None:
    (root / "bad").mkdir()
    (root / "bad" / "config.yaml").write_bytes(MALFORMED[kind])
    index = StoreIndex()
    with caplog.at_level(logging.WARNING):
        assert len(scan(index, root).addons) == 2
        assert len(scan(index, root).addons) == 2
    assert [str(root / "bad" / "config.yaml") in record.getMessage() for record in caplog.records] == [True]
    if kind == "no_version":
        assert "version" in caplog.text


def test_links_out_of_the_repository_and_pipes_are_not_read(root: Path, tmp_path: Path) -> None:
    outside = write_addon(tmp_path / "outside", "outside")
    for name, target in (
        ("file", outside / "config.yaml"),
        ("passwd", Path("/etc/passwd")),
        ("dev", Path("/dev/zero")),
    ):
        (root / name).mkdir()
        (root / name / "config.yaml").symlink_to(target)
    (root / "folder").symlink_to(outside)
    (root / "pipe").mkdir()
    os.mkfifo(root / "pipe" / "config.yaml")
    (root / "one" / "icon.png").symlink_to("/etc/passwd")
    (root / "one" / "translations").symlink_to(tmp_path)
    addons = by_slug(scan(StoreIndex(), root))
    assert sorted(addons) == ["a0d7b954_one", "a0d7b954_two"]
    assert not addons["a0d7b954_one"].icon
    assert addons["a0d7b954_one"].translations == {}


def test_a_folder_without_a_description_is_no_repository(root: Path) -> None:
    (root / "repository.yaml").write_text("url: https://example.org\n")
    result = scan(StoreIndex(), root)
    assert result.addons == ()
    assert result.invalid is not None
    assert "name" in result.invalid
    trusted = StoreIndex().scan([Place("a0d7b954", root, trusted=True)])["a0d7b954"]
    assert len(trusted.addons) == 2


def test_a_missing_or_linked_folder_offers_nothing(tmp_path: Path, root: Path) -> None:
    assert scan(StoreIndex(), tmp_path / "gone") == Scan(present=False)
    (tmp_path / "b0d7b954").symlink_to(root)
    assert scan(StoreIndex(), tmp_path / "b0d7b954") == Scan(present=False)


def test_a_folder_that_can_not_be_walked_is_reported(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_folder: Path) -> list[Path]:
        raise OSError(errno.EBADMSG, "Bad message")

    monkeypatch.setattr("supervisor.managers.store.index.find_manifests", broken)
    result = scan(StoreIndex(), root)
    assert result.broken is not None
    assert result.broken.errno == errno.EBADMSG


def test_folders_nested_beyond_reason_spoil_their_repository_alone(root: Path) -> None:
    deep = root / "one"
    (root / "x").mkdir()
    descriptor = os.open(root / "x", os.O_RDONLY)
    for _ in range(1500):
        os.mkdir("a", dir_fd=descriptor)
        below = os.open("a", os.O_RDONLY, dir_fd=descriptor)
        os.close(descriptor)
        descriptor = below
    os.close(descriptor)
    try:
        result = scan(StoreIndex(), root)
        assert result.invalid is not None or len(result.addons) == 2
        assert newest_change(root) >= newest_change(deep)
    finally:
        remove_tree(root)
    assert not root.exists()


def test_the_newest_change_of_a_tree_is_found_and_links_are_not_followed(root: Path, tmp_path: Path) -> None:
    before = newest_change(root)
    (tmp_path / "elsewhere").mkdir()
    (root / "one" / "link").symlink_to(tmp_path / "elsewhere")
    os.utime(tmp_path / "elsewhere", (2**33, 2**33))
    assert newest_change(root) < 2**33 * 10**9
    os.utime(root / "deep" / "er" / "two" / "config.yaml", (2**33, 2**33))
    assert newest_change(root) == 2**33 * 10**9 > before
    assert newest_change(tmp_path / "gone") == 0


def test_five_hundred_unchanged_manifests_are_looked_at_in_a_moment(tmp_path: Path) -> None:
    folder = tmp_path / "a0d7b954"
    folder.mkdir()
    (folder / "repository.yaml").write_text("name: Large\n")
    for number in range(500):
        addon = write_addon(folder / f"addon{number}", f"addon{number}")
        (addon / "translations").mkdir()
        (addon / "translations" / "en.yaml").write_text("network: {80/tcp: Net}\n")
        for name in ("README.md", "DOCS.md", "CHANGELOG.md", "icon.png", "logo.png", "Dockerfile"):
            (addon / name).touch()
    index = StoreIndex()
    begin = time.perf_counter()
    first = scan(index, folder)
    read = time.perf_counter() - begin
    # The time of this process, and the best of a few: others use the machine, too, and its caches.
    unchanged = 1.0
    for _ in range(10):
        begin = time.process_time()
        second = scan(index, folder)
        unchanged = min(unchanged, time.process_time() - begin)
        assert all(old is new for old, new in zip(first.addons, second.addons, strict=True))
        if unchanged < 0.3:
            break
    print(f"500 manifests: first {read * 1000:.0f} ms, unchanged {unchanged * 1000:.0f} ms")  # noqa: T201 - the measurement is part of the result
    assert len(first.addons) == 500
    assert unchanged < 0.3
