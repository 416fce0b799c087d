"""Add-ons on a real engine: what they find inside, what their ends mean, what keeps them from starting."""

from __future__ import annotations

import asyncio
import hashlib
import json
import secrets
import socket

import docker
import pytest
from addon_stage import SLUG, STAYS, MakeImage, lamp, output
from engine_stage import free_port, until

from addon_house import House
from supervisor.drivers.docker.engine import Engine
from supervisor.errors import SupervisorError
from supervisor.events import AddonState, EventBus


async def test_an_add_on_starts_restarts_in_a_new_container_and_stops(house: House, make_image: MakeImage) -> None:
    make_image()
    addon = await lamp(house)
    await house.runner.attach(addon)
    assert addon.state is AddonState.STOPPED
    await house.runner.start(addon)
    assert addon.state is AddonState.STARTED
    first, address = addon.container_id, addon.ip_address
    info = await house.engine.containers.inspect(addon.container_name)
    assert (info.id, info.ip_address) == (first, address)
    await house.runner.restart(addon)
    assert addon.state is AddonState.STARTED
    assert addon.container_id != first
    await house.runner.stop(addon)
    assert (addon.state, addon.container_id, addon.record.should_run) == (AddonState.STOPPED, None, False)
    await asyncio.sleep(0.1)
    assert addon.state is AddonState.STOPPED, "late news of the old container do not count"


async def test_inside_it_finds_its_token_options_and_folders(house: House, make_image: MakeImage) -> None:
    make_image()
    (house.paths.homeassistant / "secrets.yaml").write_text("wifi: 'p@ss'\n")
    (house.paths.ssl / "cert.pem").write_text("certificate")
    addon = await lamp(
        house,
        options={"level": 3},
        schema={"level": "int", "password": "password", "names": ["str"]},
        map=["ssl", "share:rw", "addon_config:rw"],
        environment={"COLOR": "red", "TZ": "Mars/Base"},
        tmpfs=True,
    )
    await house.registry.change(addon, options={"password": "!secret wifi", "names": ["ä"]})
    await house.runner.start(addon)

    token = await output(house, addon, 'echo "$SUPERVISOR_TOKEN"')
    assert hashlib.sha256(token.encode()).hexdigest() == addon.record.token_hash
    assert await output(house, addon, 'echo "$HASSIO_TOKEN $COLOR $TZ"') == f"{token} red UTC"
    options = json.loads(await output(house, addon, "cat /data/options.json"))
    assert options == {"level": 3, "password": "p@ss", "names": ["ä"]}
    assert await output(house, addon, "stat -c %a:%u /data/options.json") == "600:0"
    assert addon.record.options["password"] == "!secret wifi"
    assert await output(house, addon, "cat /run/cid") == addon.container_id
    assert await output(house, addon, "hostname") == "svtest-lamp"

    assert await output(house, addon, "cat /ssl/cert.pem") == "certificate"
    assert await output(house, addon, "touch /ssl/x 2>/dev/null || echo refused") == "refused"
    await output(house, addon, "echo mine > /share/from-inside; echo conf > /config/file; echo kept > /data/kept")
    assert (house.paths.share / "from-inside").read_text() == "mine\n"
    assert (house.paths.addon_configs / SLUG / "file").read_text() == "conf\n"
    assert "tmpfs" in await output(house, addon, "grep ' /tmp ' /proc/mounts")
    assert "tmpfs" in await output(house, addon, "grep ' /dev/shm ' /proc/mounts")
    assert "172.30.32.2" in await output(house, addon, "grep supervisor /etc/hosts")

    await house.runner.restart(addon)
    assert await output(house, addon, "cat /data/kept") == "kept"
    assert await output(house, addon, 'echo "$SUPERVISOR_TOKEN"') != token


@pytest.mark.parametrize(
    ("command", "state", "code"),
    [("exit 0", AddonState.STOPPED, 0), ("exit 3", AddonState.ERROR, 3)],
)
async def test_how_a_program_ends_decides_the_state(
    house: House, make_image: MakeImage, command: str, state: AddonState, code: int
) -> None:
    make_image(command)
    addon = await lamp(house)
    await house.runner.start(addon)
    await until(lambda: not addon.running)
    assert (addon.state, addon.last_exit_code) == (state, code)
    await house.runner.attach(addon)
    assert addon.state is state, "the engine says the same when it is asked"


async def test_a_program_that_somebody_kills_is_in_error(
    house: House, make_image: MakeImage, docker_client: docker.APIClient
) -> None:
    make_image()
    addon = await lamp(house)
    await house.runner.start(addon)
    await asyncio.to_thread(docker_client.kill, addon.container_name)
    await until(lambda: not addon.running)
    assert (addon.state, addon.last_exit_code) == (AddonState.ERROR, 137)


async def test_a_program_that_does_not_end_well_when_asked_to_was_still_stopped_on_purpose(
    house: House, make_image: MakeImage
) -> None:
    make_image("trap 'exit 143' TERM; while :; do sleep 0.05; done")
    addon = await lamp(house)
    await house.runner.start(addon)
    await house.runner.stop(addon)
    await asyncio.sleep(0.1)
    assert addon.state is AddonState.STOPPED


async def test_a_start_waits_for_the_health_check(house: House, make_image: MakeImage) -> None:
    # Until it was well once, it is given time.
    times = "--interval=1s --retries=1 --start-period=600s"
    make_image(changes=(f'HEALTHCHECK {times} CMD ["test", "-e", "/data/ready"]',))
    addon = await lamp(house)
    await house.runner.start(addon)
    assert addon.state is AddonState.STARTUP
    (house.paths.addons_data / SLUG / "ready").touch()
    await house.runner.settled(addon)
    assert (addon.state, addon.unhealthy) == (AddonState.STARTED, False)
    await output(house, addon, "rm /data/ready")
    await until(lambda: addon.unhealthy)
    assert addon.state is AddonState.STARTED


async def test_a_port_that_is_taken_is_said_with_its_number(house: House, make_image: MakeImage) -> None:
    make_image()
    port = free_port()
    addon = await lamp(house, ports={"80/tcp": port})
    with socket.socket() as other:
        other.bind(("0.0.0.0", port))
        other.listen()
        with pytest.raises(SupervisorError) as caught:
            await house.runner.start(addon)
    assert (caught.value.key, caught.value.fields) == ("app_port_conflict", {"name": SLUG, "port": port})
    [issue] = house.resolution.issues
    assert (issue.type, issue.reference_extra) == ("app_port_conflict", {"port": port})
    assert addon.state is AddonState.ERROR
    await house.runner.start(addon)
    assert addon.state is AddonState.STARTED
    assert house.issues() == []


async def test_an_image_that_is_gone_is_an_issue(house: House) -> None:
    addon = await lamp(house)
    await house.runner.attach(addon)
    assert addon.state is AddonState.UNKNOWN
    with pytest.raises(SupervisorError) as caught:
        await house.runner.start(addon)
    assert caught.value.key == "app_unknown_error"
    assert house.issues() == [("missing_image", SLUG)]


async def test_what_is_written_to_its_standard_input_arrives(house: House, make_image: MakeImage) -> None:
    make_image('read line; echo "$line" > /data/heard; ' + STAYS)
    addon = await lamp(house, stdin=True)
    await house.runner.start(addon)
    word = secrets.token_hex(4)
    await house.runner.write_stdin(addon, word.encode())
    heard = house.paths.addons_data / SLUG / "heard"
    await until(lambda: heard.exists() and heard.read_text() == f"{word}\n")
    stats = await house.runner.stats(addon)
    assert stats.memory_usage > 0


async def test_stats_of_an_add_on_that_ended_just_now_say_that_it_does_not_run(
    house: House, make_image: MakeImage, engine: Engine
) -> None:
    make_image()
    addon = await lamp(house)
    await house.runner.start(addon)
    await engine.containers.stop(addon.container_name, grace=0, remove=False)
    await until(lambda: not addon.running)
    addon.state = AddonState.STARTED  # as it is while the engine's word is on its way
    with pytest.raises(SupervisorError) as refused:
        await house.runner.stats(addon)
    assert refused.value.key == "app_not_running_error"


async def test_a_daemon_that_comes_back_finds_its_add_on_running(
    house: House, make_image: MakeImage, engine: Engine, bus: EventBus
) -> None:
    make_image()
    addon = await lamp(house)
    await house.runner.start(addon)
    later = House(house.paths.root, bus=bus, engine=engine)
    await later.registry.load()
    again = later.registry.get(SLUG)
    await later.runner.attach(again)
    assert (again.state, again.container_id, again.ip_address) == (
        AddonState.STARTED, addon.container_id, addon.ip_address,
    )  # fmt: skip
    await later.runner.start(again)
    assert again.container_id == addon.container_id, "one that runs is left alone"
