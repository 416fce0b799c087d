"""Images: pull, build, tag, remove, clean up, save and load (add-on contract §4.8, §4.10)."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import BinaryIO, TypeVar

from docker import APIClient

from supervisor.drivers.docker import archive as archives
from supervisor.drivers.docker import build as builder
from supervisor.drivers.docker import pull as puller
from supervisor.drivers.docker.image_archive import ArchivedImage, ImageArchive
from supervisor.drivers.docker.link import Link
from supervisor.drivers.docker.model import ImageInfo, image_info
from supervisor.drivers.docker.pull import PullProgress
from supervisor.drivers.docker.registry import RegistryCredentials, check_reference, platform_of, split_reference
from supervisor.errors import Internal, Invalid, NotFound, SupervisorError

_LOGGER = logging.getLogger(__name__)

T = TypeVar("T")


class Images:
    """The images of the engine behind `link`. A reference is `repository:tag` or an image id."""

    def __init__(self, link: Link) -> None:
        self._link = link

    async def inspect(self, ref: str) -> ImageInfo:
        """Raise NotFound when there is no such image."""
        check_reference(ref)
        return image_info(await self._link.call(f"Image {ref}", APIClient.inspect_image, ref))

    async def exists(self, ref: str) -> bool:
        try:
            await self.inspect(ref)
        except NotFound:
            return False
        return True

    async def tags(self, name: str) -> tuple[str, ...]:
        """Return the local tags of the repository `name`, without its name, in no order."""
        check_reference(name)
        found = await self._link.call(f"Images of {name}", APIClient.images, filters={"reference": name})
        references = (split_reference(tag) for entry in found for tag in entry.get("RepoTags") or ())
        return tuple(tag for repository, tag in references if repository == name)

    async def pull(
        self,
        image: str,
        tag: str,
        *,
        arch: str,
        credentials: RegistryCredentials | None = None,
        sizes: Mapping[str, int] | None = None,
        progress: Callable[[PullProgress], None] | None = None,
    ) -> ImageInfo:
        """Fetch `image:tag` for our architecture `arch`. No time limit; cancelling ends the pull.

        `sizes` are the layers' bytes by the first 12 hex of their digests, where known: then layers weigh by size.
        `progress` is called on the loop when the stage, the per cent or the bytes moved, last with 100 before this
        returns.

        Raises:
            NotFound: the registry has no such image or tag.
            SupervisorError: of the kinds DOCKER_NO_SPACE, DOCKER_REGISTRY_AUTH, and the three rate limits.
            Invalid: the registry wants a login and none was given.
            Unavailable: the registry, or the way to it, failed in a way that may pass.
            Internal: anything else it refused.
        """
        reference = check_reference(f"{image}:{tag}")
        platform = platform_of(arch)
        report = _on_loop(progress)
        await self._link.stream(
            f"Pulling {reference}",
            puller.pull,
            image,
            tag,
            platform=platform,
            credentials=credentials,
            sizes=sizes or {},
            report=report,
        )
        try:
            return await self.inspect(reference)
        except NotFound as err:
            raise Internal(f"{reference} was pulled, but the Docker engine does not know it") from err

    async def build(
        self,
        *,
        context: Path,
        dockerfile: str,
        tag: str,
        platform: str | None = None,
        build_args: Mapping[str, str] | None = None,
        labels: Mapping[str, str] | None = None,
        pull: bool = False,
        registries: Collection[RegistryCredentials] = (),
        log: Callable[[str], None] | None = None,
    ) -> ImageInfo:
        """Build the folder `context` (as we see it) into the image `tag`. No time limit; cancelling ends the build.

        `platform` is the engine's (`platform_of`), `pull` asks the registry for a newer base image, `registries` are
        the logins for base images, `log` is called on the loop with each line of output.

        Raises:
            Invalid: the folder or its Dockerfile is not there, or lies outside.
            Internal: the build failed; the message ends with the last lines of its output.
        """
        plan = builder.BuildPlan(
            context=context,
            dockerfile=dockerfile,
            tag=check_reference(tag),
            platform=platform,
            build_args=build_args or {},
            labels=labels or {},
            pull=pull,
            registries=registries,
        )
        await self._link.stream(f"Building {tag}", builder.build, plan, _on_loop(log))
        return await self.inspect(tag)

    async def tag(self, ref: str, new_ref: str) -> None:
        """Give the image `ref` one more name. Raises NotFound."""
        check_reference(ref)
        repository, tag = split_reference(check_reference(new_ref))
        await self._link.change(f"Tagging {ref}", APIClient.tag, ref, repository, tag, force=True)

    async def remove(self, ref: str) -> None:
        """Remove the name `ref`, and with its last name the image; absent is fine.

        Raises:
            Conflict: it is the last name, and a container, whoever's and running or not, was made from the image.
        """
        check_reference(ref)
        try:
            # Forced, the engine would take the name from under a container that runs.
            await self._link.change(f"Removing image {ref}", APIClient.remove_image, ref)
        except NotFound:
            return

    async def cleanup(self, *, keep: Collection[str], names: Collection[str]) -> list[str]:
        """Remove every local image of the repositories `names` but those that `keep` refers to and those in use.

        An image that also has a name elsewhere just loses its names of `names`. What can't be removed stays.

        Returns:
            The ids of the images that are gone.

        Raises:
            NotFound: none of `keep` is here, so that nothing would be left.
        """
        for reference in (*keep, *names):
            check_reference(reference)
        kept = {found.id for reference in keep if (found := await self._find(reference)) is not None}
        if keep and not kept:
            raise NotFound(f"None of the images to keep is here: {', '.join(sorted(keep))}")
        containers = await self._link.call("Listing containers", APIClient.containers, all=True)
        kept |= {str(entry.get("ImageID")) for entry in containers}
        # Not filtered by the engine: its filter hides an image's names elsewhere.
        images = await self._link.call("Listing images", APIClient.images)
        removed = []
        for entry in images:
            identity, tags = str(entry["Id"]), [str(tag) for tag in entry.get("RepoTags") or ()]
            doomed = [tag for tag in tags if split_reference(tag)[0] in names]
            if identity not in kept and doomed and await self._drop(identity, tags, doomed):
                removed.append(identity)
        return removed

    async def save(self, ref: str, path: Path) -> None:
        """Write the image as a tar archive; on failure no file is left. Raises NotFound, DOCKER_NO_SPACE."""
        check_reference(ref)
        await self._link.stream(f"Saving {ref}", archives.save, ref, path)

    async def load(self, path: Path) -> ImageInfo:
        """Read a tar archive of exactly one image.

        Raises:
            Invalid: it is no such archive, or holds none or several images.
        """
        return await self.inspect(await self._link.stream(f"Loading {path.name}", archives.load, path))

    async def load_single(
        self,
        file: BinaryIO,
        archive: ImageArchive,
        image: ArchivedImage,
        ref: str,
        *,
        progress: Callable[[float], None] | None = None,
    ) -> ImageInfo:
        """Load just one image of an archive that was read before, and call it `ref`.

        `progress` is called on the loop with per cent.

        Raises:
            Invalid: the engine refuses it; SupervisorError: of kind DOCKER_NO_SPACE.
        """
        check_reference(ref)
        report = _on_loop(progress)
        await self._link.stream(f"Loading {ref}", archives.load_single, file, archive, image, ref, report)
        try:
            return await self.inspect(ref)
        except NotFound as err:
            raise Invalid(f"{ref} was loaded, but the Docker engine does not know it") from err

    async def _find(self, ref: str) -> ImageInfo | None:
        try:
            return await self.inspect(ref)
        except NotFound:
            return None

    async def _drop(self, identity: str, tags: Collection[str], doomed: Collection[str]) -> bool:
        """Remove the image, or only its `doomed` names when it has others; tell whether it is gone."""
        whole = len(doomed) == len(tags)
        try:
            for reference in doomed:
                await self.remove(reference)
        except SupervisorError as err:
            _LOGGER.debug("Image %s stays: %s", identity, err)
            return False
        return whole


def _on_loop(function: Callable[[T], None] | None) -> Callable[[T], None] | None:
    """Make `function` callable from a thread; it runs on this loop, in order, before the thread's call ends."""
    if function is None:
        return None
    loop = asyncio.get_running_loop()

    def hand_over(item: T) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is gone
            loop.call_soon_threadsafe(function, item)

    return hand_over
