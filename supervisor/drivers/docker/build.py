"""Images built by the engine's classic build API (add-on contract §4.10). All blocks: for the driver's threads."""

from __future__ import annotations

import json
import os
import stat
import tempfile
from collections import deque
from collections.abc import Callable, Collection, Mapping
from pathlib import Path, PurePosixPath
from typing import IO

import attrs
from docker import auth
from docker.errors import APIError
from docker.utils.build import create_archive, exclude_paths

from supervisor.drivers.docker.registry import RegistryCredentials
from supervisor.drivers.docker.translate import explanation_of
from supervisor.drivers.docker.wire import EngineClient, OpenSockets
from supervisor.errors import DOCKER_NO_SPACE, Internal, Invalid
from supervisor.model.registries import DOCKER_HUB

TAIL_LINES = 40
MAX_IGNORE_FILE = 1024 * 1024
_HUB_KEY = "https://index.docker.io/v1/"


@attrs.frozen(kw_only=True)
class BuildPlan:
    """What to build: a folder, the Dockerfile's path inside it, and the reference the image gets."""

    context: Path
    dockerfile: str
    tag: str
    platform: str | None
    build_args: Mapping[str, str]
    labels: Mapping[str, str]
    pull: bool
    registries: Collection[RegistryCredentials]


def build(client: EngineClient, sockets: OpenSockets, plan: BuildPlan, log: Callable[[str], None] | None) -> None:
    """Build `plan`; `log` gets each line of output, in this thread.

    Raises:
        Invalid: the context or the Dockerfile is not there.
        Internal: the build failed; the message ends with the last lines of its output.
    """
    tail: deque[str] = deque(maxlen=TAIL_LINES)

    def say(text: str) -> None:
        for line in text.splitlines():
            if line.strip():
                tail.append(line)
                if log is not None:
                    log(line)

    failure: str | None = None
    with _context(plan) as archive:
        try:
            answer = client.open(
                sockets, "POST", "/build", params=_params(plan), data=archive, headers=_headers(plan.registries)
            )
        except APIError as err:
            raise _failed(plan.tag, explanation_of(err), tail) from err
        with answer as stream:
            for message in stream.messages():
                if "error" in message:
                    failure = str(message["error"])
                elif isinstance(message.get("stream"), str):
                    say(message["stream"])
                elif isinstance(message.get("status"), str) and "progress" not in message:
                    say(" ".join(str(message[key]) for key in ("id", "status") if message.get(key)))
    if failure is not None:
        raise _failed(plan.tag, failure, tail)


def _failed(tag: str, reason: str, tail: Collection[str]) -> Exception:
    if reason.rstrip().lower().endswith("no space left on device"):
        return DOCKER_NO_SPACE()
    return Internal("\n".join([f"Building {tag} failed: {reason.strip()}", *tail]))


def _params(plan: BuildPlan) -> dict[str, object]:
    params: dict[str, object] = {
        "t": plan.tag,
        "dockerfile": plan.dockerfile,
        "rm": 1,
        "forcerm": 1,
        "pull": int(plan.pull),
        "buildargs": json.dumps(dict(plan.build_args)),
        "labels": json.dumps(dict(plan.labels)),
    }
    if plan.platform is not None:
        params["platform"] = plan.platform
    return params


def _headers(registries: Collection[RegistryCredentials]) -> dict[str, str]:
    logins = {
        _HUB_KEY if login.host == DOCKER_HUB else login.host: {"username": login.username, "password": login.password}
        for login in registries
    }
    return {"Content-Type": "application/tar", "X-Registry-Config": auth.encode_header(logins).decode()}


def _context(plan: BuildPlan) -> IO[bytes]:
    """Pack the folder, without its git history and what its .dockerignore names, into an unnamed temporary file."""
    root = plan.context
    dockerfile = PurePosixPath(plan.dockerfile)
    if dockerfile.is_absolute() or ".." in dockerfile.parts:
        raise Invalid(f"The Dockerfile {plan.dockerfile} lies outside the folder that is built")
    try:
        inside = (root / dockerfile).resolve(strict=True).is_relative_to(root.resolve(strict=True))
        if not inside or not (root / dockerfile).is_file():
            raise Invalid(f"There is no Dockerfile {plan.dockerfile} in {root}")
        excluded = [*_ignored(root), ".git", "**/.git"]
        names = exclude_paths(str(root), excluded, dockerfile=str(dockerfile))
        # A pipe or a device would block the packing for ever, and means nothing to a build.
        files = sorted(name for name in names if name and _packable(root / name))
        archive = tempfile.TemporaryFile()  # noqa: SIM115 - the caller closes it
        create_archive(str(root), files=files, fileobj=archive)
    except FileNotFoundError as err:
        raise Invalid(f"{err.filename} is missing, {plan.tag} can't be built") from err
    except (OSError, ValueError, IndexError) as err:
        raise Internal(f"The folder {root} can't be packed: {err}") from err
    return archive


def _ignored(root: Path) -> list[str]:
    path = root / ".dockerignore"
    try:
        if path.is_symlink() or not path.is_file():
            return []
        with path.open("rb") as file:
            text = file.read(MAX_IGNORE_FILE).decode(errors="replace")
    except FileNotFoundError:
        return []
    lines = (line.strip() for line in text.splitlines())
    return [line for line in lines if line and not line.startswith("#")]


def _packable(path: Path) -> bool:
    mode = os.lstat(path).st_mode
    return stat.S_ISREG(mode) or stat.S_ISDIR(mode) or stat.S_ISLNK(mode)
