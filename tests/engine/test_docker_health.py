"""Containers that are not as they should be are found, and made anew (add-on contract §4.1)."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from typing import Any

import docker
import pytest

from addon_house import House
from supervisor.managers.docker_health import (
    DockerConfigCheck,
    PrivilegedEvaluation,
    RestartPolicyEvaluation,
    SoftwareEvaluation,
)

SLUG = "svtest_lamp"


@pytest.fixture(autouse=True)
def image(make_image: Callable[..., None]) -> None:
    make_image(slug=SLUG)


def made(client: docker.APIClient, name: str, **host: Any) -> str:
    """Make a container as another daemon, or somebody else, might have."""
    config = client.create_host_config(**host)
    created = client.create_container(f"local/{SLUG}:1", name=name, host_config=config, labels=["supervisor_managed"])
    identity = str(created["Id"])
    client.start(identity)
    return identity


async def test_a_shared_folder_without_propagation_is_told_and_gone_with_a_new_container(
    house: House, docker_client: docker.APIClient
) -> None:
    addon = await house.install(SLUG, init=False, map=["share:rw", "ssl"])
    share = f"{house.paths.share}:/share:rw"
    first = made(docker_client, addon.container_name, binds=[share, f"{house.paths.ssl}:/ssl:ro"])
    check = DockerConfigCheck(house.engine, house.registry, house.resolution, lambda: True)
    await check.run()
    assert house.issues() == [("docker_config", SLUG), ("docker_config", None)]
    assert house.suggestions() == ["execute_rebuild"] * 2
    (summary,) = [issue for issue in house.resolution.issues if issue.reference is None]
    assert await check.approve(summary) is True

    await house.runner.attach(addon)
    assert addon.container_id == first
    await house.runner.restart(addon)
    again = await house.engine.containers.inspect(addon.container_name)
    assert {mount.target: mount.propagation for mount in again.mounts}["/share"] == "rslave"
    assert await check.approve(summary) is False
    assert house.issues() == [("docker_config", None)], "the check itself takes the last one back"


async def test_folders_that_are_not_the_add_on_s_shared_ones_do_not_count(
    house: House, docker_client: docker.APIClient
) -> None:
    addon = await house.install(SLUG, init=False, map=["ssl"])
    made(docker_client, addon.container_name, binds=[f"{house.paths.share}:/share:rw"])
    await DockerConfigCheck(house.engine, house.registry, house.resolution, lambda: True).run()
    assert house.issues() == []


async def test_where_nothing_can_spread_nothing_is_missing(house: House, docker_client: docker.APIClient) -> None:
    addon = await house.install(SLUG, init=False, map=["share"])
    made(docker_client, addon.container_name, binds=[f"{house.paths.share}:/share:ro"])
    await DockerConfigCheck(house.engine, house.registry, house.resolution, lambda: False).run()
    assert house.issues() == []


@pytest.mark.parametrize(
    ("policy", "unsupported"), [("no", False), ("always", True), ("unless-stopped", True), ("on-failure", True)]
)
async def test_the_engine_must_not_start_add_ons_by_itself(
    house: House, docker_client: docker.APIClient, policy: str, unsupported: bool
) -> None:
    addon = await house.install(SLUG, init=False)
    evaluation = RestartPolicyEvaluation(house.engine, house.registry)
    assert await evaluation.unsupported() is False
    made(docker_client, addon.container_name, restart_policy={"Name": policy})
    assert await evaluation.unsupported() is unsupported


async def test_other_containers_may_restart_as_they_like(house: House, docker_client: docker.APIClient) -> None:
    name = f"svtest_{secrets.token_hex(4)}"
    identity = made(docker_client, name, restart_policy={"Name": "always"})
    try:
        assert await RestartPolicyEvaluation(house.engine, house.registry).unsupported() is False
    finally:
        docker_client.remove_container(identity, force=True)


@pytest.mark.parametrize("privileged", [False, None])
async def test_a_daemon_in_a_container_needs_all_rights(
    house: House, docker_client: docker.APIClient, privileged: bool | None
) -> None:
    name = f"svtest_{secrets.token_hex(4)}"
    # One that is only made needs none of the rights that this machine lacks.
    config = docker_client.create_host_config(privileged=privileged is None)
    identity = docker_client.create_container(f"local/{SLUG}:1", name=name, host_config=config)["Id"]
    try:
        assert await PrivilegedEvaluation(house.engine, name).unsupported() is (privileged is False)
        assert await PrivilegedEvaluation(house.engine, None).unsupported() is False
    finally:
        docker_client.remove_container(identity, force=True)


async def test_strange_software_is_told_from_add_ons(house: House, docker_client: docker.APIClient) -> None:
    evaluation = SoftwareEvaluation(house.engine, house.registry, house.resolution)
    addon = await house.install(SLUG, init=False)
    await house.runner.start(addon)
    running = {container.image for container in await house.engine.containers.list_running()}
    alone = running == {f"local/{SLUG}:1"}
    assert await evaluation.unsupported() is not alone
    name = f"svtest_{secrets.token_hex(4)}"
    docker_client.tag(f"local/{SLUG}:1", f"local/{name}", "1")
    identity = docker_client.create_container(f"local/{name}:1", name=name)["Id"]
    try:
        docker_client.start(identity)
        assert await evaluation.unsupported() is True
        assert house.resolution.healthy
    finally:
        docker_client.remove_container(identity, force=True)
        docker_client.remove_image(f"local/{name}:1")
