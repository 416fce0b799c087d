"""Images as tar archives. All of it blocks: for the driver's threads."""

from __future__ import annotations

import contextlib
import errno
import re
from collections.abc import Iterator
from pathlib import Path

from docker.errors import APIError

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
                    raise _refused(path, str(message["error"]))
                loaded += _LOADED.findall(str(message.get("stream") or ""))
    if len(loaded) != 1:
        raise Invalid(f"{path.name} must hold exactly one image, not {len(loaded)}")
    return loaded[0]


def _refused(path: Path, reason: str) -> Exception:
    if reason.rstrip().lower().endswith("no space left on device"):
        return DOCKER_NO_SPACE()
    return Invalid(f"{path.name} can't be loaded: {reason}")


@contextlib.contextmanager
def _file_errors(path: Path) -> Iterator[None]:
    """Our own file's troubles are not the engine's."""
    try:
        yield
    except OSError as err:
        if err.errno == errno.ENOSPC:
            raise translate(err, str(path)) from err
        raise Internal(f"{path}: {err.strerror or err}") from err
