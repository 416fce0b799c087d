"""Reads archives as `docker save` writes them, plain or gzipped, without unpacking. All of it blocks.

An archive comes from outside: every size in it is checked before anything of that size is held, and only the headers
and a few small files are read.
"""

from __future__ import annotations

import gzip
import io
import json
import posixpath
import tarfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any, BinaryIO, Final, cast

import attrs

from supervisor.drivers.docker.registry import check_reference
from supervisor.errors import Invalid

MAX_MEMBERS: Final = 20_000
MAX_IMAGES: Final = 64
MAX_TEXT_FILE: Final = 4 * 1024 * 1024
CHUNK: Final = 256 * 1024
# What tells an engine which images are in an archive; ours takes their place.
_DIRECTORIES: Final = frozenset({"manifest.json", "repositories", "index.json", "oci-layout"})
_GZIP: Final = b"\x1f\x8b"
_BLOCK: Final = tarfile.BLOCKSIZE


@attrs.frozen
class ArchivedImage:
    """One image of an archive; `layer_bytes` is what its layers hold unpacked."""

    tags: tuple[str, ...]
    os: str
    architecture: str
    variant: str
    labels: Mapping[str, str]
    config: str
    layers: tuple[str, ...]
    layer_bytes: int

    @property
    def platform(self) -> str:
        """`os/architecture[/variant]`."""
        return "/".join(part for part in (self.os, self.architecture, self.variant) if part)


@attrs.frozen
class ImageArchive:
    """What is in an archive. `size` is the length of the tar in it, `kept` the parts of it that are passed on."""

    images: tuple[ArchivedImage, ...]
    size: int
    kept: tuple[tuple[int, int], ...]

    @property
    def tags(self) -> tuple[str, ...]:
        return tuple(tag for image in self.images for tag in image.tags)


def read_archive(file: BinaryIO, *, room: int) -> ImageArchive:
    """Read which images are in `file`; `room` is how many bytes it may hold unpacked.

    Raises:
        Invalid: it is no archive of Docker images, is broken, or is larger than that.
    """
    try:
        with _unzipped(file) as plain:
            return _Reading(plain, room).archive()
    except (tarfile.TarError, OSError, EOFError, zlib.error, ValueError, RecursionError) as err:
        raise Invalid(f"The file is no archive of Docker images: {err}") from err


def single_image(
    file: BinaryIO, archive: ImageArchive, image: ArchivedImage, reference: str, report: Callable[[int], None]
) -> Iterator[bytes]:
    """Yield a tar of which an engine takes just `image`, called `reference`; no other name of the engine changes.

    `report` gets the number of bytes passed on so far.
    """
    entry = {"Config": image.config, "RepoTags": [reference], "Layers": list(image.layers)}
    passed = 0
    with _unzipped(file) as plain:
        for start, end in archive.kept:
            plain.seek(start)
            left = end - start
            while left:
                chunk = plain.read(min(CHUNK, left))
                if not chunk:
                    raise Invalid("The archive changed while it was read")
                left -= len(chunk)
                passed += len(chunk)
                yield chunk
                report(passed)
    yield _member("manifest.json", json.dumps([entry]).encode()) + bytes(2 * _BLOCK)


class _Reading:
    """One way through an archive."""

    def __init__(self, file: BinaryIO, room: int) -> None:
        self._file = _Careful(file)
        self._room = room
        self._members: dict[str, tarfile.TarInfo] = {}
        self._kept: list[tuple[int, int]] = []
        self._size = 0

    def archive(self) -> ImageArchive:
        with tarfile.open(fileobj=cast("BinaryIO", self._file), mode="r:") as tar:
            self._walk(tar)
            missing = "The file is no archive of Docker images: it has no manifest.json"
            listed = self._json(tar, "manifest.json", missing)
            if not isinstance(listed, list) or not 0 < len(listed) <= MAX_IMAGES:
                raise Invalid("The archive's manifest.json lists no images, or too many")
            images = tuple(self._image(tar, entry) for entry in listed)
        return ImageArchive(images, self._size, tuple(self._kept))

    def _walk(self, tar: tarfile.TarFile) -> None:
        total = 0
        for count in range(MAX_MEMBERS + 1):
            self._file.allow()
            member = tar.next()
            # The library would remember every member that it ever read.
            tar.members.clear()  # type: ignore[attr-defined] # the stubs leave it out
            if member is None:
                return
            if count == MAX_MEMBERS:
                raise Invalid(f"The archive holds more than {MAX_MEMBERS} files")
            total += member.size
            if total > self._room:
                raise Invalid(f"The archive holds more than the {self._room} bytes that there is room for")
            if member.issparse():
                raise Invalid(f"The archive holds a file of an unusual kind: {member.name[:200]}")
            name = posixpath.normpath(member.name)
            start, self._size = member.offset, tar.offset
            self._members[name] = member
            if name not in _DIRECTORIES:
                self._keep(start, tar.offset)

    def _keep(self, start: int, end: int) -> None:
        if self._kept and self._kept[-1][1] == start:
            start = self._kept.pop()[0]
        self._kept.append((start, end))

    def _image(self, tar: tarfile.TarFile, entry: object) -> ArchivedImage:
        if not isinstance(entry, dict):
            raise Invalid("The archive's manifest.json makes no sense")
        config_name, layers, tags = entry.get("Config"), _texts(entry.get("Layers")), _texts(entry.get("RepoTags"))
        if not isinstance(config_name, str):
            raise Invalid("The archive's manifest.json makes no sense")
        config = self._json(tar, config_name, f"The archive lacks the image description {config_name[:200]}")
        if not isinstance(config, dict):
            raise Invalid("The archive's image description makes no sense")
        inner = config.get("config")
        labels = inner.get("Labels") if isinstance(inner, dict) else None
        return ArchivedImage(
            tags=tuple(check_reference(tag) for tag in tags),
            os=_text(config.get("os")),
            architecture=_text(config.get("architecture")),
            variant=_text(config.get("variant")),
            labels={str(key): str(value) for key, value in labels.items()} if isinstance(labels, dict) else {},
            config=config_name,
            layers=tuple(layers),
            layer_bytes=sum(self._layer(name).size for name in layers),
        )

    def _layer(self, name: str) -> tarfile.TarInfo:
        member = self._members.get(posixpath.normpath(name))
        if member is None or not (member.isreg() or member.issym()):
            raise Invalid(f"The archive is not complete: it lacks the layer {name[:200]}")
        return member

    def _json(self, tar: tarfile.TarFile, name: str, missing: str) -> Any:
        member = self._members.get(posixpath.normpath(name))
        if member is None or not member.isreg():
            raise Invalid(missing)
        if member.size > MAX_TEXT_FILE:
            raise Invalid(f"The archive's {name[:200]} is too large")
        self._file.allow()
        content = tar.extractfile(member)
        assert content is not None  # noqa: S101 - it is a regular file
        return json.loads(content.read())


class _Careful:
    """A file that gives up where much would be read at once: a header may claim any size."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.allow()

    def allow(self) -> None:
        """Let the next few megabytes be read."""
        self._left = MAX_TEXT_FILE + CHUNK

    def read(self, size: int = -1) -> bytes:
        self._left -= size if size >= 0 else self._left + 1  # no size means everything
        if self._left < 0:
            raise Invalid("A header of the archive is too large")
        return self._file.read(size)

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()

    def seekable(self) -> bool:
        return True

    def readable(self) -> bool:
        return True


def _unzipped(file: BinaryIO) -> AbstractContextManager[BinaryIO]:
    file.seek(0)
    packed = file.read(len(_GZIP)) == _GZIP
    file.seek(0)
    # A plain file stays open: whoever opened it closes it.
    return cast("BinaryIO", gzip.GzipFile(fileobj=file, mode="rb")) if packed else nullcontext(file)


def _member(name: str, content: bytes) -> bytes:
    header = tarfile.TarInfo(name)
    header.size = len(content)
    return header.tobuf(tarfile.GNU_FORMAT) + content + bytes(-len(content) % _BLOCK)


def _texts(value: object) -> list[str]:
    """Return a list of words; nothing is an empty one."""
    words = [] if value is None else value
    if not isinstance(words, list) or len(words) > 1024 or not all(isinstance(word, str) for word in words):
        raise Invalid("The archive's manifest.json makes no sense")
    return words


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""
