"""The files beside a manifest: pictures, texts, translations, build inputs, AppArmor profile (add-on contract §1)."""

from __future__ import annotations

import re
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import attrs

from supervisor.const import MIB
from supervisor.errors import Invalid
from supervisor.model.apparmor import MAX_PROFILE_BYTES, PROFILE_FILE, adjusted_profile
from supervisor.model.assets import MAX_ASSET_BYTES, AssetKind
from supervisor.model.build import BuildConfig
from supervisor.model.config_file import CONFIG_SUFFIXES
from supervisor.model.manifest import Manifest
from supervisor.model.manifest_files import LANGUAGE, check_translation
from supervisor.model.platforms import DEAD_ARCHES

from .document import Document, error_place
from .finding import Findings, Notes
from .manifest import suggestion

_PROFILE: Final = re.compile(rb"^profile\s", re.MULTILINE)
_PNG: Final = b"\x89PNG\r\n\x1a\n"
_HEADER: Final = struct.Struct(">8s4x4sII")
_LARGEST_SIDE: Final = 1024


@attrs.frozen
class Surroundings:
    """The folder of an add-on; links may lead to anywhere below `root`, never out of it."""

    folder: Path
    root: Path
    manifest: Manifest
    findings: Findings

    def check(self) -> None:
        for part in (self._pictures, self._texts, self._translations, self._apparmor, self._dockerfiles, self._build):
            try:
                part()
            except OSError as err:
                self.findings.error("file", f"can't be read: {err.strerror}", Path(err.filename or self.folder))

    @property
    def has_profile(self) -> bool:
        return self._regular(self.folder / PROFILE_FILE)

    def _regular(self, file: Path) -> bool:
        """Tell whether a file is there that the store would read; one that leads out of the repository is noted."""
        if not file.is_symlink():
            return file.is_file()
        try:
            inside = file.resolve(strict=True).is_relative_to(self.root.resolve())
        except (OSError, RuntimeError):
            inside = False
        if not inside:
            self.findings.error("link", "leads nowhere or out of the repository and is not read", file)
        return inside and file.is_file()

    def _pictures(self) -> None:
        for kind in (AssetKind.ICON, AssetKind.LOGO):
            file = self.folder / kind.value
            if not self._regular(file):
                continue
            size = file.stat().st_size
            with file.open("rb") as picture:
                head = picture.read(_HEADER.size)
            if len(head) < _HEADER.size or head[:8] != _PNG or head[12:16] != b"IHDR":
                self.findings.error("picture", "is not a PNG picture, whatever its name says", file)
                continue
            _, _, width, height = _HEADER.unpack(head)
            if size > MAX_ASSET_BYTES:
                self.findings.error("picture", f"is larger than {MAX_ASSET_BYTES // MIB} MiB and is not shown", file)
            if kind is AssetKind.ICON and width != height:
                self.findings.advice("picture", f"an icon is square, 128x128 is usual; this is {width}x{height}", file)
            if max(width, height) > _LARGEST_SIDE:
                self.findings.advice("picture", f"{width}x{height} is more than any page shows", file)

    def _texts(self) -> None:
        for kind in (AssetKind.LONG_DESCRIPTION, AssetKind.DOCUMENTATION, AssetKind.CHANGELOG):
            file = self.folder / kind.value
            if not self._regular(file):
                continue
            if file.stat().st_size > MAX_ASSET_BYTES:
                self.findings.error("text", f"is larger than {MAX_ASSET_BYTES // MIB} MiB and is not shown", file)
                continue
            try:
                file.read_bytes().decode()
            except UnicodeDecodeError as err:
                line = file.read_bytes()[: err.start].count(b"\n") + 1
                self.findings.advice("text", "is not UTF-8: readers will see replacement characters", file, line)

    def _translations(self) -> None:
        folder = self.folder / "translations"
        files = sorted(folder.iterdir()) if folder.is_dir() else []
        for file in files:
            if file.suffix not in CONFIG_SUFFIXES or not LANGUAGE.fullmatch(file.stem):
                text = "is no translation: their names are a language and .yaml, .yml or .json"
                self.findings.advice("translation", text, file)
            elif self._regular(file) and (document := self._document(file, "translation")) is not None:
                self._translation(Notes(self.findings, document))

    def _translation(self, notes: Notes) -> None:
        problems = check_translation(notes.document.value)
        for problem in problems:
            notes.error("translation", [str(step) for step in problem.path], problem.error_message)
        if problems or not isinstance(notes.document.value, dict):
            return
        for key in notes.document.value:
            if key not in ("configuration", "network"):
                more = suggestion(str(key), ("configuration", "network"))
                notes.advice("translation", (key,), f"is unknown here and is ignored{more}")
        self._option_texts(
            notes, notes.document.value.get("configuration"), self.manifest.schema or {}, ("configuration",)
        )
        ports = self.manifest.ports or {}
        for port in notes.document.value.get("network") or {}:
            if port not in ports:
                notes.advice("translation", ("network", port), "names no port of the manifest")

    def _option_texts(self, notes: Notes, texts: Any, schema: Mapping[str, Any], path: tuple[str, ...]) -> None:
        for option, words in texts.items() if isinstance(texts, dict) else ():
            here = (*path, str(option))
            element = schema.get(str(option))
            if element is None:
                notes.advice("translation", here, f"names no option{suggestion(str(option), schema.keys())}")
                continue
            if isinstance(element, list) and element:
                element = element[0]
            nested = words.get("fields") if isinstance(words, dict) else None
            self._option_texts(notes, nested, element if isinstance(element, dict) else {}, (*here, "fields"))

    def _apparmor(self) -> None:
        file = self.folder / PROFILE_FILE
        if not self._regular(file):
            return
        with file.open("rb") as profile:
            content = profile.read(MAX_PROFILE_BYTES + 1)
        try:
            adjusted_profile(content, self.manifest.slug)
        except Invalid as err:
            self.findings.error("apparmor", err.message, file, _second_profile(content))
        if not self.manifest.apparmor:
            self.findings.advice("apparmor", "has no effect: the manifest says apparmor: false", file)

    def _dockerfiles(self) -> None:
        if not self.manifest.needs_build or self._regular(self.folder / "Dockerfile"):
            return
        arches = [arch for arch in self.manifest.arch if arch not in DEAD_ARCHES]
        missing = [arch for arch in arches if not self._regular(self.folder / f"Dockerfile.{arch}")]
        if missing:
            names = " and no ".join(["Dockerfile", *(f"Dockerfile.{arch}" for arch in missing)])
            text = f"the manifest names no image, and there is no {names} to build one from"
            self.findings.error("dockerfile", text, self.folder)

    def _build(self) -> None:
        for suffix in CONFIG_SUFFIXES:
            file = self.folder / f"build{suffix}"
            if not self._regular(file) or (document := self._document(file, "build")) is None:
                continue
            try:
                build = BuildConfig.from_config(document.value)
            except Invalid as err:
                self.findings.error("build", err.message, file)
                continue
            notes = Notes(self.findings, document)
            if build.squash:
                notes.advice("build", ("squash",), "has no effect any more")
            for arch in self.manifest.arch if self.manifest.needs_build else ():
                if arch not in DEAD_ARCHES and not build.supports(arch):
                    notes.error("build", ("build_from",), f"has no base image for {arch}, which the manifest lists")

    def _document(self, file: Path, rule: str) -> Document | None:
        try:
            return Document.read(file)
        except Invalid as err:
            self.findings.error(rule, err.message, file, *error_place(err))
            return None


def _second_profile(content: bytes) -> int | None:
    headers = list(_PROFILE.finditer(content))
    return content[: headers[1].start()].count(b"\n") + 1 if len(headers) > 1 else None
