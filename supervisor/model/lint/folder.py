"""A repository or a single add-on, as its author has it on disk (add-on contract §1.1, §1.2, §2.1)."""

from __future__ import annotations

from pathlib import Path

from supervisor.errors import Invalid
from supervisor.model.config_file import CONFIG_SUFFIXES, find_config_files
from supervisor.model.manifest import Manifest
from supervisor.model.repository import read_repository_info

from .document import Document, error_place
from .files import Surroundings
from .finding import Findings, Notes, Report
from .manifest import check_manifest
from .rights import check_rights


def check_folder(folder: Path) -> Report:
    """Check a folder as the store would read it. Blocking.

    A folder with a manifest of its own and no repository file is a single add-on; any other is a repository.

    Raises:
        Invalid: there is nothing to check.
    """
    if not folder.is_dir():
        raise Invalid(f"{folder} is not a folder")
    try:
        files = list(find_config_files(folder, "config"))
    except (OSError, RecursionError) as err:
        raise Invalid(f"{folder} can't be walked: {getattr(err, 'strerror', None) or 'too deeply nested'}") from err
    described = any((folder / f"repository{suffix}").is_file() for suffix in CONFIG_SUFFIXES)
    if not files and not described:
        raise Invalid(f"{folder} holds neither a config.yaml nor a repository.yaml: nothing to check")
    findings = Findings(folder)
    single = not described and any(file.parent == folder for file in files)
    if not single:
        _describes_itself(findings, folder)
    return _check_addons(findings, folder, files)


def _check_addons(findings: Findings, root: Path, files: list[Path]) -> Report:
    homes = {file.parent for file in files}
    seen: dict[str, Path] = {}
    count = 0
    for file in files:
        document = _read(findings, file)
        if document is None:
            continue
        if not homes.isdisjoint(file.parent.parents) and _is_something_else(document):
            text = (
                "the store takes every config file outside rootfs and hidden folders for a manifest, and this is "
                "none: rename or move it"
            )
            findings.advice("no-manifest", text, file)
            continue
        count += 1
        notes = Notes(findings, document)
        manifest = check_manifest(notes)
        if manifest is None:
            continue
        _unique(notes, manifest, seen, root)
        surroundings = Surroundings(file.parent, root, manifest, findings)
        surroundings.check()
        check_rights(notes, manifest, has_profile=surroundings.has_profile)
    return Report(findings.sorted(), count)


def _read(findings: Findings, file: Path) -> Document | None:
    try:
        return Document.read(file)
    except Invalid as err:
        findings.error("syntax", err.message, file, *error_place(err))
        return None


def _is_something_else(document: Document) -> bool:
    return not isinstance(document.value, dict) or "slug" not in document.value


def _unique(notes: Notes, manifest: Manifest, seen: dict[str, Path], root: Path) -> None:
    file = notes.document.file
    other = seen.setdefault(manifest.slug, file)
    if other != file:
        text = f"{manifest.slug!r} is the slug of {other.relative_to(root)} too, and only one of the two is offered"
        notes.error("duplicate-slug", ("slug",), text)


def _describes_itself(findings: Findings, folder: Path) -> None:
    try:
        read_repository_info(folder)
    except Invalid as err:
        file = next((file for suffix in CONFIG_SUFFIXES if (file := folder / f"repository{suffix}").exists()), folder)
        findings.error("repository", err.message, file, *error_place(err))
