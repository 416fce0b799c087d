"""Names of image registries and of mirrors, as people write them (add-on contract §4.8, §7.4 row 12)."""

from __future__ import annotations

import re
from typing import Any

import voluptuous as vol

DOCKER_HUB = "docker.io"
# The first is ours, the second what the API always called it, the others are hosts that Docker Hub answers at.
DOCKER_HUB_NAMES = ("docker.io", "hub.docker.com", "index.docker.io", "registry-1.docker.io")
MAX_MIRRORS = 8

_LABEL = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_HOST = re.compile(rf"(?P<name>{_LABEL}(?:\.{_LABEL})*)(?::(?P<port>[0-9]{{1,5}}))?")
_PATH = re.compile(r"[a-z0-9]+(?:(?:\.|_{1,2}|-+)[a-z0-9]+)*")


def registry_host(value: Any) -> str:
    """Accept a registry's host name in lower case, with a port if need be.

    A name without a dot must be `localhost` or have a port: in an image's name anything else is no host.
    """
    match = _HOST.fullmatch(value) if isinstance(value, str) and len(value) <= 255 else None
    if match is None or ("." not in match["name"] and match["name"] != "localhost" and match["port"] is None):
        raise vol.Invalid("expected a registry host such as registry.example.org or localhost:5000")
    if match["port"] is not None and not 1 <= int(match["port"]) <= 65535:
        raise vol.Invalid("expected a port between 1 and 65535")
    return str(value)


def mirror_address(value: Any) -> str:
    """Accept where a mirror is: `host[:port]`, and a path where the mirror keeps several registries apart."""
    if not isinstance(value, str) or len(value) > 255:
        raise vol.Invalid("expected a mirror such as mirror.example.org or mirror.example.org:5000/hub")
    host, separator, path = value.partition("/")
    registry_host(host)
    if separator and not all(_PATH.fullmatch(part) for part in path.split("/")):
        raise vol.Invalid("expected a mirror such as mirror.example.org or mirror.example.org:5000/hub")
    return value


def mirror_list(value: Any) -> list[str]:
    """Accept one to eight different mirrors, the one to try first in front."""
    mirrors: list[str] = vol.Schema(vol.All([mirror_address], vol.Length(1, MAX_MIRRORS)))(value)
    if len(set(mirrors)) != len(mirrors):
        raise vol.Invalid("expected each mirror once")
    return mirrors


def canonical_registry(host: str) -> str:
    """Return the one name that a registry has here; Docker Hub goes by several."""
    lower = host.lower()
    return DOCKER_HUB if lower in DOCKER_HUB_NAMES else lower
