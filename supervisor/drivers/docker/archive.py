"""Images as tar archives. All of it blocks: for the driver's threads."""

from __future__ import annotations

import contextlib
import errno
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

from docker.errors import APIError

from supervisor.drivers.docker.image_archive import ArchivedImage, ImageArchive, single_image
from supervisor.drivers.docker.translate import explanation_of, translate
from supervisor.drivers.docker.wire import EngineClient, OpenSockets
from supervisor.errors import DOCKER_NO_SPACE, Internal, Invalid, Unavailable

_LOADED = re.compile(r"Loaded image(?: ID)?: (\S+)")


def save(client: EngineClient, sockets: OpenSockets, reference: str, path: Path) -> None:
    """Write the image to `path`."""
    with client.open(sockets, "GET", "/images/{}/get", reference) as stream:
        chunks = stream.chunks()
        done = False
        try:
            with _file_errors(path):
                file = path.open("wb")
            with file:
                for chunk in chunks:
                    with _file_errors(path):
                        file.write(chunk)
                with _file_errors(path):
                    file.flush()
            done = not sockets.closed
        finally:
            if not done:
                path.unlink(missing_ok=True)
    if not done:
        raise Unavailable(f"Saving {reference} was ended")


def load(client: EngineClient, sockets: OpenSockets, path: Path) -> str:
    """Load the one image of the archive and return its reference or id."""
    loaded: list[str] = []
    if not path.is_file():
        raise Invalid(f"There is no file {path}")
    with _file_errors(path):
        file = path.open("rb")
    with file:
        try:
            headers = {"Content-Type": "application/x-tar"}
            answer = client.open(sockets, "POST", "/images/load", params={"quiet": 1}, data=file, headers=headers)
        except APIError as err:
            raise Invalid(f"{path.name} can't be loaded: {explanation_of(err)}") from err
        with answer as stream:
            for message in stream.messages():
                if "error" in message:
                    raise _refused(path.name, str(message["error"]))
                loaded += _LOADED.findall(str(message.get("stream") or ""))
    if len(loaded) != 1:
        raise Invalid(f"{path.name} must hold exactly one image, not {len(loaded)}")
    return loaded[0]


def load_single(
    client: EngineClient,
    sockets: OpenSockets,
    file: BinaryIO,
    archive: ImageArchive,
    image: ArchivedImage,
    reference: str,
    report: Callable[[float], None] | None,
) -> None:
    """Load just `image` of the archive and call it `reference`; `report` gets per cent.

    Half of the way is to hand it over, the other half what the engine then does with the layers.
    """
    progress = _LoadProgress(archive, image, report)
    body = single_image(file, archive, image, reference, progress.handed_over)
    headers = {"Content-Type": "application/x-tar"}
    try:
        answer = client.open(sockets, "POST", "/images/load", params={"quiet": 0}, data=body, headers=headers)
    except APIError as err:
        raise _refused(reference, explanation_of(err)) from err
    with answer as stream:
        for message in stream.messages():
            if "error" in message:
                raise _refused(reference, str(message["error"]))
            progress.feed(message)


class _LoadProgress:
    def __init__(self, archive: ImageArchive, image: ArchivedImage, report: Callable[[float], None] | None) -> None:
        self._handing = max(1, sum(end - start for start, end in archive.kept))
        self._loading = max(1, image.layer_bytes)
        self._layers: dict[str, int] = {}
        self._report = report
        self._told = -1.0

    def handed_over(self, passed: int) -> None:
        self._tell(50 * passed / self._handing)

    def feed(self, message: Mapping[str, Any]) -> None:
        detail = message.get("progressDetail")
        current = detail.get("current") if isinstance(detail, dict) else None
        if message.get("status") == "Loading layer" and isinstance(current, int):
            self._layers[str(message.get("id"))] = current
            self._tell(50 + 50 * min(1.0, sum(self._layers.values()) / self._loading))

    def _tell(self, percent: float) -> None:
        if self._report is not None and percent - self._told >= 1:
            self._told = percent
            self._report(percent)


def _refused(name: str, reason: str) -> Exception:
    if reason.rstrip().lower().endswith("no space left on device"):
        return DOCKER_NO_SPACE()
    return Invalid(f"{name} can't be loaded: {reason}")


@contextlib.contextmanager
def _file_errors(path: Path) -> Iterator[None]:
    """Our own file's troubles are not the engine's."""
    try:
        yield
    except OSError as err:
        if err.errno == errno.ENOSPC:
            raise translate(err, str(path)) from err
        raise Internal(f"{path}: {err.strerror or err}") from err
