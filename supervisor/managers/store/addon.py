"""An add-on as a repository offers it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs

from supervisor.model.assets import AssetKind
from supervisor.model.manifest import Manifest


@attrs.frozen(eq=False, kw_only=True)
class StoreAddon:
    """A new object each time something of it changed, so that identity tells.

    `slug` is the full one, `repository` that of the repository, whose folder is `root`.

    `version_timestamp` is when the manifest was last written, in seconds since the epoch. `advisories` are remarks for
    the add-on's author. `assets` are the kinds whose file was there at the last look.
    """

    slug: str
    repository: str
    manifest: Manifest
    folder: Path
    root: Path
    translations: Mapping[str, Any]
    version_timestamp: float
    advisories: tuple[str, ...] = ()
    assets: frozenset[AssetKind] = frozenset()

    @property
    def readme(self) -> bool:
        return AssetKind.LONG_DESCRIPTION in self.assets

    @property
    def changelog(self) -> bool:
        return AssetKind.CHANGELOG in self.assets

    @property
    def documentation(self) -> bool:
        return AssetKind.DOCUMENTATION in self.assets

    @property
    def icon(self) -> bool:
        return AssetKind.ICON in self.assets

    @property
    def logo(self) -> bool:
        return AssetKind.LOGO in self.assets
