"""What a registry tells about an image before it is pulled: the sizes of its layers (add-on contract §4.8).

Registries are asked by the OCI distribution protocol. As the engine does, one on loopback may have a certificate that
nobody vouches for, or speak plain HTTP; every other one must be reached by HTTPS.
"""

from __future__ import annotations

import asyncio
import base64
import re
from collections.abc import Mapping
from ipaddress import ip_address
from typing import Any, Final

import attrs
from yarl import URL

from supervisor.drivers.docker.registry import (
    RegistryCredentials,
    api_host,
    check_reference,
    platform_of,
    repository_path,
)
from supervisor.drivers.http import Answer, HttpClient
from supervisor.errors import Invalid, NotFound, Unavailable

LOOKUP_SECONDS: Final = 8.0
MAX_LAYERS: Final = 1024

_INDEXES: Final = (
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
)
_MANIFESTS: Final = (
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
)
_ACCEPT: Final = ", ".join((*_MANIFESTS, *_INDEXES))
_PARAMETER: Final = re.compile(r'([a-zA-Z_]+)\s*=\s*(?:"([^"]*)"|([^",\s]+))')
_DIGEST: Final = re.compile(r"sha256:[0-9a-f]{64}")


@attrs.frozen
class _Place:
    """One way to a registry: where its API begins, and whether its certificate must be right."""

    base: URL
    verify: bool


class RegistryApi:
    """Asks registries over `http`."""

    def __init__(self, http: HttpClient) -> None:
        self._http = http

    async def layer_sizes(
        self, image: str, tag: str, *, arch: str, credentials: RegistryCredentials | None
    ) -> dict[str, int]:
        """Return the bytes of each layer, as it is transferred, by the first 12 hex digits of its digest.

        Raises:
            Unavailable, NotFound, Invalid: the registry can't be asked, or its answer makes no sense.
        """
        check_reference(f"{image}:{tag}")
        try:
            async with asyncio.timeout(LOOKUP_SECONDS):
                return await self._layer_sizes(image, tag, arch, credentials)
        except TimeoutError as err:
            raise Unavailable(f"The registry of {image} does not answer in time") from err

    async def _layer_sizes(
        self, image: str, tag: str, arch: str, credentials: RegistryCredentials | None
    ) -> dict[str, int]:
        wanted = platform_of(arch)
        failure: Unavailable | None = None
        for place in _places(api_host(image)):
            asking = _Asking(self._http, place, repository_path(image), credentials)
            try:
                manifest = await asking.manifest(tag)
            except Unavailable as err:
                failure = err
                continue
            if isinstance(manifest.get("manifests"), list):
                manifest = await asking.manifest(_digest_for(manifest["manifests"], wanted))
            return _sizes(manifest)
        raise failure or Unavailable(f"The registry of {image} can't be asked")


class _Asking:
    """Questions to one registry about one image; remembers how to prove who asks."""

    def __init__(
        self, http: HttpClient, place: _Place, repository: str, credentials: RegistryCredentials | None
    ) -> None:
        self._http = http
        self._place = place
        self._repository = repository
        self._credentials = credentials
        self._authorization: str | None = None

    async def manifest(self, reference: str) -> Mapping[str, Any]:
        url = self._place.base / "v2" / self._repository / "manifests" / reference
        answer = await self._get(url, self._authorization)
        if answer.status == 401 and self._authorization is None:
            self._authorization = await self._prove(answer.headers.getall("WWW-Authenticate", []))
            answer = await self._get(url, self._authorization)
        if answer.status == 404:
            raise NotFound(f"{url} does not exist")
        if answer.status != 200:
            raise Unavailable(f"{url} answered with status {answer.status}")
        manifest = answer.json()
        if not isinstance(manifest, dict):
            raise Invalid(f"{url} is no manifest")
        return manifest

    async def _get(self, url: URL, authorization: str | None) -> Answer:
        headers = {"Accept": _ACCEPT}
        if authorization is not None:
            headers["Authorization"] = authorization
        return await self._http.ask(str(url), headers=headers, timeout=LOOKUP_SECONDS, verify=self._place.verify)

    async def _prove(self, challenges: list[str]) -> str:
        """Return the value of `Authorization` that answers one of the challenges.

        Raises:
            Invalid: none can be answered.
        """
        for challenge in challenges:
            scheme, _, rest = challenge.partition(" ")
            parameters = {key.lower(): quoted or bare for key, quoted, bare in _PARAMETER.findall(rest)}
            if scheme.lower() == "bearer":
                return f"Bearer {await self._token(parameters)}"
            if scheme.lower() == "basic" and self._credentials is not None:
                return _basic(self._credentials)
        raise Invalid(f"{self._place.base} wants a proof that can't be given")

    async def _token(self, parameters: Mapping[str, str]) -> str:
        realm = _realm(parameters.get("realm", ""), self._place)
        query = {"scope": parameters.get("scope") or f"repository:{self._repository}:pull"}
        if parameters.get("service"):
            query["service"] = parameters["service"]
        headers = {} if self._credentials is None else {"Authorization": _basic(self._credentials)}
        answer = await self._http.ask(
            str(realm.update_query(query)), headers=headers, timeout=LOOKUP_SECONDS, verify=self._place.verify
        )
        body = answer.json() if answer.status == 200 else None
        token = (body.get("token") or body.get("access_token")) if isinstance(body, dict) else None
        if not isinstance(token, str) or not token.isascii() or not token.isprintable():
            raise Invalid(f"{realm.host} gives no token")
        return token


def _basic(login: RegistryCredentials) -> str:
    return f"Basic {base64.b64encode(f'{login.username}:{login.password}'.encode()).decode()}"


def _places(host: str) -> list[_Place]:
    secure = _Place(URL(f"https://{host}"), verify=not _on_loopback(host))
    return [secure] if secure.verify else [secure, _Place(URL(f"http://{host}"), verify=False)]


def _on_loopback(host: str) -> bool:
    name = host.rpartition(":")[0] if ":" in host else host
    if name == "localhost":
        return True
    try:
        return ip_address(name).is_loopback
    except ValueError:
        return False


def _realm(text: str, place: _Place) -> URL:
    """Return where tokens are given; a login may go there, so the way must be as safe as that to the registry."""
    try:
        realm = URL(text)
    except ValueError as err:
        raise Invalid(f"{place.base} names no place for tokens") from err
    safe = realm.scheme == "https" if place.verify else realm.scheme in {"http", "https"}
    if not safe or not realm.host or realm.user or (not place.verify and not _on_loopback(realm.host)):
        raise Invalid(f"{place.base} sends to a place for tokens that is not safe")
    return realm


def _digest_for(entries: list[Any], platform: str) -> str:
    """Choose the manifest of `os/architecture[/variant]` in an index; a variant that nobody asked for is fine."""
    for entry in entries[:MAX_LAYERS]:
        about = entry.get("platform") if isinstance(entry, dict) else None
        digest = entry.get("digest") if isinstance(entry, dict) else None
        if isinstance(about, dict) and isinstance(digest, str) and _DIGEST.fullmatch(digest):
            offered = "/".join(str(about.get(key)) for key in ("os", "architecture", "variant") if about.get(key))
            if offered == platform or offered.startswith(f"{platform}/"):
                return digest
    raise NotFound(f"There is no image for {platform}")


def _sizes(manifest: Mapping[str, Any]) -> dict[str, int]:
    layers = manifest.get("layers")
    if not isinstance(layers, list) or len(layers) > MAX_LAYERS:
        raise Invalid("The manifest has no layers")
    sizes: dict[str, int] = {}
    for layer in layers:
        digest = layer.get("digest") if isinstance(layer, dict) else None
        size = layer.get("size") if isinstance(layer, dict) else None
        if not isinstance(digest, str) or not _DIGEST.fullmatch(digest):
            raise Invalid("A layer of the manifest has no digest")
        if not isinstance(size, int) or isinstance(size, bool) or size < 0:
            raise Invalid("A layer of the manifest has no size")
        sizes[digest.removeprefix("sha256:")[:12]] = size
    return sizes
