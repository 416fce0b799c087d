"""Sources of add-ons: what may be one, which slug it gets, what it says about itself (add-on contract §2.1)."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import Any, Final
from urllib.parse import SplitResult, urlsplit, urlunsplit

import attrs
import voluptuous as vol

from supervisor.const import BUILTIN_REPOSITORIES, CORE_REPOSITORY_URL, REPOSITORY_CORE, REPOSITORY_LOCAL
from supervisor.errors import Invalid
from supervisor.model.config_file import CONFIG_SUFFIXES, read_config_file
from supervisor.model.validators import describe, text, url

MAX_SOURCE_LENGTH: Final = 2048
SCHEMES: Final = frozenset({"https", "http", "ssh", "file"})

_BRANCH = re.compile(r"[A-Za-z0-9_./-]{1,255}")


@attrs.frozen
class Source:
    """Where a repository comes from.

    `text` is the source as stored, from which the slug follows; `url` and `branch` are git's. The local repository has
    no URL. `text` and `url` may hold a password: show and log `public` only.
    """

    text: str = attrs.field(repr=False)
    url: str = attrs.field(repr=False)
    branch: str | None = None

    @property
    def slug(self) -> str:
        return repository_slug(self.text)

    @property
    def is_local(self) -> bool:
        return self.text == REPOSITORY_LOCAL

    @property
    def is_builtin(self) -> bool:
        return self.text in BUILTIN_REPOSITORIES

    @property
    def public(self) -> str:
        """The source without user name and password."""
        if not self.url or self.text == REPOSITORY_CORE:
            return self.text
        parts = urlsplit(self.url)
        bare = urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
        return bare if self.branch is None else f"{bare}#{self.branch}"

    def __str__(self) -> str:
        """Return the public form, so that no log line can hold a password."""
        return self.public


@attrs.frozen
class RepositoryInfo:
    """What a repository's own file says; its reader falls back to the source and to `unknown`."""

    name: str
    url: str | None = None
    maintainer: str | None = None


BUILTIN_INFO: Final = {
    REPOSITORY_CORE: RepositoryInfo("Official add-ons", "https://home-assistant.io/addons", "Home Assistant"),
    REPOSITORY_LOCAL: RepositoryInfo("Local add-ons", "https://home-assistant.io/hassio", "you"),
}


def repository_slug(source: str) -> str:
    """Return the slug of a source string, its branch being part of it. Case doesn't matter, anything else does."""
    if source.lower() == CORE_REPOSITORY_URL:
        return REPOSITORY_CORE
    known = BUILTIN_REPOSITORIES.get(source.lower())
    # What was stored may be any text that JSON can write.
    content = source.lower().encode("utf-8", "surrogatepass")
    return known or hashlib.sha1(content, usedforsecurity=False).hexdigest()[:8]


def parse_source(source: str) -> Source:
    """Check what a user gives as a repository: `core`, `local`, `<url>` or `<url>#<branch>`.

    Only transports that fetch from a host or an absolute path are accepted, nothing that git could take for an option
    or for a command.

    Raises:
        Invalid: it is none of these. The text doesn't repeat the source, which may hold a password.
    """
    if source in (REPOSITORY_CORE, CORE_REPOSITORY_URL):
        return Source(REPOSITORY_CORE, CORE_REPOSITORY_URL)
    if source == REPOSITORY_LOCAL:
        return Source(REPOSITORY_LOCAL, "")
    if len(source) > MAX_SOURCE_LENGTH or not source.isprintable() or " " in source or "\\" in source:
        raise Invalid("A repository's source holds no blanks, backslashes or control characters")
    address, hash_sign, branch = source.partition("#")
    if hash_sign and not _is_branch(branch):
        raise Invalid("A repository's branch holds letters, digits and _ . / - only, and follows git's rules")
    _check_address(address)
    return Source(source, address, branch or None)


def source(value: Any) -> str:
    """Accept a source string; a building block for schemas. Returns it in the form to store."""
    try:
        return parse_source(text(value)).text
    except Invalid as err:
        raise vol.Invalid(err.message) from err


def read_repository_info(folder: Path) -> RepositoryInfo:
    """Read `repository.yaml`, `.yml` or `.json` at a repository's root. Blocking.

    Raises:
        Invalid: none is there or it is not valid, so this is no repository of add-ons.
    """
    file = next((file for suffix in CONFIG_SUFFIXES if (file := folder / f"repository{suffix}").is_file()), None)
    if file is None:
        raise Invalid("No repository.yaml at its root: this is not a repository of add-ons")
    if not file.resolve().is_relative_to(folder.resolve()):
        raise Invalid(f"{file.name} leads out of the repository")
    raw = read_config_file(file)
    try:
        checked = _INFO(raw)
    except vol.Invalid as err:
        raise Invalid(f"{file.name}: {describe(raw, err)}") from err
    return RepositoryInfo(**checked)


_INFO: Final = vol.Schema(
    {vol.Required("name"): text, vol.Optional("url"): url, vol.Optional("maintainer"): text}, extra=vol.REMOVE_EXTRA
)


def _is_branch(name: str) -> bool:
    parts = name.split("/")
    return (
        _BRANCH.fullmatch(name) is not None
        and not name.startswith("-")
        and not name.endswith(".")
        and ".." not in name
        and all(part and not part.startswith(".") and not part.endswith(".lock") for part in parts)
    )


def _check_address(address: str) -> None:
    try:
        parts = urlsplit(address)
        _check_parts(parts)
    except ValueError as err:
        raise Invalid("A repository's source is a URL with a scheme and a host") from err


def _check_parts(parts: SplitResult) -> None:
    if parts.scheme not in SCHEMES:
        raise Invalid(f"A repository's source begins with one of {', '.join(sorted(SCHEMES))} and ://")
    if parts.scheme == "file":
        if parts.netloc not in ("", "localhost") or not parts.path.startswith("/") or parts.path.startswith("//"):
            raise Invalid("A repository on this machine is given as file:// and an absolute path")
        return
    if not parts.hostname:
        raise Invalid("A repository's source is a URL with a scheme and a host")
    if parts.hostname.startswith("-") or parts.netloc.startswith("-") or (parts.port == 0):
        raise Invalid("A repository's source names no proper host")
