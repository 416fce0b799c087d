"""The files of an add-on's folder in a store (add-on contract §1.1, §1.2, §1.9, §1.10). Everything here blocks."""

from __future__ import annotations

import logging
import re
from pathlib import Path
from typing import Any, Final

import voluptuous as vol

from supervisor.errors import Invalid
from supervisor.model.build import read_build
from supervisor.model.config_file import CONFIG_SUFFIXES, find_config_files, read_config_file
from supervisor.model.validators import describe, text

__all__ = ["find_manifests", "read_build", "read_config_file", "read_translations"]

_LOGGER = logging.getLogger(__name__)

LANGUAGE: Final = re.compile(r"[A-Za-z0-9_-]{1,35}")


def find_manifests(folder: Path) -> list[Path]:
    """Return every file below a repository that may be a manifest, in a stable order.

    Hidden folders, `rootfs` folders and whatever a symbolic link leads out of the repository to are skipped.

    Raises:
        OSError: the folder can't be walked; its `errno` tells a broken disk from a broken repository.
    """
    return list(find_config_files(folder, "config"))


def read_translations(folder: Path) -> dict[str, dict[str, Any]]:
    """Return the texts for user interfaces by language; a broken file is skipped with a warning."""
    translations: dict[str, dict[str, Any]] = {}
    try:
        files = sorted(file for file in (folder / "translations").iterdir() if _is_translation(file))
    except OSError:
        return translations
    root = folder.resolve()
    for file in files:
        try:
            translations[file.stem] = _read_translation(file, root)
        except (Invalid, OSError, RuntimeError) as err:
            _LOGGER.warning("%s: translation %s is skipped: %s", folder.name, file.name, err)
    return translations


def _configuration(value: Any) -> Any:
    """Check the texts of options, which hold those of nested options in turn."""
    return _CONFIGURATION(value)


_CONFIGURATION: Final = vol.Schema(
    {
        text: vol.Schema(
            {
                vol.Required("name"): text,
                vol.Optional("description"): vol.Any(None, text),
                vol.Optional("fields"): _configuration,
            },
            extra=vol.REMOVE_EXTRA,
        )
    }
)
_TRANSLATION: Final = vol.Schema(
    {vol.Optional("configuration"): _configuration, vol.Optional("network"): vol.Schema({text: text})},
    extra=vol.REMOVE_EXTRA,
)


def check_translation(raw: object) -> list[vol.Invalid]:
    """Return what is wrong with the content of a translation: errors with a path and a text each."""
    try:
        _TRANSLATION(raw)
    except vol.MultipleInvalid as err:
        return list(err.errors)
    except vol.Invalid as err:
        return [err]
    return []


def _is_translation(file: Path) -> bool:
    return file.suffix in CONFIG_SUFFIXES and LANGUAGE.fullmatch(file.stem) is not None


def _read_translation(file: Path, root: Path) -> dict[str, Any]:
    if not file.resolve().is_relative_to(root):
        raise Invalid("it leads out of the add-on's folder")
    raw = read_config_file(file)
    try:
        checked: dict[str, Any] = _TRANSLATION(raw)
    except vol.Invalid as err:
        raise Invalid(describe(raw, err)) from err
    return checked
