"""Backups on the wire (API contract §2.5)."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import attrs


@attrs.frozen(kw_only=True)
class LocationAttributes:
    protected: bool
    size_bytes: int


@attrs.frozen(kw_only=True)
class BackupContent:
    homeassistant: bool
    addons: list[str]
    folders: list[str]


@attrs.frozen(kw_only=True)
class BackupItem:
    """`size` is in MiB. In `location_attributes` the local folder is called `.local`."""

    slug: str
    name: str
    date: str
    type: str
    size: float
    size_bytes: int
    location: str | None
    locations: list[str | None]
    protected: bool
    location_attributes: dict[str, LocationAttributes]
    compressed: bool
    content: BackupContent


@attrs.frozen(kw_only=True)
class BackupList:
    backups: list[BackupItem]


@attrs.frozen(kw_only=True)
class BackupsInfo:
    backups: list[BackupItem]
    days_until_stale: int


@attrs.frozen(kw_only=True)
class BackupAddon:
    slug: str
    name: str
    version: str
    size: float
    imageless: bool


@attrs.frozen(kw_only=True)
class Verification:
    """What the last check found; `size` is in bytes."""

    checked: datetime
    good: bool
    problems: list[str]
    files: int
    size: int


@attrs.frozen(kw_only=True)
class CheckedBackup:
    """A `Verification`, all of whose values are null while the check goes on in the background."""

    job_id: str
    checked: datetime | None = None
    good: bool | None = None
    problems: list[str] | None = None
    files: int | None = None
    size: int | None = None


@attrs.frozen(kw_only=True)
class BackupDetails:
    """`homeassistant` is the version of Core inside. `verification` is ours, by location as in the attributes."""

    slug: str
    type: str
    name: str
    date: str
    size: float
    size_bytes: int
    compressed: bool
    protected: bool
    location_attributes: dict[str, LocationAttributes]
    supervisor_version: str
    homeassistant: str | None
    location: str | None
    locations: list[str | None]
    addons: list[BackupAddon]
    repositories: list[str]
    folders: list[str]
    homeassistant_exclude_database: bool | None
    extra: dict[str, Any]
    verification: dict[str, Verification]


@attrs.frozen(kw_only=True)
class CreatedBackup:
    """`slug` is null while the backup is still being made in the background."""

    job_id: str
    slug: str | None = None


@attrs.frozen(kw_only=True)
class UploadedBackup:
    slug: str


@attrs.frozen(kw_only=True)
class RestoreJob:
    job_id: str


@attrs.frozen(kw_only=True)
class PreviewItem:
    """`size` is in bytes, before compression."""

    name: str
    files: int
    size: int


@attrs.frozen(kw_only=True)
class Preview:
    items: list[PreviewItem]
    files: int
    size: int


@attrs.frozen(kw_only=True)
class Excludes:
    """Patterns that are left out of an add-on's backups, by its slug."""

    excludes: dict[str, list[str]]
