"""Which containers are ours (add-on contract §4.7, §4.11)."""

from __future__ import annotations

import re
from collections.abc import Mapping

from supervisor.const import ADDON_CONTAINER_PREFIX, APP_CONTAINER_PREFIX, LABEL_MANAGED
from supervisor.errors import Invalid

# Older installations have containers without the label.
_PREFIXES = (ADDON_CONTAINER_PREFIX, APP_CONTAINER_PREFIX, "hassio_")
_NAMES = frozenset({"homeassistant"})
_VALID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,254}")


def is_ours(name: str, labels: Mapping[str, object]) -> bool:
    return LABEL_MANAGED in labels or name in _NAMES or name.startswith(_PREFIXES)


def check_name(name: str) -> str:
    """Return `name` if a container can have it (or its id).

    Raises:
        Invalid: it can't be one; it must not reach the engine's URL.
    """
    if not _VALID.fullmatch(name):
        raise Invalid(f"{name[:300]!r} is no container name")
    return name
