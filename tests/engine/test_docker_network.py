from __future__ import annotations

import asyncio
import shutil
import signal
from ipaddress import IPv4Network, IPv6Address

import attrs
import docker
import pytest
from engine_stage import LABEL, NETWORK, client_of, root_filesystem, spec

from supervisor import errors
from supervisor.drivers.docker.engine import Engine
from supervisor.drivers.docker.network import Member, NetworkSettings
from supervisor.events import EventBus


@pytest.fixture
def no_network(docker_client):
    def remove() -> None:
        for left in docker_client.containers(all=True, filters={"label": LABEL}):
            docker_client.remove_container(left["Id"], force=True, v=True)
        for found in docker_client.networks(names=[NETWORK.name]):
            if found["Name"] == NETWORK.name:
                docker_client.remove_network(found["Id"])

    remove()
    yield
    remove()


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


@pytest.fixture
def companions(docker_client, base_image):
    """Running containers with the names of those that need not keep the network from being replaced."""
    names = ("hassio_supervisor", "hassio_observer")
    config = {"Image": base_image, "Cmd": ["sleep", "1000"], "Labels": {LABEL: ""}}
    for name in names:
        docker_client.start(docker_client.create_container_from_config(config, name=name)["Id"])
    return names


COMPANIONS = (Member("hassio_supervisor", "supervisor", 2), Member("hassio_observer", "hassio-observer", 6))
PLACES = {"hassio_supervisor": NETWORK.address(2), "hassio_observer": NETWORK.address(6)}


def options_of(docker_client) -> tuple[str, bool, str | None]:
    found = docker_client.inspect_network(NETWORK.name)
    return found["Id"], found["EnableIPv6"], found["Options"].get("com.docker.network.driver.mtu")


async def test_the_daemon_and_the_observer_move_to_the_replaced_network(
    docker_url, docker_client, no_network, companions
):
    engine = await with_settings(docker_url, attrs.evolve(NETWORK, members=COMPANIONS))
    try:
        assert await engine.network.ensure(ipv6=False)
        assert await engine.network.addresses() == PLACES
        first = options_of(docker_client)
        assert await engine.network.ensure(ipv6=False, mtu=1400)
        moved = options_of(docker_client)
        assert moved[0] != first[0]
        assert moved[1:] == (False, "1400")
        assert await engine.network.addresses() == PLACES
        aliases = docker_client.inspect_container("hassio_supervisor")["NetworkSettings"]["Networks"][NETWORK.name]
        assert "supervisor" in aliases["Aliases"]
    finally:
        await engine.stop()


async def test_a_replacement_that_fails_leaves_the_network_as_it_was_with_its_members(
    docker_url, docker_client, no_network, companions, caplog
):
    settings = attrs.evolve(NETWORK, members=COMPANIONS)
    engine = await with_settings(docker_url, settings)
    pool = docker.types.IPAMPool(subnet=str(settings.subnet_v6))
    v4 = docker.types.IPAMPool(subnet="10.213.40.0/24")
    taken = docker_client.create_network(
        "svtest-taken", ipam=docker.types.IPAMConfig(pool_configs=[v4, pool]), enable_ipv6=True
    )
    try:
        assert await engine.network.ensure(ipv6=False, mtu=1400)
        # The addresses for IPv6 belong to somebody else by now.
        assert not await engine.network.ensure(ipv6=True, mtu=1400)
        assert options_of(docker_client)[1:] == (False, "1400")
        assert await engine.network.addresses() == PLACES
        assert "keeps its old settings" in caplog.text
    finally:
        docker_client.remove_network(taken["Id"])
        await engine.stop()


async def test_without_a_wish_for_an_mtu_any_will_do_and_ipv6_is_on_unless_switched_off(
    engine, docker_client, no_network
):
    assert await engine.network.ensure(ipv6=None, mtu=1400)
    first = options_of(docker_client)
    assert first[1]
    assert await engine.network.ensure(ipv6=True)
    assert options_of(docker_client) == first


async def test_members_see_the_mtu_and_get_an_address_for_ipv6(engine, docker_client, no_network, base_image):
    await engine.network.ensure(ipv6=True, mtu=1400)
    member = await engine.containers.run(spec("member", network="hassio"))
    told = await engine.containers.exec(member.name, "cat /sys/class/net/eth0/mtu", timeout=30)
    assert told.output == b"1400\n"
    place = docker_client.inspect_container(member.name)["NetworkSettings"]["Networks"][NETWORK.name]
    assert IPv6Address(place["GlobalIPv6Address"]) in NETWORK.subnet_v6
    await engine.containers.remove(member.name)
    await engine.network.ensure(ipv6=False, mtu=1400)
    member = await engine.containers.run(spec("member", network="hassio"))
    place = docker_client.inspect_container(member.name)["NetworkSettings"]["Networks"][NETWORK.name]
    assert not place["GlobalIPv6Address"]
    await engine.containers.remove(member.name)


async def test_an_endpoint_that_a_crash_left_behind_gives_way_to_the_container_of_that_name(private_engine):
    client = client_of(private_engine.url)
    client.import_image_from_data(root_filesystem(), repository="local/test-base", tag="1", changes=["ENV PATH=/bin"])
    settings = attrs.evolve(
        NETWORK,
        bridge=f"{private_engine.bridge[:-1]}n",
        subnet=IPv4Network(f"10.215.{private_engine.octet}.0/24"),
        range=IPv4Network(f"10.215.{private_engine.octet}.128/25"),
    )
    engine = await with_settings(private_engine.url, settings)
    await engine.network.ensure(ipv6=False)
    old = await engine.containers.run(spec("stale", network="hassio"))
    await engine.stop()
    client.close()
    await asyncio.to_thread(private_engine.stop, signal.SIGKILL)
    await asyncio.to_thread(shutil.rmtree, private_engine.folder / "data" / "containers" / old.id)
    await asyncio.to_thread(private_engine.start)
    engine = await with_settings(private_engine.url, settings)
    client = client_of(private_engine.url)
    try:
        new = await engine.containers.run(spec("stale", network="hassio"))
        assert new.ip_address in settings.subnet
        assert await engine.network.addresses() == {new.name: new.ip_address}
    finally:
        await engine.stop()
        client.close()
