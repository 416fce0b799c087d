"""Installs and updates add-ons from archives of images, without a network."""

from __future__ import annotations

import asyncio
import difflib
import logging
from collections.abc import AsyncIterable, Iterable
from pathlib import Path

import attrs

from supervisor.const import LABEL_VERSION
from supervisor.drivers.docker.image_archive import ArchivedImage, ImageArchive, read_archive
from supervisor.drivers.docker.registry import platform_of, registry_of, repository_path, split_reference
from supervisor.drivers.spool import Spool, receive
from supervisor.errors import ADDON_ALREADY_INSTALLED, Conflict, Invalid, Unsupported
from supervisor.jobs import Job, JobManager
from supervisor.managers.host import Host
from supervisor.managers.resolution import ContextType, IssueType, Resolution
from supervisor.managers.store import StoreAddon, StoreManager
from supervisor.model.machine import match_arch

from .addon import Addon
from .images import AddonImages
from .installer import LOAD_CONDITIONS, AddonInstaller, ImageSource
from .registry import AddonRegistry
from .runner import AddonRunner

_LOGGER = logging.getLogger(__name__)

# What an upload leaves free on the disk.
RESERVE_BYTES = 512 * 1024 * 1024
_NAMED = 8


@attrs.frozen
class Upload:
    """An archive that is here, and what it holds."""

    spool: Spool
    archive: ImageArchive

    async def close(self) -> None:
        await self.spool.close()


@attrs.frozen
class Match:
    """Which image of an archive is which add-on's."""

    store: StoreAddon
    image: ArchivedImage


@attrs.define(eq=False)
class ImageLoader:
    """`folder` is where an archive is kept while it is used."""

    _jobs: JobManager
    _host: Host
    _store: StoreManager
    _registry: AddonRegistry
    _images: AddonImages
    _installer: AddonInstaller
    _runner: AddonRunner
    _resolution: Resolution
    _folder: Path

    async def receive(self, chunks: AsyncIterable[bytes], *, size: int | None) -> Upload:
        """Take an archive in; `size` is what the sender says about it. Whoever gets the upload closes it.

        Raises:
            Invalid: it is no archive of Docker images, or there is no room for it.
        """
        room = max(0, await self._host.free_bytes() - RESERVE_BYTES)
        if size is not None and size > room:
            raise Invalid(f"There is no room for the archive: it has {size} bytes, {room} can be used")
        spool = await receive(chunks, self._folder, room=room)
        try:
            left = max(0, await self._host.free_bytes() - RESERVE_BYTES)
            archive = await asyncio.to_thread(read_archive, spool.file, room=left + spool.size)
        except BaseException:
            await asyncio.shield(spool.close())
            raise
        return Upload(spool, archive)

    def match(self, archive: ImageArchive, slug: str | None) -> Match:
        """Find the add-on that an archive is for; `slug` names it where its image can't be told by its name.

        Raises:
            Invalid: no add-on of the store uses an image of the archive, several do, or the versions differ.
            NotFound: there is no such add-on; Unsupported: the image is for other machines.
            Conflict: the add-on is here already, in this version and with its image.
        """
        match = self._by_name(archive) if slug is None else self._by_slug(archive, slug)
        manifest = match.store.manifest
        self._installer.check_available(match.store)
        platform = platform_of(match_arch(manifest.arch, self._host.supported_arch) or self._host.arch)
        if not match.image.platform.startswith(platform):
            made_for = match.image.platform or "an unknown platform"
            raise Unsupported(f"The image of {match.store.slug} is made for {made_for}, this machine needs {platform}")
        return match

    async def missing(self, match: Match) -> Addon | None:
        """Return the installed add-on of this version whose image is not here; None when it must be changed.

        Raises:
            Conflict: this version is here, with its image.
        """
        addon = self._registry.installed.get(match.store.slug)
        if addon is None or addon.record.version != match.store.manifest.version:
            return None
        if await self._images.present(addon.record.image_reference):
            known = ADDON_ALREADY_INSTALLED(app=addon.name, slug=addon.slug)
            raise Conflict(f"{known} in version {addon.record.version}", key=known.key, fields=known.fields)
        return addon

    async def load(self, upload: Upload, match: Match) -> None:
        """Install or update the add-on, or give it back its image; the upload is closed at the end.

        Raises:
            SupervisorError: it could not be done; nothing of it stays behind.
        """

        async def source(store: StoreAddon, job: Job) -> None:
            if store.manifest.version != match.store.manifest.version:
                raise Invalid(f"The store has version {store.manifest.version} of {store.slug} meanwhile")
            await self._images.load(store, upload.spool.file, upload.archive, match.image, job)

        try:
            addon = await self.missing(match)
            if addon is not None:
                await self._give_back(addon, match.store, source)
            elif match.store.slug in self._registry.installed:
                await self._installer.update(match.store.slug, source=source)
            else:
                await self._installer.install(match.store.slug, source=source)
        finally:
            await asyncio.shield(upload.close())

    async def _give_back(self, addon: Addon, store: StoreAddon, source: ImageSource) -> None:
        async with self._jobs.run("app_manager_load", reference=addon.slug, conditions=LOAD_CONDITIONS) as job:
            job.validated()
            async with self._jobs.run("app_load", reference=addon.slug, lock=addon.lock):
                await source(store, job)
                await self._runner.attach(addon)
        self._resolution.dismiss_issue_of(IssueType.MISSING_IMAGE, ContextType.ADDON, addon.slug)
        _LOGGER.info("%s: has its image again", addon.slug, extra={"ADDON": addon.slug})

    def _by_slug(self, archive: ImageArchive, slug: str) -> Match:
        """Take the image with the add-on's name, or the only one there is."""
        store = self._store.get(slug)
        name, version = self._images.name(store), store.manifest.version
        named = [(image, tag) for image in archive.images for tag in image.tags if _same(tag, name)]
        exact = next((image for image, tag in named if split_reference(tag)[1] == version), None)
        if exact is not None:
            return Match(store, exact)
        if named:
            tags = ", ".join(tag for _, tag in named)
            raise Invalid(f"The versions differ: the archive has {tags}, the store has {slug} in version {version}")
        if len(archive.images) != 1:
            raise Invalid(f"The archive holds several images and none is called {name}:{version}: {_listed(archive)}")
        [image] = archive.images
        told = image.labels.get(LABEL_VERSION)
        if told is not None and told != version:
            raise Invalid(f"The versions differ: the archive has {told}, the store has {slug} in version {version}")
        return Match(store, image)

    def _by_name(self, archive: ImageArchive) -> Match:
        """Take the add-on whose image has a name of the archive."""
        stores = self._store.addons.items()
        offered = {slug: f"{self._images.name(store)}:{store.manifest.version}" for slug, store in stores}
        tags = [(image, tag) for image in archive.images for tag in image.tags]
        near: list[str] = []
        found: dict[str, Match] = {}
        for slug, reference in offered.items():
            name, version = split_reference(reference)
            for image, tag in tags:
                if not _same(tag, name):
                    continue
                if split_reference(tag)[1] == version:
                    found[slug] = Match(self._store.addons[slug], image)
                else:
                    near.append(f"the archive has {tag}, the store has {slug} in version {version}")
        if len(found) > 1:
            raise Invalid(f"Several add-ons use images of the archive, say which one you want: {', '.join(found)}")
        if found:
            return next(iter(found.values()))
        if near:
            raise Invalid(f"The versions differ: {'; '.join(near[:_NAMED])}")
        raise Invalid(_nobody(archive, offered.values()))


def _same(tag: str, name: str) -> bool:
    """Tell whether a tag is of the repository `name`, however Docker Hub is spelled."""
    repository, _ = split_reference(tag)
    return (registry_of(repository), repository_path(repository)) == (registry_of(name), repository_path(name))


def _listed(archive: ImageArchive) -> str:
    tags = archive.tags
    more = f" and {len(tags) - _NAMED} more" if len(tags) > _NAMED else ""
    return ", ".join(tags[:_NAMED]) + more if tags else "its images have no names"


def _last_part(reference: str) -> str:
    return split_reference(reference)[0].rpartition("/")[2]


def _nobody(archive: ImageArchive, offered: Iterable[str]) -> str:
    text = f"No add-on of the store uses an image of the archive ({_listed(archive)})"
    references = {_last_part(reference): reference for reference in offered}
    words = {_last_part(tag) for tag in archive.tags}
    close = {references[found] for word in words for found in difflib.get_close_matches(word, references, n=3)}
    if close:
        text += f"; what would match: {', '.join(sorted(close)[:_NAMED])}"
    return f"{text}. Say which add-on it is for if you know"
