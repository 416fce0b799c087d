"""A repository: what is stored of it, where it comes from, what it says about itself (contract §2.1)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import attrs
import voluptuous as vol

from supervisor.const import REPOSITORY_CORE, REPOSITORY_LOCAL
from supervisor.model.repository import BUILTIN_INFO, RepositoryInfo, Source, parse_source, repository_slug
from supervisor.paths import DataPaths

UNKNOWN: Final = "unknown"


def _distinct(sources: list[str]) -> list[str]:
    return list(dict.fromkeys(sources))


# Sources are judged one by one when they are used: one that is refused today must not cost the user the others. The
# built-in ones are listed by the manager whether they are stored or not.
STORE_SCHEMA: Final = vol.Schema(
    {vol.Optional("repositories", default=list): vol.All([str], _distinct)},
    extra=vol.REMOVE_EXTRA,
)


@attrs.define(eq=False, kw_only=True)
class Repository:
    """A source of add-ons that is listed, whatever its state.

    `source` is what the user gave, without a password; `stored` is the text in the state file. `remote` is None where
    there is nothing to fetch from. `followed` is off for a repository that is fetched only when asked for by name.
    `valid` tells whether it described itself properly at the last look; the built-in ones count as valid always.
    """

    slug: str
    source: str
    stored: str = attrs.field(repr=False)
    folder: Path
    builtin: bool = False
    remote: Source | None = attrs.field(default=None, repr=False)
    followed: bool = True
    valid: bool = False
    info: RepositoryInfo | None = None

    @property
    def local(self) -> bool:
        return self.slug == REPOSITORY_LOCAL

    @property
    def baked_in(self) -> bool:
        """Whether the description is ours, so that none has to be read."""
        return self.slug in BUILTIN_INFO

    @property
    def name(self) -> str:
        return self.info.name if self.info is not None else UNKNOWN

    @property
    def url(self) -> str:
        return (self.info.url if self.info is not None else None) or self.source

    @property
    def maintainer(self) -> str:
        return (self.info.maintainer if self.info is not None else None) or UNKNOWN


def make_repository(text: str, paths: DataPaths, builtin: Mapping[str, str]) -> Repository:
    """Make the repository of a source text.

    Raises:
        Invalid: the text is none that the contract lets through; the error does not repeat it.
    """
    source = parse_source(text)
    slug = builtin.get(source.text) or repository_slug(source.text)
    folders = {REPOSITORY_CORE: paths.addons_core, REPOSITORY_LOCAL: paths.addons_local}
    known = source.text in builtin
    return Repository(
        slug=slug,
        source=source.public,
        stored=source.text,
        folder=folders.get(slug, paths.addons_git / slug),
        builtin=known,
        remote=None if source.is_local else source,
        valid=known,
        info=BUILTIN_INFO.get(slug),
    )


def refused_repository(text: str, paths: DataPaths) -> Repository:
    """Make a repository of a stored text that is refused today: it is listed, so that it can be seen and removed."""
    slug = repository_slug(text)
    return Repository(
        slug=slug, source=text.rpartition("@")[2], stored=text, folder=paths.addons_git / slug, followed=False
    )


def to_state(repositories: Mapping[str, Repository]) -> dict[str, Any]:
    return {"repositories": [repository.stored for repository in repositories.values()]}
