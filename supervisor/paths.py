"""Where things lie on disk (add-on contract §3.12), as we see them and as the Docker engine sees them."""

from __future__ import annotations

from pathlib import Path

import attrs


@attrs.frozen
class DataPaths:
    """The data root and the same folder as the host's Docker engine sees it.

    Both are equal unless the daemon itself runs in a container. Bind sources given to the engine go through `on_host`.
    """

    root: Path
    host_root: Path

    @property
    def addons_data(self) -> Path:
        return self.root / "addons" / "data"

    @property
    def addons_snapshots(self) -> Path:
        """Copies of `addons_data` folders from before an update."""
        return self.root / "addons" / "snapshots"

    @property
    def addons_core(self) -> Path:
        return self.root / "addons" / "core"

    @property
    def addons_local(self) -> Path:
        return self.root / "addons" / "local"

    @property
    def addons_git(self) -> Path:
        return self.root / "addons" / "git"

    @property
    def addon_configs(self) -> Path:
        return self.root / "addon_configs"

    @property
    def homeassistant(self) -> Path:
        return self.root / "homeassistant"

    @property
    def ssl(self) -> Path:
        return self.root / "ssl"

    @property
    def share(self) -> Path:
        return self.root / "share"

    @property
    def media(self) -> Path:
        return self.root / "media"

    @property
    def backup(self) -> Path:
        return self.root / "backup"

    @property
    def backup_indexes(self) -> Path:
        """What is in the files of backups, so that not all of one is read for a single file. It can be made anew."""
        return self.root / "backup_indexes"

    @property
    def core_backup(self) -> Path:
        """Backups on their way to or from a cloud, which Home Assistant Core alone sees."""
        return self.root / "core" / "backup"

    @property
    def tmp(self) -> Path:
        return self.root / "tmp"

    @property
    def restore(self) -> Path:
        """What is being restored, and what it takes the place of, until that is done."""
        return self.root / "restore"

    @property
    def apparmor(self) -> Path:
        return self.root / "apparmor"

    @property
    def audio(self) -> Path:
        return self.root / "audio"

    @property
    def mounts(self) -> Path:
        """Network storage, a folder each."""
        return self.root / "mounts"

    @property
    def mounts_credentials(self) -> Path:
        """The logins of network storage, for root alone."""
        return self.root / ".mounts_credentials"

    @property
    def emergency(self) -> Path:
        """What add-ons are given in place of network storage that is away."""
        return self.root / "emergency"

    @property
    def cid_files(self) -> Path:
        return self.root / "cid_files"

    def on_host(self, path: Path) -> Path:
        """Return `path` (below the root) as the Docker engine sees it.

        Raises:
            ValueError: the path does not lie below the data root.
        """
        return self.host_root / path.relative_to(self.root)

    def create(self) -> None:
        """Create every folder that is missing. Blocking."""
        for folder in (
            self.addons_core,
            self.addons_local,
            self.addons_git,
            self.addons_data,
            self.addons_snapshots,
            self.addon_configs,
            self.homeassistant,
            self.ssl,
            self.share,
            self.media,
            self.backup,
            self.core_backup,
            self.tmp,
            self.apparmor / "cache",
            self.audio / "external",
            self.cid_files,
        ):
            folder.mkdir(parents=True, exist_ok=True)
