"""Backups as the API shows them."""

from __future__ import annotations

from datetime import datetime

from supervisor.api.models import backups as wire
from supervisor.managers.backups.backup import LOCAL_ATTRIBUTE, Backup
from supervisor.managers.backups.metadata import Metadata
from supervisor.managers.backups.settings import BackupSettings, Verdict


def verification(verdict: Verdict) -> wire.Verification:
    return wire.Verification(
        checked=verdict.checked,
        good=verdict.good,
        problems=list(verdict.problems),
        files=verdict.files,
        size=verdict.size,
    )


def _date(metadata: Metadata) -> str:
    """Return the date of the file, but always one that can be read: another would spoil the whole list for clients."""
    try:
        datetime.fromisoformat(metadata.date)
    except ValueError:
        return metadata.moment.isoformat()
    return metadata.date


def _attributes(backup: Backup) -> dict[str, wire.LocationAttributes]:
    return {
        location or LOCAL_ATTRIBUTE: wire.LocationAttributes(
            protected=backup.copies[location].protected, size_bytes=backup.copies[location].size
        )
        for location in backup.locations
    }


def item(backup: Backup) -> wire.BackupItem:
    metadata = backup.metadata
    return wire.BackupItem(
        slug=backup.slug,
        name=metadata.name,
        date=_date(metadata),
        type=metadata.type.value,
        size=backup.size,
        size_bytes=backup.copy.size,
        location=backup.location,
        locations=list(backup.locations),
        protected=backup.copy.protected,
        location_attributes=_attributes(backup),
        compressed=metadata.compressed,
        content=wire.BackupContent(
            homeassistant=metadata.homeassistant is not None,
            addons=[addon.slug for addon in metadata.addons],
            folders=list(metadata.folders),
        ),
    )


def details(backup: Backup, settings: BackupSettings) -> wire.BackupDetails:
    metadata, core = backup.metadata, backup.metadata.homeassistant
    checks = {location: settings.check_of(backup.slug, location) for location in backup.locations}
    return wire.BackupDetails(
        slug=backup.slug,
        type=metadata.type.value,
        name=metadata.name,
        date=_date(metadata),
        size=backup.size,
        size_bytes=backup.copy.size,
        compressed=metadata.compressed,
        protected=backup.copy.protected,
        location_attributes=_attributes(backup),
        supervisor_version=metadata.supervisor_version,
        homeassistant=core.version if core is not None else None,
        location=backup.location,
        locations=list(backup.locations),
        addons=[
            wire.BackupAddon(
                slug=addon.slug, name=addon.name, version=addon.version, size=addon.size, imageless=addon.imageless
            )
            for addon in metadata.addons
        ],
        repositories=list(metadata.repositories),
        folders=list(metadata.folders),
        homeassistant_exclude_database=core.exclude_database if core is not None else None,
        extra=dict(metadata.extra),
        verification={
            location or LOCAL_ATTRIBUTE: verification(verdict)
            for location, verdict in checks.items()
            if verdict is not None
        },
    )
