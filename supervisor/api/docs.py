"""The document of the API, and a page to read it that needs nothing from elsewhere."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from http import HTTPStatus
from typing import Any, Final

from aiohttp import web
from multidict import CIMultiDict
from swagger_ui_bundle import swagger_ui_path

from supervisor.api import answer
from supervisor.api.openapi import document
from supervisor.api.route import Access, Call, Raw, Route

_POLICY: Final = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}

_PAGE: Final = """\
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>Supervisor API</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<link rel="stylesheet" href="/docs/swagger-ui.css">
<link rel="icon" type="image/png" href="/docs/favicon-32x32.png">
</head>
<body>
<div id="page"><noscript>This page needs JavaScript; the document itself is at /openapi.json.</noscript></div>
<script src="/docs/swagger-ui-bundle.js"></script>
<script src="/docs/page.js"></script>
</body>
</html>
"""

# The bundled reader knows 3.0 alone and refuses any other number, but can show all of 3.1 that our document uses.
_SCRIPT: Final = """\
fetch("/openapi.json").then((response) => response.json()).then((spec) => {
  spec.openapi = "3.0.3";
  SwaggerUIBundle({ spec, dom_id: "#page", deepLinking: true, docExpansion: "none", validatorUrl: null });
});
"""

_FILES: Final = {
    "swagger-ui.css": "text/css",
    "swagger-ui-bundle.js": "text/javascript",
    "favicon-32x32.png": "image/png",
}


def with_documentation(routes: Sequence[Route]) -> tuple[Route, ...]:
    """Return `routes` and beside them those that describe them all, these included."""
    content: bytes | None = None

    async def describe(_call: Call) -> web.Response:
        nonlocal content
        if content is None:
            content = await asyncio.to_thread(lambda: answer.encode(document(complete)))
        return _response(content, answer.JSON_TYPE)

    complete = (
        *routes,
        Route(
            "GET",
            "/openapi.json",
            Access.OPEN,
            describe,
            "This document",
            returns=Raw("application/json"),
            tag="docs",
            ready=False,
        ),
        *(_page_route(path, _page, "A page to read this document", "text/html") for path in ("/docs", "/docs/")),
        _page_route("/docs/page.js", _script, "The script of that page", "text/javascript"),
        *(
            _page_route(f"/docs/{name}", _file, "A file of that page", media_type)
            for name, media_type in _FILES.items()
        ),
    )
    return complete


def _page_route(path: str, handler: Any, summary: str, media_type: str) -> Route:
    return Route("GET", path, Access.OPEN, handler, summary, returns=Raw(media_type), ready=False)


async def _page(_call: Call) -> web.Response:
    return _response(_PAGE.encode(), "text/html; charset=utf-8")


async def _script(_call: Call) -> web.Response:
    return _response(_SCRIPT.encode(), "text/javascript; charset=utf-8")


async def _file(call: Call) -> web.StreamResponse:
    name = call.request.path.rpartition("/")[2]
    headers = {**_POLICY, "Content-Type": _FILES[name], "Cache-Control": "max-age=86400"}
    return web.FileResponse(swagger_ui_path / name, headers=headers)


def _response(body: bytes, content_type: str) -> web.Response:
    headers = CIMultiDict({"Content-Type": content_type, **_POLICY})
    return web.Response(body=body, status=HTTPStatus.OK, headers=headers)
