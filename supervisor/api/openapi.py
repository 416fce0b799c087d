"""Makes the OpenAPI 3.1 document of a table of routes."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Final

import msgspec
import voluptuous as vol
from voluptuous_openapi import OpenApiVersion, convert  # type: ignore[import-untyped]  # the package ships no types

from supervisor import __version__
from supervisor.api import answer
from supervisor.api.body_schema import serialize
from supervisor.api.route import Access, ErrorForm, Raw, RawBody, Route, StreamedBody

_REFERENCE: Final = "#/components/schemas/{name}"
_ENVELOPE_ERROR: Final = {"$ref": _REFERENCE.format(name="Error")}
_SECURED: Final[list[dict[str, list[str]]]] = [{"bearer": []}, {"supervisorToken": []}]

_DESCRIPTION: Final = """\
Every answer but files, logs and pictures comes in an envelope: `{"result": "ok", "data": {…}}`, or
`{"result": "error", "message": "…"}` with the status of the failure. `x-access` says who may call a route besides Core,
the command-line plugin and this machine's administrators; with `x-own` every add-on may call it for itself (`self`)."""

_ERROR_SCHEMA: Final = {
    "type": "object",
    "required": ["result", "message"],
    "properties": {
        "result": {"const": "error"},
        "message": {"type": "string", "description": "For people; its wording may change"},
        "error_key": {"type": "string", "description": "Stable name of a catalogued error"},
        "extra_fields": {"type": "object", "additionalProperties": True},
        "job_id": {"type": "string", "pattern": "^[0-9a-f]{32}$", "description": "The background job that failed"},
    },
}


def document(routes: Sequence[Route]) -> dict[str, Any]:
    """Return the document as plain data. Takes tens of milliseconds for a large table."""
    described = [route.returns for route in routes if route.returns is not None and not isinstance(route.returns, Raw)]
    answers, components = msgspec.json.schema_components(described, schema_hook=_describe_type, ref_template=_REFERENCE)
    following = iter(answers)
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        data = None if route.returns is None or isinstance(route.returns, Raw) else next(following)
        paths.setdefault(route.path.replace("...}", "}"), {})[route.method.lower()] = _operation(route, data)
    whole = {
        "openapi": "3.1.0",
        "info": {"title": "Supervisor API", "version": __version__, "description": _DESCRIPTION},
        "tags": [{"name": tag} for tag in sorted({route.tag for route in routes})],
        "paths": paths,
        "components": {
            "schemas": {**components, "Error": _ERROR_SCHEMA},
            "responses": _failures(),
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer", "description": "The caller's SUPERVISOR_TOKEN"},
                "supervisorToken": {"type": "apiKey", "in": "header", "name": "X-Supervisor-Token"},
            },
        },
    }
    # Defaults of models may be tuples, enums and the like; as JSON they are what a reader sees.
    plain: dict[str, Any] = msgspec.json.decode(answer.encode(whole))
    return plain


def _describe_type(_kind: type[Any]) -> dict[str, Any]:
    """Describe a type that msgspec doesn't know: versions, paths and addresses all travel as text."""
    return {"type": "string"}


def _operation(route: Route, data: dict[str, Any] | None) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "operationId": _operation_id(route),
        "tags": [route.tag],
        "summary": route.summary,
        "x-access": route.access.value,
        "x-own": route.own,
        "security": [] if route.access is Access.OPEN else _SECURED,
        "responses": {"200": _success(route, data), **_failures_of(route)},
    }
    if route.description:
        operation["description"] = route.description
    if parameters := [*_path_parameters(route), *_query_parameters(route)]:
        operation["parameters"] = parameters
    if route.body is not None and route.method != "GET":
        operation["requestBody"] = _request_body(route.body)
    return operation


def _operation_id(route: Route) -> str:
    name = re.sub(r"[^a-z0-9]+", "_", route.path.lower()).strip("_") or "root"
    return f"{route.method.lower()}_{name}{'_index' if route.path.endswith('/') else ''}"


def _path_parameters(route: Route) -> list[dict[str, Any]]:
    return [
        {
            "name": name,
            "in": "path",
            "required": True,
            "schema": {"type": "string"},
            **({"description": "May hold further slashes"} if rest else {}),
        }
        for name, rest in re.findall(r"\{([^{}.]+)(\.\.\.)?\}", route.path)
    ]


def _query_parameters(route: Route) -> list[dict[str, Any]]:
    return [
        {"name": name, "in": "query", "description": description, "schema": {"type": "string"}}
        for name, description in route.query.items()
    ]


def _request_body(body: Any) -> dict[str, Any]:
    if isinstance(body, RawBody | StreamedBody):
        # An empty schema takes any JSON; other bytes are described by their media type alone.
        return {"content": {body.media_type: {"schema": {}}}}
    schema = describe_body(body)
    return {"required": bool(schema.get("required")), "content": {"application/json": {"schema": schema}}}


def describe_body(body: Any) -> dict[str, Any]:
    """Return the JSON schema of a voluptuous schema."""
    schema = body if isinstance(body, vol.Schema) else vol.Schema(body)
    described: dict[str, Any] = convert(schema, custom_serializer=serialize, openapi_version=OpenApiVersion.V3_1)
    finished: dict[str, Any] = _finished(described, closed=schema.extra == vol.PREVENT_EXTRA)
    return finished


def _finished(schema: Any, *, closed: bool) -> Any:
    """Say null the way 3.1 does, and that unknown keys are refused where they are."""
    if isinstance(schema, list):
        return [_finished(item, closed=closed) for item in schema]
    if not isinstance(schema, dict):
        return schema
    schema = {
        key: value if key in ("default", "enum", "const") else _finished(value, closed=closed)
        for key, value in schema.items()
    }
    if isinstance(schema.get("properties"), dict) and closed:
        schema.setdefault("additionalProperties", False)
    if schema.get("nullable") is True:
        del schema["nullable"]
        return {"anyOf": [schema, {"type": "null"}]}
    return schema


def _success(route: Route, data: dict[str, Any] | None) -> dict[str, Any]:
    if isinstance(route.returns, Raw):
        return {"description": route.returns.description or "The content", "content": {route.returns.media_type: {}}}
    schema = {
        "type": "object",
        "required": ["result", "data"],
        "properties": {"result": {"const": "ok"}, "data": data or {"type": "object", "maxProperties": 0}},
    }
    return {"description": "Done", "content": {"application/json": {"schema": schema}}}


def _failures() -> dict[str, Any]:
    text = {"text/plain": {"schema": {"type": "string"}}}
    envelope = {"application/json": {"schema": _ENVELOPE_ERROR}}
    return {
        "Refused": {"description": "Not possible as asked", "content": {**envelope, **text}},
        "Unauthorized": {"description": "No token, or reserved for Core", "content": {**text, **envelope}},
        "Forbidden": {"description": "Unknown token, or not allowed", "content": {**text, **envelope}},
        "NotFound": {"description": "It does not exist", "content": {**envelope, **text}},
        "TooLarge": {"description": "The body is too large", "content": text},
        "Failed": {"description": "The Supervisor failed; its logs have the details", "content": {**envelope, **text}},
        "Message": {"description": "Another failure", "content": {"*/*": {"schema": {"type": "string"}}}},
        "Error": {"description": "Another failure", "content": envelope},
    }


def _failures_of(route: Route) -> dict[str, Any]:
    names = {"400": "Refused", "500": "Failed"}
    if route.access is not Access.OPEN:
        names |= {"401": "Unauthorized", "403": "Forbidden"}
    if "{" in route.path:
        names["404"] = "NotFound"
    if route.body is not None:
        names["413"] = "TooLarge"
    names["default"] = "Error" if route.error_form is ErrorForm.ENVELOPE else "Message"
    return {status: {"$ref": f"#/components/responses/{name}"} for status, name in names.items()}
