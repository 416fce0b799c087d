"""Images from mirrors and registries, real ones, that fail in between (add-on contract §4.8)."""

from __future__ import annotations

import asyncio
import io
import itertools
import json
import os
import platform
import urllib.request
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import attrs
import docker
import pytest
from engine_stage import Registry, root_filesystem, until
from registry_proxy import CutOff, Drop, Refuse, RegistryProxy, serve_proxy

from supervisor import errors
from supervisor.drivers.docker.engine import Engine
from supervisor.drivers.docker.model import ImageInfo
from supervisor.drivers.docker.registry import RegistryCredentials
from supervisor.drivers.http import HttpClient
from supervisor.drivers.registry_api import RegistryApi
from supervisor.events import EventBus, JobChanged
from supervisor.jobs import JobManager
from supervisor.jobs.manager import JOBS_SCHEMA
from supervisor.managers.docker import DOCKER_SCHEMA, DockerSettings
from supervisor.managers.image_puller import ImagePuller
from supervisor.managers.mirrors import MIRRORS_SCHEMA, Mirrors
from supervisor.managers.resolution import Resolution
from supervisor.state import StateFile

ARCH = {"x86_64": "amd64", "aarch64": "aarch64"}[platform.machine()]
GO_ARCH = {"amd64": "amd64", "aarch64": "arm64"}[ARCH]
OTHER = {"amd64": "aarch64", "aarch64": "amd64"}[ARCH]
NAME = "svtest/layered"


@attrs.define
class House:
    """The puller with all that it uses, and what its jobs told."""

    engine: Engine
    docker: DockerSettings
    resolution: Resolution
    api: RegistryApi
    puller: ImagePuller
    jobs: JobManager
    told: list[dict[str, Any]] = attrs.field(factory=list)

    async def pull(self, image: str, tag: str = "1") -> ImageInfo:
        async with self.jobs.run("a_pull") as job:
            return await self.puller.pull(image, tag, arch=ARCH, job=job)

    async def login(self, registry: Registry, host: str | None = None) -> None:
        login = {"username": str(registry.username), "password": str(registry.password)}
        await self.docker.add_registries({host or registry.host: login})


@pytest.fixture
async def house(engine: Engine, bus: EventBus, tmp_path: Path) -> AsyncIterator[House]:
    http = HttpClient(user_agent="Supervisor/test")
    await http.start()
    resolution = Resolution(bus)
    settings = DockerSettings(
        StateFile(tmp_path / "docker.json", DOCKER_SCHEMA, bus),
        Mirrors(StateFile(tmp_path / "mirrors.json", MIRRORS_SCHEMA, bus)),
        resolution,
    )
    await settings.load()
    api = RegistryApi(http)
    puller = ImagePuller(engine, api, settings, resolution, pauses=(0.05, 0.1, 0.2))
    jobs = JobManager(bus, StateFile(tmp_path / "jobs.json", JOBS_SCHEMA, bus))
    house = House(engine, settings, resolution, api, puller, jobs)
    bus.subscribe(JobChanged, lambda event: house.told.append(event.job))
    yield house
    await http.stop()


@pytest.fixture(scope="module")
def layered(registry: Registry, docker_client: docker.APIClient) -> Iterator[str]:
    """An image of a large and a small layer in the open registry; its name without a host."""
    layer = root_filesystem({"data/ballast": os.urandom(16_000_000)})
    docker_client.import_image_from_data(layer, repository="local/test-layered", tag="1")
    dockerfile = (
        f"FROM local/test-layered:1\nRUN head -c 2000000 /dev/urandom > /small\nLABEL one={os.urandom(4).hex()}\n"
    )
    for line in docker_client.build(
        fileobj=io.BytesIO(dockerfile.encode()), tag="local/test-layered:2", rm=True, forcerm=True, decode=True
    ):
        assert "error" not in line, line
    registry.push("local/test-layered:2", "layered", "1")
    for tag in ("2", "1"):
        docker_client.remove_image(f"local/test-layered:{tag}", force=True)
    return NAME


@pytest.fixture
def proxy(registry: Registry) -> Iterator[RegistryProxy]:
    with serve_proxy(registry.host) as proxy:
        yield proxy


async def test_an_image_comes_from_the_mirror_and_has_its_own_name_afterwards(house, proxy, layered):
    await house.docker.mirrors.set({"docker.io": [proxy.host]})
    info = await house.pull(layered)
    assert (await house.engine.images.inspect(f"{layered}:1")).id == info.id
    assert (await house.engine.images.inspect(info.id)).tags == (f"{layered}:1",)
    # The sizes of the layers were asked from the mirror, too.
    assert any(asked.by_us and asked.path.endswith("/manifests/1") for asked in proxy.seen)
    assert proxy.engine_requests("/blobs/") >= 2


async def test_mirrors_are_tried_in_order_and_then_the_registry_itself(house, registry, proxy, layered, caplog):
    with serve_proxy(registry.host) as second:
        proxy.always = Refuse(404, b'{"errors": [{"code": "MANIFEST_UNKNOWN", "message": "manifest unknown"}]}')
        await house.docker.mirrors.set({registry.host: [proxy.host, second.host]})
        await house.pull(f"{registry.host}/{layered}")
        assert proxy.engine_requests() >= 1
        assert second.engine_requests("/blobs/") >= 2
    assert f"mirror {proxy.host} does not give it" in caplog.text
    await house.engine.images.remove(f"{registry.host}/{layered}:1")
    # Nobody listens at either mirror now.
    await house.docker.mirrors.set({registry.host: ["127.0.0.1:1", second.host]})
    info = await house.pull(f"{registry.host}/{layered}")
    assert info.tags == (f"{registry.host}/{layered}:1",)


async def test_a_registry_that_fails_some_times_is_asked_again(house, proxy, layered, caplog):
    proxy.faults = [Refuse(503), Drop(), Refuse(502)]
    await house.pull(f"{proxy.host}/{layered}")
    waits = [told for told in house.told if str(told["stage"]).startswith("Waiting")]
    assert waits
    assert waits[0]["stage"] == "Waiting 0.05 s before try 2 of 4"
    assert waits[0]["extra"]["attempts"] == 4
    assert "503" in waits[0]["extra"]["reason"] or "EOF" in waits[0]["extra"]["reason"]
    assert "try 1 of 4 failed" in caplog.text
    assert house.told[-1]["progress"] == 100
    progress = [told["progress"] for told in house.told]
    assert progress == sorted(progress)


async def test_a_layer_that_breaks_off_is_fetched_again(house, proxy, layered):
    proxy.where, proxy.faults = "/blobs/", [CutOff(), CutOff()]
    info = await house.pull(f"{proxy.host}/{layered}")
    assert info.size > 16_000_000


async def test_after_the_last_try_the_error_tells_the_reason_and_how_often(house, proxy, layered):
    proxy.always = Refuse(503)
    with pytest.raises(errors.Unavailable, match=r"503.*\(4 tries\)"):
        await house.pull(f"{proxy.host}/{layered}")
    assert proxy.engine_requests() >= 4


@pytest.mark.parametrize(
    ("fault", "kind", "key"),
    [
        (Refuse(404, b'{"errors": [{"code": "MANIFEST_UNKNOWN", "message": "no"}]}'), errors.NotFound, None),
        (Refuse(401, b'{"errors": [{"code": "UNAUTHORIZED", "message": "no"}]}'), errors.Invalid, None),
        (
            Refuse(429, b'{"errors": [{"code": "TOOMANYREQUESTS", "message": "slow down"}]}'),
            errors.RateLimited,
            "container_registry_rate_limit_exceeded",
        ),
        (Refuse(429), errors.RateLimited, "container_registry_rate_limit_exceeded"),
    ],
)
async def test_what_stays_is_not_tried_again(house, proxy, layered, fault, kind, key):
    proxy.always = fault
    with pytest.raises(kind) as caught:
        await house.pull(f"{proxy.host}/{layered}")
    assert caught.value.key == key
    assert not [told for told in house.told if str(told["stage"]).startswith("Waiting")]
    assert house.resolution.issues == ()


async def test_the_login_goes_to_its_own_registry_only(house, auth_registry, registry, base_image, proxy):
    private = auth_registry.push(base_image, "guarded", "1")
    with pytest.raises(errors.Invalid, match="wants a login"):
        await house.pull(private)
    await house.login(auth_registry)
    await house.docker.mirrors.set({auth_registry.host: [proxy.host]})
    # The open registry behind the mirror does not have it, so that the guarded one is asked in the end.
    await house.pull(private)
    assert proxy.engine_requests() >= 1
    assert not [asked for asked in proxy.seen if asked.authorization]


async def test_a_mirror_has_a_login_of_its_own(house, auth_registry, base_image):
    auth_registry.push(base_image, "guarded", "1")
    with serve_proxy(auth_registry.host) as guarded:
        await house.docker.mirrors.set({"docker.io": [guarded.host]})
        await house.login(auth_registry, guarded.host)
        await house.pull("svtest/guarded")
        assert {asked.authorization for asked in guarded.seen if asked.by_us} >= {None}
        assert any(asked.authorization and asked.by_us for asked in guarded.seen)


async def test_a_wrong_login_is_named_and_not_tried_again(house, auth_registry, base_image):
    private = auth_registry.push(base_image, "guarded", "1")
    await house.docker.add_registries({auth_registry.host: {"username": "someone", "password": "guess"}})
    with pytest.raises(errors.Invalid) as caught:
        await house.pull(private)
    assert caught.value.key == "docker_registry_auth_error"
    assert "guess" not in str(caught.value)
    assert not [told for told in house.told if str(told["stage"]).startswith("Waiting")]


async def test_progress_moves_by_bytes_over_all_layers(house, proxy, layered):
    # Slow enough that an engine which is kept waiting for a moment is not far behind.
    image, proxy.pause = f"{proxy.host}/{layered}", 0.02
    sizes = await house.api.layer_sizes(image, "1", arch=ARCH, credentials=None)
    assert len(sizes) == 2
    await house.pull(image)
    extras = [told["extra"] for told in house.told if told["extra"] and told["stage"] == "Downloading"]
    assert extras
    assert extras[-1]["total"] == sum(sizes.values())
    downloaded = [extra["current"] for extra in extras]
    assert downloaded == sorted(downloaded)
    progress = [told["progress"] for told in house.told]
    assert progress == sorted(progress)
    downloading = [percent for percent in progress if 0 < percent < 70]
    assert len(downloading) >= 10
    assert max(after - before for before, after in itertools.pairwise(downloading)) < 20


async def test_sizes_of_an_image_for_several_platforms_are_those_of_ours(house, registry, layered, base_image):
    other = registry.push(base_image, "small", "1")
    digests = {name: manifest_of(registry, name) for name in (layered, "svtest/small")}
    entries = [
        entry(digests["svtest/small"], {"amd64": "arm64", "arm64": "amd64"}[GO_ARCH]),
        entry(digests[layered], GO_ARCH),
    ]
    # An index names manifests of its own repository.
    put(
        registry, layered, digests["svtest/small"], fetch(registry, "svtest/small", digests["svtest/small"]), copy=other
    )
    index = {
        "schemaVersion": 2,
        "mediaType": "application/vnd.docker.distribution.manifest.list.v2+json",
        "manifests": entries,
    }
    put(registry, layered, "many", json.dumps(index).encode(), media=index["mediaType"])
    image = f"{registry.host}/{layered}"
    ours = await house.api.layer_sizes(image, "many", arch=ARCH, credentials=None)
    assert ours == await house.api.layer_sizes(image, "1", arch=ARCH, credentials=None)
    theirs = await house.api.layer_sizes(image, "many", arch=OTHER, credentials=None)
    assert theirs
    assert not theirs.keys() & ours.keys()
    with pytest.raises(errors.NotFound):
        await house.api.layer_sizes(image, "many", arch="armv7", credentials=None)
    await house.pull(image, "many")


async def test_the_look_up_logs_in_where_it_must(house, auth_registry, base_image):
    private = auth_registry.push(base_image, "guarded", "1")
    right = RegistryCredentials(auth_registry.host, str(auth_registry.username), str(auth_registry.password))
    assert await house.api.layer_sizes(private, "1", arch=ARCH, credentials=right)
    with pytest.raises(errors.Invalid):
        await house.api.layer_sizes(private, "1", arch=ARCH, credentials=None)
    wrong = attrs.evolve(right, password="guess")
    with pytest.raises(errors.Unavailable, match="401"):
        await house.api.layer_sizes(private, "1", arch=ARCH, credentials=wrong)


async def test_a_cancelled_pull_waits_no_longer(house, proxy, layered):
    proxy.always = Refuse(503)
    house.puller._pauses = (600.0,)
    pull = asyncio.create_task(house.pull(f"{proxy.host}/{layered}"))
    await until(lambda: any(str(told["stage"]).startswith("Waiting") for told in house.told), 30)
    pull.cancel()
    with pytest.raises(asyncio.CancelledError):
        await pull


MEDIA = "application/vnd.docker.distribution.manifest.v2+json"


def manifest_of(registry: Registry, name: str) -> str:
    request = urllib.request.Request(f"http://{registry.host}/v2/{name}/manifests/1", headers={"Accept": MEDIA})
    with urllib.request.urlopen(request, timeout=10) as answer:
        return str(answer.headers["Docker-Content-Digest"])


def fetch(registry: Registry, name: str, reference: str) -> bytes:
    request = urllib.request.Request(
        f"http://{registry.host}/v2/{name}/manifests/{reference}", headers={"Accept": MEDIA}
    )
    with urllib.request.urlopen(request, timeout=10) as answer:
        content: bytes = answer.read()
    return content


def entry(digest: str, architecture: str) -> dict[str, Any]:
    return {"mediaType": MEDIA, "digest": digest, "size": 1, "platform": {"os": "linux", "architecture": architecture}}


def put(
    registry: Registry, name: str, reference: str, content: bytes, *, media: str = MEDIA, copy: str | None = None
) -> None:
    """Store a manifest; `copy` names the image whose blobs it needs, which are mounted first."""
    if copy is not None:
        manifest = json.loads(content)
        source = copy.partition("/")[2]
        for digest in {manifest["config"]["digest"], *(layer["digest"] for layer in manifest["layers"])}:
            url = f"http://{registry.host}/v2/{name}/blobs/uploads/?mount={digest}&from={source}"
            with urllib.request.urlopen(urllib.request.Request(url, data=b"", method="POST"), timeout=10) as answer:
                assert answer.status == 201
    url = f"http://{registry.host}/v2/{name}/manifests/{reference}"
    request = urllib.request.Request(url, data=content, method="PUT", headers={"Content-Type": media})
    with urllib.request.urlopen(request, timeout=10) as answer:
        assert answer.status == 201
