"""Network storage on the wire (API contract §3.14)."""

from __future__ import annotations

import attrs
import msgspec


@attrs.frozen(kw_only=True)
class Mount:
    """`share` and `version` are those of CIFS, `path` is that of NFS; a login is never shown."""

    name: str
    type: str
    usage: str
    read_only: bool
    server: str
    port: int | msgspec.UnsetType = msgspec.UNSET
    share: str | msgspec.UnsetType = msgspec.UNSET
    version: str | msgspec.UnsetType | None = msgspec.UNSET
    path: str | msgspec.UnsetType = msgspec.UNSET
    state: str | None
    user_path: str | None


@attrs.frozen(kw_only=True)
class Mounts:
    default_backup_mount: str | None
    mounts: list[Mount]
