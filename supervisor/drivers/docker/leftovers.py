"""What nobody uses any more on the engine: found and removed, nothing of strangers (add-on contract §4.8)."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterable
from functools import partial
from typing import Any

from docker import APIClient
from docker.errors import APIError
from docker.errors import NotFound as Absent

from supervisor.drivers.docker.link import Link
from supervisor.drivers.docker.network import NetworkSettings
from supervisor.drivers.docker.ours import is_ours
from supervisor.drivers.docker.registry import split_reference
from supervisor.drivers.docker.translate import explanation_of

_LOGGER = logging.getLogger(__name__)

_HOST_NETWORK = "host"


class Leftovers:
    """Removes what is left over. Volumes and networks are never touched: nobody can tell that they hold nothing."""

    def __init__(self, link: Link, settings: NetworkSettings) -> None:
        self._link = link
        self._settings = settings

    async def remove_containers(self, is_leftover: Callable[[str], bool]) -> list[str]:
        """Remove containers of ours that don't run and whose name `is_leftover` says so of; return their names."""
        return await self._link.change("Removing old containers", partial(_remove_containers, is_leftover=is_leftover))

    async def remove_images(self, *, names: Collection[str], keep: Collection[str]) -> list[str]:
        """Remove images without any name, and those of the repositories `names` that `keep` does not list.

        Images that any container is made of stay.

        Returns:
            The references and ids that are gone.
        """
        return await self._link.change("Removing old images", partial(_remove_images, names=names, keep=keep))

    async def clear_build_cache(self) -> int:
        """Remove what builds no longer refer to; return the bytes that this freed."""
        freed = await self._link.change("Clearing the build cache", APIClient.prune_builds)
        return int(freed.get("SpaceReclaimed") or 0)

    async def drop_endpoints(self) -> list[str]:
        """Drop the endpoints of containers that are gone from the internal and the host's network; return their names.

        An engine that crashed leaves them behind; the next container of the name then can't start.
        """
        networks = (self._settings.name, _HOST_NETWORK)
        return await self._link.change("Dropping old endpoints", partial(_drop_endpoints, networks=networks))


def _remove_containers(client: APIClient, *, is_leftover: Callable[[str], bool]) -> list[str]:
    removed = []
    for entry in client.containers(all=True):
        if entry.get("State") not in {"created", "exited", "dead"}:
            continue
        names = [str(name).removeprefix("/") for name in entry.get("Names") or ()]
        name = next((name for name in names if "/" not in name), "")
        ours = bool(name) and is_ours(name, entry.get("Labels") or {})
        # Not forced: one that was started meanwhile is no leftover.
        remove = partial(client.remove_container, entry["Id"], v=True)
        if ours and is_leftover(name) and _quietly(f"Container {name}", remove):
            removed.append(name)
    return removed


def _remove_images(client: APIClient, *, names: Collection[str], keep: Collection[str]) -> list[str]:
    used = {str(entry.get("ImageID")) for entry in client.containers(all=True)}
    # Those that others are built on are not listed; the engine refuses to remove a parent anyway.
    unused = [entry for entry in client.images() if str(entry["Id"]) not in used]
    doomed = [reference for entry in unused for reference in _doomed(entry, names, keep)]
    return [
        reference for reference in doomed if _quietly(f"Image {reference}", partial(client.remove_image, reference))
    ]


def _doomed(entry: dict[str, Any], names: Collection[str], keep: Collection[str]) -> Iterable[str]:
    tags = [str(tag) for tag in entry.get("RepoTags") or () if tag != "<none>:<none>"]
    digests = [str(known).partition("@")[0] for known in entry.get("RepoDigests") or ()]
    # Somebody may refer to an image by its digest alone.
    if not tags and all(name in names for name in digests if name != "<none>"):
        return [str(entry["Id"])]
    return [tag for tag in tags if tag not in keep and split_reference(tag)[0] in names]


def _drop_endpoints(client: APIClient, *, networks: Collection[str]) -> list[str]:
    present = {str(entry["Id"]) for entry in client.containers(all=True)}
    dropped = []
    for network in networks:
        try:
            members = client.inspect_network(network).get("Containers") or {}
        except Absent:
            continue
        for identity, entry in members.items():
            name = str(entry.get("Name") or identity)
            # An endpoint without a container is listed under an id of its own, such as `ep-…`.
            if identity not in present and _quietly(
                f"Endpoint {name}", partial(client.disconnect_container_from_network, name, network, force=True)
            ):
                dropped.append(name)
    return dropped


def _quietly(what: str, act: Callable[[], object]) -> bool:
    """Do what the engine may refuse for a good reason; tell whether it was done."""
    try:
        act()
    except Absent:
        return False
    except APIError as err:
        _LOGGER.debug("%s stays: %s", what, explanation_of(err))
        return False
    return True
