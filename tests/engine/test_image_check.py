"""Which images stay, which go, and what happens to a wrong one (add-on contract §4.8)."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import AsyncIterator
from pathlib import Path

import attrs
import docker
import pytest
from engine_stage import LABEL, Registry, root_filesystem

from addon_house import House
from supervisor.drivers.docker.engine import Engine
from supervisor.drivers.http import HttpClient
from supervisor.drivers.registry_api import RegistryApi
from supervisor.events import AddonState, EventBus
from supervisor.managers.addons import Addon
from supervisor.managers.addons.image_check import ImageCheck
from supervisor.managers.addons.images import AddonImages
from supervisor.managers.docker import DOCKER_SCHEMA, DockerSettings
from supervisor.managers.image_puller import ImagePuller
from supervisor.managers.mirrors import MIRRORS_SCHEMA, Mirrors
from supervisor.managers.store import StoreAddon
from supervisor.model.manifest import Manifest
from supervisor.model.manifest_schema import validate_manifest

SLUG = "svtest_checked"
STAYS = ["sh", "-c", "trap 'exit 0' TERM; while :; do sleep 0.05; done"]


@attrs.define
class Stage:
    """An installed add-on whose image is in a real registry, with what looks after images."""

    house: House
    client: docker.APIClient
    registry: Registry
    images: AddonImages
    check: ImageCheck
    settings: DockerSettings

    @property
    def name(self) -> str:
        return f"{self.registry.host}/svtest/checked"

    @property
    def reference(self) -> str:
        return f"{self.name}:1"

    def make(self, reference: str, content: bytes = b"x") -> str:
        """Make a small image of its own; return its id."""
        layer = root_filesystem({"data/content": content})
        repository, _, tag = reference.rpartition(":")
        self.client.import_image_from_data(layer, repository=repository, tag=tag, changes=[f"CMD {json.dumps(STAYS)}"])
        return str(self.client.inspect_image(reference)["Id"])

    async def install(self) -> Addon:
        addon = await self.house.install(SLUG, image=self.name)
        await self.house.registry.change(addon, image=self.name)
        await self.house.runner.attach(addon)
        return addon

    def identity(self, reference: str | None = None) -> str:
        return str(self.client.inspect_image(reference or self.reference)["Id"])

    def tags(self, name: str) -> list[str]:
        return sorted(tag for entry in self.client.images(name=name) for tag in entry["RepoTags"] or ())


@pytest.fixture
async def stage(
    tmp_path: Path, engine: Engine, network: None, bus: EventBus, docker_client: docker.APIClient, registry: Registry
) -> AsyncIterator[Stage]:
    house = House(tmp_path, bus=bus, engine=engine)
    house.paths.create()
    http = HttpClient(user_agent="test")
    await http.start()
    mirrors = Mirrors(house.state_file("mirrors.json", MIRRORS_SCHEMA))
    settings = DockerSettings(house.state_file("docker.json", DOCKER_SCHEMA), mirrors, house.resolution)
    puller = ImagePuller(engine, RegistryApi(http), settings, house.resolution, pauses=())
    images = AddonImages(engine, house.jobs, settings, house.host, puller, build_logs=tmp_path / "logs")
    check = ImageCheck(engine, house.jobs, house.host, house.registry, images, house.runner, house.resolution)
    stage = Stage(house, docker_client, registry, images, check, settings)
    stage.make("local/test-checked:1")
    registry.push("local/test-checked:1", "checked", "1")
    yield stage
    await http.stop()


def made_for(client: docker.APIClient, reference: str, architecture: str) -> None:
    """Put an image that says it is for another architecture in the place of this one."""
    answer = client.get(f"{client.base_url}/v{client.api_version}/images/{reference}/get")
    packed = io.BytesIO()
    with tarfile.open(fileobj=io.BytesIO(answer.content)) as old, tarfile.open(fileobj=packed, mode="w") as new:
        for member in old:
            file = old.extractfile(member)
            content = file.read() if file is not None else b""
            if b'"architecture"' in content and content.startswith(b"{"):
                content = json.dumps({**json.loads(content), "architecture": architecture}).encode()
                member.size = len(content)
            new.addfile(member, io.BytesIO(content))
    for message in client.load_image(packed.getvalue()):
        assert "error" not in message, message


async def test_what_is_right_is_left_alone(stage: Stage) -> None:
    addon = await stage.install()
    await stage.check.check(addon)
    await stage.house.runner.start(addon)
    before = addon.container_id
    await stage.check.check_all()
    assert (addon.container_id, addon.state) == (before, AddonState.STARTED)
    assert stage.house.issues() == []


async def test_a_missing_image_is_fetched_and_the_add_on_runs_again_if_it_should(stage: Stage) -> None:
    addon = await stage.install()
    assert addon.state is AddonState.UNKNOWN
    await stage.check.check_all()
    assert addon.state is AddonState.STOPPED
    assert stage.identity()


async def test_an_image_that_nobody_has_is_an_issue(stage: Stage) -> None:
    addon = await stage.install()
    await stage.house.registry.change(addon, image=f"{stage.registry.host}/svtest/none")
    await stage.check.check_all()
    assert stage.house.issues() == [("missing_image", SLUG)]
    assert stage.house.suggestions() == ["execute_repair"]


async def test_an_image_for_other_machines_is_fetched_again_and_its_container_replaced(stage: Stage) -> None:
    addon = await stage.install()
    await stage.check.check(addon)
    right = stage.identity()
    made_for(stage.client, stage.reference, "s390x")
    wrong = stage.identity()
    assert wrong != right
    await stage.house.runner.start(addon)
    before = addon.container_id
    await stage.check.check(addon)
    assert stage.identity() == right
    assert addon.state is AddonState.STARTED
    assert addon.container_id != before
    with pytest.raises(docker.errors.ImageNotFound):
        stage.client.inspect_image(wrong)


async def test_an_image_that_the_registry_has_no_better_of_stays_and_so_does_its_container(stage: Stage) -> None:
    addon = await stage.install()
    await stage.check.check(addon)
    made_for(stage.client, stage.reference, "s390x")
    stage.client.tag(stage.reference, "local/test-checked", "odd", force=True)
    stage.registry.push("local/test-checked:odd", "checked", "1")
    stage.client.tag("local/test-checked:odd", stage.name, "1", force=True)
    await stage.house.runner.start(addon)
    before = addon.container_id
    await stage.check.check(addon)
    assert addon.container_id == before


async def test_a_container_of_another_image_is_replaced(stage: Stage) -> None:
    addon = await stage.install()
    await stage.check.check(addon)
    other = stage.make("local/test-checked:other", b"other")
    stage.client.tag("local/test-checked:other", stage.name, "1", force=True)
    await stage.house.runner.start(addon)
    await stage.house.engine.images.remove(stage.reference)
    await stage.check.check(addon)
    container = await stage.house.engine.containers.inspect(addon.container_name)
    assert container.image_id == stage.identity() != other


async def test_cleanup_keeps_what_add_ons_share_or_may_return_to_and_what_strangers_use(stage: Stage) -> None:
    house, name = stage.house, "local/test-checked-many"
    ids = {version: stage.make(f"{name}:{version}", version.encode()) for version in "12345678"}
    for slug, version in (("svtest_a", "1"), ("svtest_b", "2")):
        addon = await house.install(slug, image=name)
        await house.registry.change(addon, image=name, version=version)
    house.registry.kept_images["svtest_a"] = f"{name}:3"
    stage.client.tag(f"{name}:4", "local/test-checked-stranger", "4", force=True)
    container = stage.client.create_container(f"{name}:5", labels={LABEL: ""})
    # One image under two names of the same repository, one of them in use.
    stage.client.tag(f"{name}:1", name, "latest", force=True)
    # A stopped stranger's container needs its image as much as a running one.
    stage.client.start(container)
    stage.client.kill(container)
    await stage.images.cleanup(keep=house.registry.images_in_use(), names={name})
    assert stage.tags(name) == [f"{name}:{version}" for version in ("1", "2", "3", "5", "latest")]
    assert stage.identity("local/test-checked-stranger:4") == ids["4"]
    with pytest.raises(docker.errors.ImageNotFound):
        stage.client.inspect_image(ids["8"])


async def test_removing_an_add_on_spares_an_image_that_another_one_uses(stage: Stage) -> None:
    name = "local/test-checked-shared"
    stage.make(f"{name}:1")
    for slug in ("svtest_a", "svtest_b"):
        addon = await stage.house.install(slug, image=name)
        await stage.house.registry.change(addon, image=name)
    await stage.images.remove([f"{name}:1"], in_use=stage.house.registry.images_in_use(without="svtest_a"))
    assert stage.tags(name) == [f"{name}:1"]
    await stage.house.registry.remove("svtest_a")
    await stage.images.remove([f"{name}:1"], in_use=stage.house.registry.images_in_use(without="svtest_b"))
    assert stage.tags(name) == []


@pytest.mark.parametrize("running", [True, False])
async def test_an_image_that_a_strangers_container_was_made_from_keeps_its_name(stage: Stage, running: bool) -> None:
    name = "local/test-checked-foreign"
    identity = stage.make(f"{name}:1")
    container = stage.client.create_container(f"{name}:1", labels={LABEL: ""})
    stage.client.start(container)
    if not running:
        stage.client.kill(container)
    await stage.images.remove([f"{name}:1"], in_use=())
    await stage.images.drop(identity)
    assert stage.identity(f"{name}:1") == identity
    stage.client.tag(f"{name}:1", name, "again")
    await stage.images.remove([f"{name}:1"], in_use=())
    assert stage.tags(name) == [f"{name}:again"]
    stage.client.remove_container(container, force=True)
    await stage.images.remove([f"{name}:again"], in_use=())
    with pytest.raises(docker.errors.ImageNotFound):
        stage.client.inspect_image(identity)


async def test_what_a_cut_off_pull_from_a_mirror_left_goes_with_the_image(stage: Stage) -> None:
    await stage.settings.mirrors.set({"docker.io": ["mirror.example:5000/hub"]})
    for reference in ("mirror.example:5000/hub/svtest/left:1", "mirror.example:5000/hub/svtest/left:0"):
        stage.make(reference)
    stage.make("svtest/left:2", b"2")
    await stage.images.remove(["svtest/left:1"], in_use=())
    assert stage.tags("mirror.example:5000/hub/svtest/left") == ["mirror.example:5000/hub/svtest/left:0"]
    await stage.images.cleanup(keep=["svtest/left:2"], names=["svtest/left"])
    assert stage.tags("mirror.example:5000/hub/svtest/left") == []
    assert stage.tags("svtest/left") == ["svtest/left:2"]


async def test_the_base_of_a_build_comes_from_the_mirror_of_its_registry(stage: Stage, tmp_path: Path) -> None:
    await stage.settings.mirrors.set({"registry.example": [stage.registry.host]})
    (tmp_path / "Dockerfile").write_text("ARG BUILD_FROM\nFROM $BUILD_FROM\nRUN cat /data/content > /seen\n")
    base = "registry.example/svtest/checked:1"
    (tmp_path / "build.json").write_text(json.dumps({"build_from": {"amd64": base, "aarch64": base}}))
    least = {"name": "x", "version": "1", "slug": SLUG, "description": "d", "arch": ["amd64", "aarch64"]}
    store = StoreAddon(
        slug=SLUG,
        repository="local",
        manifest=Manifest.from_config(validate_manifest(least)[0]),
        folder=tmp_path,
        root=tmp_path,
        translations={},
        version_timestamp=0,
    )
    async with stage.house.jobs.run("a_build") as job:
        await stage.images.fetch(store, job)
    assert stage.tags(base.rpartition(":")[0]) == [base]
    assert "Successfully" in await stage.images.build_log(SLUG)
    assert stage.identity(f"{stage.images.name(store)}:1")
