"""Which add-on an archive of images is for."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor.drivers.docker.image_archive import ArchivedImage, ImageArchive
from supervisor.errors import Invalid, NotFound, SupervisorError, Unsupported
from supervisor.managers.addons.loader import ImageLoader
from supervisor.managers.store import StoreAddon
from supervisor.model.manifest import Manifest
from supervisor.model.manifest_schema import validate_manifest


def offered(slug: str, version: str = "1", **keys: Any) -> StoreAddon:
    least = {"name": slug, "version": version, "slug": slug, "description": "d", "arch": ["amd64"], **keys}
    manifest = Manifest.from_config(validate_manifest(least)[0])
    return StoreAddon(
        slug=slug,
        repository="local",
        manifest=manifest,
        folder=Path("/"),
        root=Path("/"),
        translations={},
        version_timestamp=0,
    )


def image(*tags: str, platform: str = "linux/amd64", **labels: str) -> ArchivedImage:
    os, architecture, *variant = platform.split("/")
    named = {key.replace("_", "."): value for key, value in labels.items()}
    return ArchivedImage(tags, os, architecture, "".join(variant), named, "c.json", (), 0)


def archive(*images: ArchivedImage) -> ImageArchive:
    return ImageArchive(images, 0, ())


def loader(*addons: StoreAddon) -> ImageLoader:
    known = {addon.slug: addon for addon in addons}

    def get(slug: str) -> StoreAddon:
        if slug not in known:
            raise NotFound(f"No add-on {slug}")
        return known[slug]

    anything: Any = SimpleNamespace(
        supported_arch=("amd64",),
        arch="amd64",
        addons=known,
        get=get,
        check_available=lambda _: None,
        name=lambda store: store.manifest.config.get("image") or f"local/{store.slug}",
    )
    return ImageLoader(*[anything] * 8, Path("/"))


def test_the_name_and_version_of_an_image_tell_the_add_on():
    two = loader(offered("lamp", image="r.org/x/lamp"), offered("plug", image="r.org/x/plug"))
    match = two.match(archive(image("r.org/x/other:1"), image("r.org/x/plug:1", "r.org/x/plug:latest")), None)
    assert (match.store.slug, match.image.tags) == ("plug", ("r.org/x/plug:1", "r.org/x/plug:latest"))


def test_docker_hub_may_be_spelled_out_or_not():
    for name in ("docker.io/x/lamp", "x/lamp"):
        assert loader(offered("lamp", image=name)).match(archive(image("x/lamp:1")), None).store.slug == "lamp"


@pytest.mark.parametrize(
    ("tags", "text"),
    [
        (["r.org/x/lamp:2"], "the archive has r.org/x/lamp:2, the store has lamp in version 1"),
        (["r.org/y/lamp:1"], r"\(r.org/y/lamp:1\); what would match: r.org/x/lamp:1"),
        (["else:1"], r"No add-on of the store uses an image of the archive \(else:1\)\. Say"),
        ([], "its images have no names"),
        ([f"a{number}:1" for number in range(20)], "and 12 more"),
    ],
)
def test_what_matches_nothing_tells_what_is_in_there_and_what_would(tags, text):
    with pytest.raises(Invalid, match=text):
        loader(offered("lamp", image="r.org/x/lamp")).match(archive(image(*tags)), None)


def test_two_add_ons_with_one_image_must_be_told_apart_by_name():
    both = loader(offered("one", image="r.org/x/lamp"), offered("two", image="r.org/x/lamp"))
    with pytest.raises(Invalid, match="one, two"):
        both.match(archive(image("r.org/x/lamp:1")), None)
    assert both.match(archive(image("r.org/x/lamp:1")), "two").store.slug == "two"


def test_a_named_add_on_takes_its_own_image_or_the_only_one():
    one = loader(offered("lamp", image="r.org/x/lamp"))
    assert one.match(archive(image("a:1"), image("r.org/x/lamp:1")), "lamp").image.tags == ("r.org/x/lamp:1",)
    assert one.match(archive(image()), "lamp").image.tags == ()
    with pytest.raises(Invalid, match="holds several images"):
        one.match(archive(image("a:1"), image("b:1")), "lamp")
    with pytest.raises(Invalid, match="versions differ"):
        one.match(archive(image("r.org/x/lamp:2")), "lamp")
    with pytest.raises(Invalid, match="the archive has 7, the store has lamp in version 1"):
        one.match(archive(image(io_hass_version="7")), "lamp")
    with pytest.raises(NotFound):
        one.match(archive(image()), "none")


@pytest.mark.parametrize("platform", ["linux/arm64", "windows/amd64", "/"])
def test_an_image_for_other_machines_is_refused(platform):
    with pytest.raises(Unsupported, match="this machine needs linux/amd64"):
        loader(offered("lamp", image="r.org/x/lamp")).match(archive(image("r.org/x/lamp:1", platform=platform)), None)


names = st.sampled_from(["r.org/x/lamp", "r.org/x/plug", "x/lamp", "docker.io/x/lamp", "lamp"])
versions = st.sampled_from(["1", "2", "latest"])


@given(
    st.lists(st.lists(st.builds("{}:{}".format, names, versions), max_size=3), min_size=1, max_size=3),
    st.sampled_from([None, "lamp", "plug"]),
)
def test_an_image_is_never_given_to_an_add_on_of_another_name_or_version_unasked(tags, slug):
    two = loader(offered("lamp", image="r.org/x/lamp"), offered("plug", "2", image="r.org/x/plug"))
    try:
        match = two.match(archive(*(image(*some) for some in tags)), slug)
    except SupervisorError:
        return
    reference = f"{match.store.manifest.config['image']}:{match.store.manifest.version}"
    if slug is None:
        assert reference in match.image.tags
    else:
        assert match.store.slug == slug
        assert reference in match.image.tags or len(tags) == 1
