from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor.errors import Invalid
from supervisor.managers.store.addon import AssetKind, StoreAddon
from supervisor.managers.store.assets import MAX_ASSET_BYTES, is_inside, read_asset, read_inside
from supervisor.model.manifest import Manifest


@pytest.fixture
def addon(tmp_path: Path) -> StoreAddon:
    root = tmp_path / "store" / "a0d7b954"
    folder = root / "one"
    folder.mkdir(parents=True)
    manifest = Manifest(config={}, name="One", version="1", slug="one", description="", arch=("amd64",))
    return StoreAddon(
        slug="a0d7b954_one",
        repository="a0d7b954",
        manifest=manifest,
        folder=folder,
        root=root,
        translations={},
        version_timestamp=0,
    )


def test_a_file_beside_the_manifest_is_read(addon: StoreAddon) -> None:
    (addon.folder / "README.md").write_bytes(b"hello")
    assert read_asset(addon, AssetKind.LONG_DESCRIPTION) == b"hello"
    assert read_asset(addon, AssetKind.ICON) is None


@pytest.mark.parametrize(
    "target", ["/etc/passwd", "../../secret", "../../../store2", "/dev/null", "/dev/zero", "/proc/self/environ", "loop"]
)
def test_a_link_out_of_the_repository_reads_nothing(addon: StoreAddon, tmp_path: Path, target: str) -> None:
    (tmp_path / "store" / "secret").write_text("secret")
    (addon.folder / "README.md").symlink_to(target)
    (addon.folder / "loop").symlink_to("README.md")
    assert read_asset(addon, AssetKind.LONG_DESCRIPTION) is None
    assert not is_inside(addon.folder / "README.md", addon.root)


def test_a_linked_folder_out_of_the_repository_reads_nothing(addon: StoreAddon, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "icon.png").write_bytes(b"secret")
    (addon.root / "two").symlink_to(outside)
    assert read_inside(addon.root / "two" / "icon.png", addon.root, 10) is None


def test_a_sibling_with_a_longer_name_is_outside(addon: StoreAddon) -> None:
    sibling = addon.root.with_name(addon.root.name + "2")
    sibling.mkdir()
    (sibling / "file").write_bytes(b"secret")
    (addon.folder / "DOCS.md").symlink_to(sibling / "file")
    assert read_asset(addon, AssetKind.DOCUMENTATION) is None


def test_a_link_within_the_repository_is_followed(addon: StoreAddon) -> None:
    (addon.root / "SHARED.md").write_bytes(b"shared")
    (addon.folder / "DOCS.md").symlink_to("../SHARED.md")
    assert read_asset(addon, AssetKind.DOCUMENTATION) == b"shared"


def test_a_pipe_or_a_folder_is_no_file_and_never_waits(addon: StoreAddon) -> None:
    os.mkfifo(addon.folder / "README.md")
    (addon.folder / "icon.png").mkdir()
    assert read_asset(addon, AssetKind.LONG_DESCRIPTION) is None
    assert read_asset(addon, AssetKind.ICON) is None


def test_a_file_that_is_too_large_is_refused_by_name(addon: StoreAddon) -> None:
    with (addon.folder / "CHANGELOG.md").open("wb") as file:
        file.truncate(MAX_ASSET_BYTES + 1)
    with pytest.raises(Invalid, match="a0d7b954_one can't be read: larger than 4 MiB") as refused:
        read_asset(addon, AssetKind.CHANGELOG)
    assert refused.value.key == "app_file_read_error"


@given(st.lists(st.sampled_from(["..", ".", "in", "out", "link"]), min_size=1, max_size=6))
def test_no_path_leads_out(tmp_path_factory: pytest.TempPathFactory, parts: list[str]) -> None:
    base = tmp_path_factory.mktemp("paths", numbered=True)
    root = base / "root"
    (root / "in").mkdir(parents=True)
    (root / "in" / "file").write_bytes(b"inside")
    (base / "out").mkdir()
    (base / "out" / "file").write_bytes(b"outside")
    (base / "file").write_bytes(b"outside")
    (root / "link").symlink_to(base / "out")
    assert read_inside(root.joinpath(*parts, "file"), root, 100) in (None, b"inside")
