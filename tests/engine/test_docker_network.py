from __future__ import annotations

import attrs
import pytest
from engine_stage import LABEL, NETWORK, spec

from supervisor import errors
from supervisor.drivers.docker.engine import Engine
from supervisor.drivers.docker.network import Member, NetworkSettings
from supervisor.events import EventBus


@pytest.fixture
def no_network(docker_client):
    def remove() -> None:
        for found in docker_client.networks(names=[NETWORK.name]):
            if found["Name"] == NETWORK.name:
                docker_client.remove_network(found["Id"])

    remove()
    return remove


async def with_settings(docker_url: str, settings: NetworkSettings) -> Engine:
    engine = Engine(docker_url, EventBus(), network=settings)
    await engine.start()
    return engine


async def test_the_network_is_made_once_as_documented(engine, docker_client, no_network):
    assert await engine.network.ensure()
    first = docker_client.inspect_network(NETWORK.name)
    assert await engine.network.ensure()
    assert docker_client.inspect_network(NETWORK.name)["Id"] == first["Id"]
    assert first["Driver"] == "bridge"
    assert first["Options"] == {"com.docker.network.bridge.name": NETWORK.bridge}
    assert first["Labels"] == {}
    pool = first["IPAM"]["Config"][0]
    assert pool == {"Subnet": "10.213.32.0/23", "IPRange": "10.213.33.0/24", "Gateway": "10.213.32.1"}
    if first["EnableIPv6"]:
        assert first["IPAM"]["Config"][1]["Subnet"] == "fd0c:ac1e:21ff::/48"


async def test_a_changed_setting_replaces_the_network_only_when_nobody_else_uses_it(
    engine, docker_client, no_network, base_image
):
    await engine.network.ensure()
    assert await engine.network.ensure(ipv6=False, mtu=1400)
    changed = docker_client.inspect_network(NETWORK.name)
    assert not changed["EnableIPv6"]
    assert changed["Options"]["com.docker.network.driver.mtu"] == "1400"
    assert await engine.network.ensure(ipv6=False)
    await engine.containers.run(spec("member", network="hassio"))
    assert not await engine.network.ensure(ipv6=False, mtu=1300)
    assert docker_client.inspect_network(NETWORK.name)["Id"] == changed["Id"]


async def test_known_members_join_a_new_network_at_their_address(docker_url, docker_client, no_network, base_image):
    settings = attrs.evolve(
        NETWORK,
        members=(Member("svtest-member", "dns", 3), Member("svtest-absent", "cli", 5)),
    )
    config = {"Image": base_image, "Cmd": ["sleep", "1000"], "Labels": {LABEL: ""}}
    docker_client.start(docker_client.create_container_from_config(config, name="svtest-member")["Id"])
    engine = await with_settings(docker_url, settings)
    try:
        assert await engine.network.ensure()
        assert await engine.network.addresses() == {"svtest-member": NETWORK.address(3)}
        docker_client.remove_container("svtest-member", force=True)
    finally:
        await engine.stop()


async def test_attach_and_detach_are_idempotent_and_move(engine, docker_client, network, base_image):
    info = await engine.containers.run(spec("joins"))
    await engine.containers.stop(info.name, grace=0)
    info = await engine.containers.run(spec("joins", network="bridge"))
    await engine.network.attach(info.name, aliases=("joins",), address=NETWORK.address(30))
    await engine.network.attach(info.name, aliases=("joins",), address=NETWORK.address(30))
    assert (await engine.network.addresses())[info.name] == NETWORK.address(30)
    await engine.network.attach(info.name, aliases=("joins",), address=NETWORK.address(31))
    assert (await engine.network.addresses())[info.name] == NETWORK.address(31)
    await engine.network.detach(info.name)
    await engine.network.detach(info.name)
    assert info.name not in await engine.network.addresses()
    with pytest.raises(errors.NotFound):
        await engine.network.attach("addon_svtest_absent")


async def test_addresses_that_another_network_has_are_a_clear_conflict(engine, docker_url, network):
    other = attrs.evolve(NETWORK, name="svtest2", bridge="svtest2")
    second = await with_settings(docker_url, other)
    try:
        with pytest.raises(errors.Conflict, match=r"10\.213\.32\.0/23"):
            await second.network.ensure()
    finally:
        await second.stop()
