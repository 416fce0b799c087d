"""Names and numbers that clients, add-ons and existing installations rely on."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, IPv6Network
from typing import Final

MIB: Final = 1024 * 1024
GIB: Final = 1024 * MIB

# The internal network (add-on contract §4.2).
NETWORK_NAME: Final = "hassio"
NETWORK_SUBNET: Final = IPv4Network("172.30.32.0/23")
NETWORK_RANGE: Final = IPv4Network("172.30.33.0/24")
NETWORK_SUBNET_V6: Final = IPv6Network("fd0c:ac1e:2100::/48")
GATEWAY_ADDRESS: Final = IPv4Address("172.30.32.1")
SUPERVISOR_ADDRESS: Final = IPv4Address("172.30.32.2")
DNS_ADDRESS: Final = IPv4Address("172.30.32.3")
UNKNOWN_ADDRESS: Final = IPv4Address("0.0.0.0")  # noqa: S104 - the documented "no address yet", nothing listens there
DNS_SUFFIX: Final = "local.hass.io"

# Container and image naming (add-on contract §0.1: the classic words are written, both are read).
ADDON_CONTAINER_PREFIX: Final = "addon_"
APP_CONTAINER_PREFIX: Final = "app_"
LABEL_MANAGED: Final = "supervisor_managed"
LABEL_VERSION: Final = "io.hass.version"
LABEL_ARCH: Final = "io.hass.arch"
LABEL_TYPE: Final = "io.hass.type"
LABEL_NAME: Final = "io.hass.name"
LABEL_DESCRIPTION: Final = "io.hass.description"
LABEL_URL: Final = "io.hass.url"

# Built-in repositories, source -> slug (add-on contract §2.1).
REPOSITORY_CORE: Final = "core"
REPOSITORY_LOCAL: Final = "local"
CORE_REPOSITORY_URL: Final = "https://github.com/home-assistant/addons"
BUILTIN_REPOSITORIES: Final[dict[str, str]] = {
    REPOSITORY_CORE: "core",
    REPOSITORY_LOCAL: "local",
    "https://github.com/hassio-addons/repository": "a0d7b954",
    "https://github.com/esphome/home-assistant-addon": "5c53de3b",
    "https://github.com/music-assistant/home-assistant-addon": "d5369777",
}

MAX_BODY_BYTES: Final = 16 * MIB
MIN_FREE_BYTES: Final = 2 * GIB
START_WAIT_SECONDS: Final = 120
TOKEN_BYTES: Final = 56
