"""Images of add-ons: loaded from archives, and the logs of those built here. Routes of ours alone."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Final

import attrs
from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from supervisor.api.background import run_job
from supervisor.api.body import BodyTooSlow
from supervisor.api.models import addons as wire
from supervisor.api.route import LOG_TEXT, Access, Call, Route, StreamedBody
from supervisor.errors import Invalid
from supervisor.jobs import JobManager
from supervisor.managers.addons.images import AddonImages
from supervisor.managers.addons.loader import ImageLoader, Match, Upload

IDLE_SECONDS: Final = 60.0
LOAD_QUERY: Final = {
    "slug": "The add-on that the archive is for; left out, the name of an image in it tells",
    "background": "Present: answer when the archive is found sound, with the job that goes on",
}


@attrs.frozen
class ImageRoutes:
    """Handlers of `/addons/load` and of the logs of builds."""

    _images: AddonImages
    _loader: ImageLoader
    _jobs: JobManager

    def routes(self) -> list[Route]:
        manager = Access.MANAGER
        return [
            Route(
                "POST",
                "/addons/load",
                manager,
                self._load,
                "Install or update an add-on from an archive of its image",
                StreamedBody("application/x-tar"),
                wire.LoadedAddon,
                query=LOAD_QUERY,
                description="The body is an archive as `docker save` writes it, plain or gzipped.",
            ),
            Route(
                "GET",
                "/addons/{addon}/logs/build",
                manager,
                self._build_log,
                "Read the log of the last build of an add-on's image",
                None,
                LOG_TEXT,
                query={"lines": "How many of the last lines; all when left out"},
            ),
        ]

    async def _load(self, call: Call) -> wire.LoadedAddon:
        upload = await self._loader.receive(_pieces(call.request), size=call.request.content_length)
        try:
            match = self._loader.match(upload.archive, call.query.get("slug"))
            await self._loader.missing(match)
        except BaseException:
            await asyncio.shield(upload.close())
            raise
        return await self._begin(upload, match, background="background" in call.query)

    async def _begin(self, upload: Upload, match: Match, *, background: bool) -> wire.LoadedAddon:
        started = await run_job(self._jobs, lambda: self._loader.load(upload, match), background=background)
        return wire.LoadedAddon(
            slug=match.store.slug,
            version=match.store.manifest.version,
            job_id=None if started is None else started.job_id,
        )

    async def _build_log(self, call: Call) -> web.Response:
        text = await self._images.build_log(call.path["addon"])
        wanted = call.query.get("lines")
        if wanted is not None:
            if not (wanted.isascii() and wanted.isdigit() and len(wanted) < 10 and int(wanted)):
                raise Invalid("lines must be a number")
            text = "".join(text.splitlines(keepends=True)[-int(wanted) :])
        return web.Response(text=text, content_type="text/plain")


async def _pieces(request: web.BaseRequest) -> AsyncIterator[bytes]:
    """Yield the body as it comes; a sender may take its time, but not fall silent."""
    try:
        while True:
            async with asyncio.timeout(IDLE_SECONDS):
                piece = await request.content.readany()
            if not piece:
                return
            yield piece
    except TimeoutError as err:
        raise BodyTooSlow from err
    except (web.RequestPayloadError, HttpProcessingError) as err:
        raise Invalid("The upload broke off") from err
