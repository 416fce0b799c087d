"""How an add-on without a published image is built here: the legacy `build.yaml` (add-on contract §1.10)."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import attrs
import voluptuous as vol

from supervisor.errors import Invalid
from supervisor.model.config_file import find_config_files, read_config_file
from supervisor.model.validators import boolean, describe, text

_LOGGER = logging.getLogger(__name__)

DEFAULT_BUILD_FROM: Final = "ghcr.io/home-assistant/base:latest"

_IMAGE_REFERENCE = re.compile(r"[A-Za-z0-9{][A-Za-z0-9._/:@{}-]{0,511}")


@attrs.frozen
class BuildConfig:
    """Build inputs. `build_from` is one base image, one for each architecture, or none: the Dockerfile has its own."""

    build_from: str | Mapping[str, str] | None = None
    args: Mapping[str, str] = attrs.field(factory=dict)
    labels: Mapping[str, str] = attrs.field(factory=dict)
    squash: bool = False

    @classmethod
    def from_config(cls, raw: object) -> BuildConfig:
        """Check the content of a build file; `{}` asks for the default base image.

        Raises:
            Invalid: one line for each problem.
        """
        try:
            checked: dict[str, Any] = _BUILD(raw)
        except vol.Invalid as err:
            raise Invalid(describe(raw, err)) from err
        return cls(**checked)

    def supports(self, arch: str) -> bool:
        return not isinstance(self.build_from, Mapping) or arch in self.build_from

    def base_image(self, arch: str) -> str | None:
        """Return the value of the build argument `BUILD_FROM`; none: don't send it, or see `supports`."""
        if isinstance(self.build_from, Mapping):
            return self.build_from.get(arch)
        return self.build_from


def _image_reference(value: Any) -> str:
    if not isinstance(value, str) or not _IMAGE_REFERENCE.fullmatch(value):
        raise vol.MatchInvalid("expected an image reference")
    return value


def _argument(value: Any) -> str:
    # Unquoted versions are numbers to YAML.
    if isinstance(value, int | float) and not isinstance(value, bool):
        return str(value)
    return text(value)


_BUILD: Final = vol.Schema(
    {
        vol.Optional("build_from", default=DEFAULT_BUILD_FROM): vol.Any(
            _image_reference,
            vol.Schema({text: _image_reference}),
            msg="expected one image reference, or one for each arch",
        ),
        vol.Optional("args", default=dict): vol.Schema({text: _argument}),
        vol.Optional("labels", default=dict): vol.Schema({text: _argument}),
        vol.Optional("squash", default=False): boolean,
    },
    extra=vol.REMOVE_EXTRA,
)


def read_build(folder: Path) -> BuildConfig:
    """Return an add-on's build inputs: those of its build file, the defaults when that is broken, none without one.

    Blocking.
    """
    try:
        file = next(find_config_files(folder, "build"), None)
        return BuildConfig() if file is None else BuildConfig.from_config(read_config_file(file))
    except (Invalid, OSError) as err:
        _LOGGER.warning("%s: its build file is broken, defaults are used: %s", folder.name, err)
        return BuildConfig(build_from=DEFAULT_BUILD_FROM)
