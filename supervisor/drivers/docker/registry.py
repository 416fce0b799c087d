"""Image references: which registry they mean and which stored login goes there (add-on contract §4.8)."""

from __future__ import annotations

import re
from collections.abc import Mapping

import attrs

from supervisor.errors import Invalid, Unsupported
from supervisor.model.registries import DOCKER_HUB, DOCKER_HUB_NAMES, canonical_registry

_HUB_API = "registry-1.docker.io"
_HUB_NAMES = frozenset({"docker.io", "index.docker.io", "registry-1.docker.io"})
_PLATFORMS = {
    "amd64": "linux/amd64",
    "aarch64": "linux/arm64",
    "armv7": "linux/arm/v7",
    "armhf": "linux/arm/v6",
    "i386": "linux/386",
}
_PART = r"[a-z0-9]+(?:(?:\.|_{1,2}|-+)[a-z0-9]+)*"
_HOST = r"[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?(?::\d{1,5})?"
_NAME = re.compile(rf"(?:{_HOST}/)?{_PART}(?:/{_PART})*")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


@attrs.frozen
class RegistryCredentials:
    """A login for the registry `host` (`docker.io` for Docker Hub)."""

    host: str
    username: str
    password: str = attrs.field(repr=False)


def registry_of(image: str) -> str:
    """Return the host of the registry that `image` (with or without tag) comes from; `docker.io` for Docker Hub."""
    first, separator, _ = image.partition("/")
    if not separator:
        return DOCKER_HUB
    if "." in first or ":" in first or first == "localhost" or first != first.lower():
        return DOCKER_HUB if first in _HUB_NAMES else first
    return DOCKER_HUB


def credentials_for(image: str, logins: Mapping[str, Mapping[str, str]]) -> RegistryCredentials | None:
    """Choose the stored login (`{host: {username, password}}`) that goes with `image`."""
    host = registry_of(image)
    for name in DOCKER_HUB_NAMES if host == DOCKER_HUB else (host, host.lower()):
        login = logins.get(name)
        if login is not None:
            return RegistryCredentials(host, login["username"], login["password"])
    return None


def all_credentials(logins: Mapping[str, Mapping[str, str]]) -> tuple[RegistryCredentials, ...]:
    """Return every stored login, one for each registry."""
    hosts = sorted({canonical_registry(host) for host in logins})
    found = (credentials_for(f"{host}/any", logins) for host in hosts)
    return tuple(login for login in found if login is not None)


def pull_name(image: str) -> str:
    """Return `image` with its registry written out, so that every image store matches it to the login sent along."""
    host = registry_of(image)
    if host != DOCKER_HUB:
        return image
    first, _, rest = image.partition("/")
    return f"{DOCKER_HUB}/{rest}" if first in _HUB_NAMES else f"{DOCKER_HUB}/{image}"


def repository_path(image: str) -> str:
    """Return the name inside its registry; single names of Docker Hub are in its `library`."""
    name = pull_name(image).partition("/")[2]
    return f"library/{name}" if registry_of(image) == DOCKER_HUB and "/" not in name else name


def api_host(image: str) -> str:
    """Return the host whose API serves `image`."""
    host = registry_of(image)
    return _HUB_API if host == DOCKER_HUB else host


def mirrored(image: str, mirror: str) -> str:
    """Return what `image` is called at a mirror (`host[:port][/path]`)."""
    return f"{mirror}/{repository_path(image)}"


def platform_of(arch: str) -> str:
    """Return the engine's platform for one of our architecture names.

    Raises:
        Unsupported: no engine platform is known for it.
    """
    try:
        return _PLATFORMS[arch]
    except KeyError:
        raise Unsupported(f"No Docker platform is known for the architecture {arch!r}") from None


def split_reference(reference: str) -> tuple[str, str]:
    """Split `repository[:tag]` into repository and tag (`latest` when none is given)."""
    head, separator, tail = reference.rpartition(":")
    if separator and "/" not in tail:
        return head, tail
    return reference, "latest"


def check_reference(reference: str) -> str:
    """Return `reference` (`repository[:tag]`, or an image id) if the engine could know it.

    Raises:
        Invalid: it is no image reference; it must not reach the engine's URL.
    """
    if _DIGEST.fullmatch(reference):
        return reference
    name, tag = split_reference(reference)
    if len(name) > 255 or not _NAME.fullmatch(name) or not _TAG.fullmatch(tag):
        raise Invalid(f"{reference[:300]!r} is no image reference")
    return reference
