"""Checks a backup without restoring it: everything readable, decryptable, whole, and what its description tells."""

from __future__ import annotations

import json

from supervisor.drivers.archive.keys import Keyring
from supervisor.drivers.archive.reader import ArchiveReader, Inner
from supervisor.drivers.archive.rules import ForeignLinks, Rules
from supervisor.drivers.archive.unpack import Unpacked, check
from supervisor.drivers.archive.work import Work
from supervisor.errors import ArchiveRefused, BackupError, BackupInvalidError, WrongPassword

from .backup import Backup, Copy
from .contents import CORE, SUPERVISOR
from .metadata import Metadata, read_metadata
from .opening import NOT_OPENED, check_opens, is_wrong_password
from .settings import Verdict

_ADDON_KEYS = ("user", "system", "version", "state")


def verify(backup: Backup, copy: Copy, keyring: Keyring | None, work: Work) -> Verdict:
    """Read a copy to its end. Blocking.

    Raises:
        BackupInvalidError: the password is another one; nothing is said about the copy then.
        NotFound: the file has vanished.
    """
    problems: list[str] = []
    # The same without what only those may know who know the password.
    kept: list[str] = []
    files = size = 0
    try:
        with ArchiveReader(copy.path) as archive:
            metadata = read_metadata(archive.metadata())
            if not metadata.same_as(backup.metadata):
                problems.append("its description has changed since it was listed")
            check_opens(backup, archive, keyring)
            problems += _missing(metadata, archive)
            kept += problems
            for part in archive.inner.values():
                try:
                    found = _check(metadata, part, keyring, work)
                except WrongPassword:
                    problems.append(f"{part.name} {NOT_OPENED}")
                    kept.append(problems[-1])
                except BackupError as err:
                    problems.append(f"{part.name}: {err}")
                    kept.append(problems[-1] if keyring is None else f"{part.name}: {err.unnamed}")
                else:
                    files += found.files
                    size += found.size
    except BackupInvalidError as err:
        if is_wrong_password(err):
            raise
        problems.append(str(err))
        kept.append(str(err))
    return Verdict(not problems, tuple(kept), files, size, told=tuple(problems))


def expected(metadata: Metadata) -> dict[str, str]:
    """Return the inner archives that a description promises: their names, and what people call them."""
    promised = {metadata.member(addon.slug): f"add-on {addon.slug}" for addon in metadata.addons}
    promised |= {metadata.member(folder): f"folder {folder}" for folder in metadata.folders}
    if metadata.homeassistant is not None:
        promised[metadata.member(CORE)] = "Home Assistant"
    return promised


def _missing(metadata: Metadata, archive: ArchiveReader) -> list[str]:
    return [f"{what} is not in it" for name, what in expected(metadata).items() if name not in archive.inner]


def _check(metadata: Metadata, part: Inner, keyring: Keyring | None, work: Work) -> Unpacked:
    addons = {metadata.member(addon.slug): addon for addon in metadata.addons}
    wanted = {"addon.json"} if part.name in addons else set()
    if part.name == metadata.member(SUPERVISOR):
        wanted = {"mounts.json", "docker.json"}
    found = check(part, keyring, Rules(links=ForeignLinks.KEEP), work, keep=wanted)
    for name, content in found.kept.items():
        try:
            data = json.loads(content)
        except (ValueError, RecursionError):
            raise ArchiveRefused(f"{name} in it is no JSON") from None
        if part.name in addons and not (isinstance(data, dict) and all(key in data for key in _ADDON_KEYS)):
            raise ArchiveRefused(f"{name} in it does not describe an add-on")
    if part.name in addons and "addon.json" not in found.kept:
        raise ArchiveRefused("there is no addon.json in it")
    return found
