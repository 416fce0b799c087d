"""Backup repositories and schedules on the wire; ours, beyond the contract."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import attrs


@attrs.frozen(kw_only=True)
class Retention:
    last: int
    daily: int
    weekly: int
    monthly: int
    yearly: int


@attrs.frozen(kw_only=True)
class Verification:
    """`part` of `parts` equal shares of the data was read; 0 of 0 when only the structure was checked."""

    when: datetime
    good: bool
    reason: str
    part: int
    parts: int


@attrs.frozen(kw_only=True)
class BackupRepository:
    """`backups` is null while nobody has looked into it since the start; `problem` tells why the last look failed."""

    name: str
    place: str
    kind: str
    location: str
    created: datetime
    backups: int | None
    looked: datetime | None
    problem: str | None
    host_key: str | None
    retention: Retention
    verification: Verification | None


@attrs.frozen(kw_only=True)
class BackupRepositoryList:
    repositories: list[BackupRepository]


@attrs.frozen(kw_only=True)
class PublicKey:
    public_key: str


@attrs.frozen(kw_only=True)
class KeptPart:
    name: str
    size_bytes: int


@attrs.frozen(kw_only=True)
class KeptBackup:
    """A backup in a repository; `size_bytes` is what restoring it would write."""

    slug: str
    name: str
    date: datetime
    type: str
    size_bytes: int
    parts: list[KeptPart]


@attrs.frozen(kw_only=True)
class KeptBackupList:
    backups: list[KeptBackup]


@attrs.frozen(kw_only=True)
class KeptEntry:
    """`path` begins with the part's name; `kind` is file, folder, link or other."""

    path: str
    name: str
    kind: str
    size_bytes: int
    mode: int
    modified: datetime


@attrs.frozen(kw_only=True)
class KeptEntryList:
    entries: list[KeptEntry]


@attrs.frozen(kw_only=True)
class Pruned:
    """The slugs of the backups that were removed, where the caller waited for the end."""

    job_id: str | None = None
    removed: list[str] | None = None


@attrs.frozen(kw_only=True)
class Verified:
    job_id: str | None = None
    verification: Verification | None = None


@attrs.frozen(kw_only=True)
class Schedule:
    """`password` tells whether its archives are encrypted; the password itself is never shown."""

    id: str
    name: str
    enabled: bool
    cron: str
    time_zone: str
    contents: dict[str, Any]
    locations: list[str | None]
    compressed: bool
    password: bool
    retention: Retention
    next_due: datetime | None
    last_due: datetime | None
    last_ended: datetime | None
    last_slug: str | None
    last_error: str | None


@attrs.frozen(kw_only=True)
class ScheduleList:
    schedules: list[Schedule]


@attrs.frozen(kw_only=True)
class VerificationPlan:
    """What is checked by itself; `share` in percent."""

    enabled: bool
    cron: str
    time_zone: str
    share: int
    next_due: datetime | None
    last_due: datetime | None
    last_ended: datetime | None
    last_error: str | None


@attrs.frozen(kw_only=True)
class UpdateRetention:
    """`automatic` tells whether add-ons that are updated by themselves are saved first."""

    retention: Retention
    automatic: bool
