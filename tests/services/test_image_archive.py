"""What is read from an archive of images, and what of it reaches an engine."""

from __future__ import annotations

import gzip
import io
import json
import struct
import tarfile
import tracemalloc
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from image_tarball import add, image, layer, tarball

from supervisor.drivers.docker.image_archive import ImageArchive, read_archive, single_image
from supervisor.errors import Invalid

ROOM = 100_000_000


def read(content: bytes, room: int = ROOM) -> ImageArchive:
    return read_archive(io.BytesIO(content), room=room)


def passed_on(content: bytes, number: int = 0, reference: str = "local/mine:7") -> dict[str, bytes]:
    archive = read(content)
    steps: list[int] = []
    body = b"".join(single_image(io.BytesIO(content), archive, archive.images[number], reference, steps.append))
    assert steps == sorted(steps)
    with tarfile.open(fileobj=io.BytesIO(body), mode="r:") as tar:
        found = {}
        for member in tar:
            file = tar.extractfile(member)
            assert file is not None
            found[member.name] = file.read()
        return found


@pytest.mark.parametrize("mode", ["w", "w:gz"])
def test_the_images_of_an_archive_are_listed_with_what_they_are_made_for(mode):
    content = tarball(
        image(["a/b:1", "a/b:latest"], labels={"io.hass.version": "1"}),
        image(None, architecture="arm64"),
        mode=mode,
    )
    archive = read(content)
    first, second = archive.images
    assert archive.tags == ("a/b:1", "a/b:latest")
    assert (first.platform, first.labels, second.platform) == ("linux/amd64", {"io.hass.version": "1"}, "linux/arm64")
    assert first.layer_bytes == len(layer())


@pytest.mark.parametrize("mode", ["w", "w:gz"])
def test_one_image_is_passed_on_under_the_name_it_gets(mode):
    big = layer(b"y" * 600_000)
    content = tarball(image(["a/b:1"]), image(["evil/core:latest"], layers=[big]), mode=mode)
    found = passed_on(content, 1)
    [entry] = json.loads(found["manifest.json"])
    assert entry["RepoTags"] == ["local/mine:7"]
    assert found[entry["Layers"][0]] == big
    assert "repositories" not in found


def test_a_directory_of_images_under_another_spelling_is_left_out_too():
    content = tarball(image(), extra={"./index.json": b"{}", "x/../oci-layout": b"{}"})
    assert set(passed_on(content)) == set(passed_on(tarball(image())))


def test_long_names_survive():
    deep = f"{'d' * 120}/{'e' * 120}"
    assert passed_on(tarball(image(), extra={deep: b"1"}))[deep] == b"1"


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"", "no archive of Docker images"),
        (b"x" * 5000, "no archive of Docker images"),
        (b"\x1f\x8b nonsense", "no archive of Docker images"),
        (gzip.compress(b"x" * 5000), "no archive of Docker images"),
        (gzip.compress(tarball(image()))[:-300], "no archive of Docker images"),
        (tarball(image())[:1500], "no archive of Docker images"),
        (tarball(image(), manifest=[]), "lists no images"),
        (tarball(image(), manifest={"a": 1}), "lists no images"),
        (tarball(image(), manifest=[1]), "makes no sense"),
        (tarball(image(), manifest=[{"Config": 1, "Layers": []}]), "makes no sense"),
        (tarball(image(), manifest=[{"Config": "none.json", "Layers": []}]), "lacks the image description"),
        (tarball(image(["a b"])), "no image reference"),
    ],
)
def test_what_is_no_archive_of_images_is_refused_with_a_reason(content, text):
    with pytest.raises(Invalid, match=text):
        read(content)


def test_an_archive_without_a_layer_is_not_complete():
    made = image()
    listed = [{"Config": "c.json", "RepoTags": ["a:1"], "Layers": ["gone/layer.tar"]}]
    content = tarball(made, manifest=listed, extra={"c.json": b"{}"})
    with pytest.raises(Invalid, match="lacks the layer"):
        read(content)


def test_an_export_of_a_container_is_no_archive_of_images():
    with pytest.raises(Invalid, match=r"no manifest\.json"):
        read(layer())


def test_an_archive_larger_than_the_room_is_refused_even_when_it_is_packed_small():
    content = tarball(image(layers=[layer(bytes(5_000_000))]), mode="w:gz")
    assert len(content) < 100_000
    with pytest.raises(Invalid, match="room"):
        read(content, room=1_000_000)


def header(name: str, size: int, kind: bytes) -> bytes:
    entry = tarfile.TarInfo(name)
    entry.size, entry.type = size, kind
    return entry.tobuf(tarfile.GNU_FORMAT)


@pytest.mark.parametrize("kind", [tarfile.XHDTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.XGLTYPE])
def test_a_header_that_claims_megabytes_is_not_held_in_memory(kind):
    content = io.BytesIO(gzip.compress(header("x", 60_000_000, kind) + bytes(60_000_000) + bytes(1024)))
    tracemalloc.start()
    try:
        with pytest.raises(Invalid, match=r"too large|no archive"):
            read_archive(content, room=ROOM)
        assert tracemalloc.get_traced_memory()[1] < 15_000_000
    finally:
        tracemalloc.stop()


def test_a_list_of_holes_without_an_end_is_not_held_in_memory():
    start = bytearray(header("x", 0, tarfile.GNUTYPE_SPARSE))
    start[482] = 1  # more of the list follows
    start[148:156] = b"        "
    start[148:156] = b"%06o\0 " % sum(start)
    more = b"".join(struct.pack("12s12s", b"00000000000\0", b"00000000000\0") for _ in range(21)) + b"\1" + bytes(7)
    content = io.BytesIO(gzip.compress(bytes(start) + more * 60_000))
    with pytest.raises(Invalid):
        read_archive(content, room=ROOM)


def test_too_many_files_are_refused():
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        for number in range(20_001):
            add(tar, str(number), b"")
    with pytest.raises(Invalid, match="more than 20000 files"):
        read(packed.getvalue())


@settings(max_examples=200)
@given(st.data())
def test_a_damaged_archive_is_refused_or_read_but_never_another_error(data: Any):
    content = bytearray(tarball(image(labels={"a": "b"}), mode=data.draw(st.sampled_from(["w", "w:gz"]))))
    for _ in range(data.draw(st.integers(1, 6))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(content)))
    try:
        read(bytes(content[:cut]))
    except Invalid:
        return
