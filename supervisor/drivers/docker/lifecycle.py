"""The engine calls that make, start, stop and remove a container. All of it blocks: for the driver's threads."""

from __future__ import annotations

import contextlib
import logging
import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

import requests
from docker import APIClient
from docker.errors import APIError, create_api_error_from_http_exception
from docker.errors import NotFound as Absent

from supervisor.drivers.docker.refusals import refused_wish
from supervisor.drivers.docker.spec import ContainerSpec, engine_config
from supervisor.drivers.docker.translate import FOREIGN, explanation_of, port_conflict
from supervisor.drivers.docker.wire import EngineClient
from supervisor.errors import Internal, NotFound, Timeout

_LOGGER = logging.getLogger(__name__)

GRACE_OF_REPLACED = 10
REMOVAL_SECONDS = 30.0
_STALE_ENDPOINT = "already exists in network"


def run(client: APIClient, spec: ContainerSpec, network_name: str) -> dict[str, Any]:
    """Create and start `spec`, return what inspect says afterwards (addresses exist only then)."""
    stop(client, spec.name, GRACE_OF_REPLACED, None, remove=True)
    identity = create(client, spec, network_name)
    try:
        return start(client, spec.name, _network_of(spec, network_name))
    except BaseException as err:
        # The reason of the failed start is what counts, also when the engine went away in between.
        with contextlib.suppress(*FOREIGN):
            _clear(client, identity, _path(spec))
        if isinstance(err, APIError) and (refusal := refused_wish(spec, explanation_of(err))) is not None:
            raise refusal from err
        raise


def create(client: APIClient, spec: ContainerSpec, network_name: str) -> str:
    """Create `spec` with its id file and return its id."""
    if spec.cid_file is not None:
        _empty_file(spec.cid_file.path)
    try:
        config = engine_config(spec, network_name=network_name)
        created = client.create_container_from_config(config, name=spec.name)  # type: ignore[no-untyped-call] # its stub is bare
    except APIError as err:
        _remove_file(_path(spec))
        if err.status_code == 404 and "image" in explanation_of(err).lower():
            raise NotFound(f"{spec.name} can't start: image {spec.image} is not here") from err
        if (refusal := refused_wish(spec, explanation_of(err))) is not None:
            raise refusal from err
        raise
    identity = str(created["Id"])
    for warning in created.get("Warnings") or ():
        _LOGGER.debug("%s: the engine warns: %s", spec.name, warning)
    if spec.cid_file is not None:
        try:
            spec.cid_file.path.write_text(identity)
        except OSError as err:
            _clear(client, identity, _path(spec))
            raise Internal(f"{spec.name}: its id file can't be written: {err}") from err
    return identity


def start(client: APIClient, name: str, network_name: str) -> dict[str, Any]:
    """Start a container that exists; an endpoint that a crashed engine left under its name is dropped first."""
    try:
        _start(client, name)
    except APIError as err:
        if _STALE_ENDPOINT not in explanation_of(err):
            raise
        _LOGGER.warning("%s: dropping its stale endpoint on network %s", name, network_name)
        client.disconnect_container_from_network(name, network_name, force=True)
        _start(client, name)
    raw: dict[str, Any] = client.inspect_container(name)
    return raw


def stop(client: APIClient, name: str, grace: int, cid_path: Path | None, *, remove: bool) -> None:
    """Stop and, if asked, remove together with the container's id file."""
    try:
        raw = client.inspect_container(name)
    except Absent:
        if remove:
            _remove_file(cid_path)
        return
    # By its id: should nobody wait for this any more, another one may have the name by now.
    identity = str(raw["Id"])
    with contextlib.suppress(Absent):
        state = raw.get("State") or {}
        if state.get("Running") or state.get("Restarting"):
            client.stop(identity, timeout=grace)
    if remove:
        _clear(client, identity, cid_path)


def update(client: EngineClient, name: str, changes: Mapping[str, int]) -> None:
    """Change resources of a container; the SDK's own call knows only some of them."""
    url = f"{client.base_url}/v{client.api_version}/containers/{quote(name, safe='')}/update"
    response = client.post(url, json=dict(changes), timeout=client.timeout)
    try:
        response.raise_for_status()
    except requests.HTTPError as err:
        create_api_error_from_http_exception(err)


def remove(client: APIClient, name: str, cid_path: Path | None) -> None:
    """Kill and remove at once."""
    _clear(client, name, cid_path)


def _start(client: APIClient, name: str) -> None:
    try:
        client.start(name)
    except APIError as err:
        conflict = port_conflict(name, explanation_of(err))
        if conflict is not None:
            raise conflict from err
        raise


def _remove(client: APIClient, name: str) -> None:
    try:
        client.remove_container(name, force=True, v=True)
    except Absent:
        return
    except APIError as err:
        if err.status_code != 409 or "already in progress" not in explanation_of(err):
            raise
        _wait_until_gone(client, name)


def _wait_until_gone(client: APIClient, name: str) -> None:
    """Somebody else is removing it; its name is free only when that is done."""
    deadline = time.monotonic() + REMOVAL_SECONDS
    while time.monotonic() < deadline:
        try:
            client.inspect_container(name)
        except Absent:
            return
        time.sleep(0.1)
    raise Timeout(f"Container {name} is being removed for more than {REMOVAL_SECONDS:g} s")


def _clear(client: APIClient, identity: str, cid_path: Path | None) -> None:
    _remove(client, identity)
    _remove_file(cid_path)


def _path(spec: ContainerSpec) -> Path | None:
    return None if spec.cid_file is None else spec.cid_file.path


def _network_of(spec: ContainerSpec, network_name: str) -> str:
    return network_name if spec.network == "hassio" else spec.network


def _empty_file(path: Path) -> None:
    """Make an empty file; before, an engine may have made a folder where the file was missing."""
    try:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        path.unlink(missing_ok=True)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(mode=0o644)
    except OSError as err:
        raise Internal(f"The id file {path} can't be made: {err}") from err


def _remove_file(path: Path | None) -> None:
    if path is None:
        return
    try:
        path.unlink(missing_ok=True)
    except OSError as err:
        _LOGGER.warning("The id file %s can't be removed: %s", path, err)
