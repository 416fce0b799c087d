"""What may lie beside a manifest for people to read and look at (add-on contract §1.1)."""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from supervisor.const import MIB

MAX_ASSET_BYTES: Final = 4 * MIB


class AssetKind(StrEnum):
    """The kinds, by file name."""

    LONG_DESCRIPTION = "README.md"
    CHANGELOG = "CHANGELOG.md"
    DOCUMENTATION = "DOCS.md"
    ICON = "icon.png"
    LOGO = "logo.png"
