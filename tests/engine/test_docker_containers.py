from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
import time
from pathlib import Path

import pytest
from engine_stage import LABEL, NETWORK, free_port, spec, until

from supervisor import errors
from supervisor.drivers.docker import lifecycle
from supervisor.drivers.docker.engine import Engine
from supervisor.drivers.docker.logs import LogLine
from supervisor.drivers.docker.model import ContainerInfo
from supervisor.drivers.docker.spec import Bind, CidFile, Ulimit
from supervisor.drivers.docker.wire import EngineClient
from supervisor.events import ContainerState, ContainerStateChanged, EventBus

pytestmark = pytest.mark.usefixtures("base_image")


async def collect(engine: Engine, name: str, **arguments) -> list[LogLine]:
    return [line async for line in engine.containers.logs(name, **arguments)]


async def wait_for_exit(engine: Engine, name: str) -> ContainerInfo:
    async def ended():
        info = await engine.containers.inspect(name)
        return None if info.running else info

    return await until(ended)


async def test_a_container_runs_as_its_spec_says_and_has_its_address(engine, network, docker_client, tmp_path):
    (tmp_path / "shown").mkdir()
    info = await engine.containers.run(
        spec(
            "full",
            network="hassio",
            hostname="svtest-full",
            domainname="local.hass.io",
            environment={"TZ": "Europe/Berlin"},
            binds=(Bind(tmp_path / "shown", "/shown"), Bind(tmp_path / "shown", "/open", read_only=False)),
            tmpfs={"/tmp": ""},
            address=NETWORK.address(9),
            extra_hosts={"supervisor": NETWORK.address(2)},
            dns=("10.213.32.3",),
            dns_search=("local.hass.io",),
            dns_options=("timeout:10",),
            init=True,
            capabilities=("NET_ADMIN",),
            security_opt=("seccomp=unconfined",),
            device_cgroup_rules=("c 204:* rwm",),
            ulimits=(Ulimit("nofile", 100, 200),),
            oom_score_adj=200,
            labels={"more": "yes"},
        )
    )
    assert info.running
    assert info.state is ContainerState.RUNNING
    assert info.ip_address == NETWORK.address(9)
    assert info.labels == {"supervisor_managed": "", "more": "yes", LABEL: ""}
    assert info.env["TZ"] == "Europe/Berlin"
    assert info.started_at is not None
    assert info.restart_policy == "no"
    assert {(mount.target, mount.read_only) for mount in info.mounts} == {("/shown", True), ("/open", False)}
    host = docker_client.inspect_container(info.id)["HostConfig"]
    assert host["NetworkMode"] == NETWORK.name
    assert host["DeviceCgroupRules"] == ["c 204:* rwm"]
    assert host["OomScoreAdj"] == 200
    assert host["Ulimits"] == [{"Name": "nofile", "Soft": 100, "Hard": 200}]
    networks = docker_client.inspect_container(info.id)["NetworkSettings"]["Networks"]
    assert set(networks) == {NETWORK.name}
    assert "svtest-full" in networks[NETWORK.name]["Aliases"]
    seen = await engine.containers.exec(
        info.name, ["sh", "-c", "hostname; ulimit -Hn; touch /shown/x; cat /etc/hosts"], timeout=30
    )
    text = seen.output.decode()
    # The lower limit is raised to this one by some engines while they enter a container.
    assert "svtest-full\n200\n" in text
    assert "Read-only file system" in text
    assert "10.213.32.2\tsupervisor" in text
    assert (await engine.network.addresses())[info.name] == NETWORK.address(9)


async def test_running_again_replaces_the_old_container(engine):
    first = await engine.containers.run(spec("again", "sh", "-c", "trap 'exit 0' TERM; while :; do sleep 0.1; done"))
    second = await engine.containers.run(spec("again"))
    assert second.id != first.id
    assert second.running
    await engine.containers.stop(second.name, grace=0)
    with pytest.raises(errors.NotFound):
        await engine.containers.inspect(second.name)
    await engine.containers.stop(second.name)
    await engine.containers.remove(second.name)


async def test_a_stopped_container_can_be_kept_and_started_again(engine):
    script = "trap 'exit 3' TERM; echo ready; while :; do sleep 0.05; done"
    info = await engine.containers.run(spec("kept", "sh", "-c", script))
    # Asked before, it would not hear it, and be killed.
    await until(lambda: collect(engine, info.name))
    await engine.containers.stop(info.name, remove=False)
    stopped = await engine.containers.inspect(info.name)
    assert (stopped.running, stopped.exit_code, stopped.state) == (False, 3, ContainerState.FAILED)
    assert (await engine.containers.start(info.name)).id == info.id
    await engine.containers.rename(info.name, "addon_svtest_renamed")
    assert (await engine.containers.inspect("addon_svtest_renamed")).running
    listed = {entry.name: entry for entry in await engine.containers.list_managed()}
    assert listed["addon_svtest_renamed"].state is ContainerState.RUNNING
    await engine.containers.remove("addon_svtest_renamed")


async def test_an_id_prefix_is_not_a_name(engine):
    info = await engine.containers.run(spec("prefix"))
    with pytest.raises(errors.NotFound):
        await engine.containers.inspect(info.id[:12])
    assert (await engine.containers.inspect(info.id)).name == info.name


async def test_a_name_that_would_reach_another_url_is_refused(engine):
    for name in ("../images/x", "a b", "", "a/b", "x" * 300):
        with pytest.raises(errors.Invalid):
            await engine.containers.inspect(name)


async def test_the_id_file_is_shown_inside_and_goes_with_the_container(docker_url, docker_client, tmp_path):
    path = tmp_path / "cids" / "addon_svtest_cid.cid"
    path.mkdir(parents=True)  # what an engine leaves where a file was missing
    engine = Engine(docker_url, EventBus(), network=NETWORK, cid_files=tmp_path / "cids")
    await engine.start()
    try:
        info = await engine.containers.run(spec("cid", cid_file=CidFile(path, path)))
        shown = await engine.containers.exec(info.name, "cat /run/cid", timeout=30)
        assert shown.output.decode() == info.id == path.read_text()
        await engine.containers.stop(info.name, grace=0)
        assert not path.exists()
    finally:
        await engine.stop()


async def test_a_missing_image_or_mount_leaves_nothing_behind(engine, tmp_path):
    path = tmp_path / "x.cid"
    with pytest.raises(errors.NotFound, match="local/test-none:1"):
        await engine.containers.run(spec("none", image="local/test-none:1", cid_file=CidFile(path, path)))
    assert not path.exists()
    with pytest.raises(errors.Invalid, match="bind source path"):
        await engine.containers.run(spec("none", binds=(Bind(tmp_path / "missing", "/x"),)))
    with pytest.raises(errors.SupervisorError):
        await engine.containers.run(spec("none", "/no/such/program"))
    with pytest.raises(errors.NotFound):
        await engine.containers.inspect("addon_svtest_none")


async def test_a_port_taken_by_another_container_is_named(engine):
    port = free_port()
    await engine.containers.run(spec("port1", network="bridge", ports={"80/tcp": port}))
    with pytest.raises(errors.Invalid) as caught:
        await engine.containers.run(spec("port2", network="bridge", ports={"80": port}))
    assert caught.value.key == "docker_container_port_conflict"
    assert caught.value.fields == {"name": "addon_svtest_port2", "port": port}
    with pytest.raises(errors.NotFound):
        await engine.containers.inspect("addon_svtest_port2")


async def test_a_port_taken_by_a_foreign_process_is_named(engine):
    with socket.create_server(("0.0.0.0", 0)) as server:
        port = server.getsockname()[1]
        with pytest.raises(errors.Invalid) as caught:
            await engine.containers.run(spec("port3", network="bridge", ports={"80": port}))
    assert caught.value.fields == {"name": "addon_svtest_port3", "port": port}


async def test_a_fixed_address_in_use_is_no_port_conflict(engine, network):
    await engine.containers.run(spec("fixed1", network="hassio", address=NETWORK.address(20)))
    with pytest.raises(errors.Conflict, match="already in use"):
        await engine.containers.run(spec("fixed2", network="hassio", address=NETWORK.address(20)))


async def test_a_container_that_needs_more_than_the_machine_allows_is_a_clear_error(engine):
    try:
        info = await engine.containers.run(spec("priv", privileged=True))
    except errors.Unsupported as err:
        assert "addon_svtest_priv" in str(err)  # noqa: PT017 - either outcome is right, depending on the machine
        with pytest.raises(errors.NotFound):
            await engine.containers.inspect("addon_svtest_priv")
    else:
        assert info.raw["HostConfig"]["Privileged"]


async def test_logs_keep_order_streams_and_times(engine):
    before = time.time() - 1
    script = "echo one; echo two >&2; printf 'no end'; head -c 40000 /dev/zero | tr '\\0' x"
    info = await engine.containers.run(spec("logs", "sh", "-c", f"{script}; echo; echo last"))
    await wait_for_exit(engine, info.name)
    lines = await collect(engine, info.name)
    assert sorted((line.stream, line.message) for line in lines) == sorted(
        [("stdout", "one"), ("stderr", "two"), ("stdout", "no end" + "x" * 40000), ("stdout", "last")]
    )
    assert all(line.time is not None and line.time.timestamp() > before for line in lines)
    assert [line.message for line in lines if line.stream == "stdout"] == ["one", "no end" + "x" * 40000, "last"]
    # The engine hears each stream for itself: which of two lines came first is its word.
    assert await collect(engine, info.name, tail=1) == lines[-1:]
    assert await collect(engine, info.name, tail=0) == []
    assert await collect(engine, info.name, since=time.time() + 60) == []


async def test_following_tells_new_lines_and_ends_with_the_iterator(engine):
    info = await engine.containers.run(spec("follow", "sh", "-c", "while :; do i=$((i+1)); echo $i; sleep 0.02; done"))
    async with contextlib.aclosing(engine.containers.logs(info.name, tail=0, follow=True)) as lines:
        seen = []
        async with asyncio.timeout(30):
            async for line in lines:
                seen.append(int(line.message))
                if len(seen) == 5:
                    break
    assert seen == list(range(seen[0], seen[0] + 5))


async def test_a_slow_reader_holds_the_writer_back_and_loses_nothing(engine):
    info = await engine.containers.run(spec("flood", "seq", "1", "20000"))
    await wait_for_exit(engine, info.name)
    numbers = []
    async for line in engine.containers.logs(info.name):
        numbers.append(int(line.message))
        if len(numbers) % 5000 == 0:
            await asyncio.sleep(0.05)
    assert numbers == list(range(1, 20001))


async def test_following_a_silent_log_can_be_cancelled_and_ends_with_the_container(engine):
    info = await engine.containers.run(spec("silent", "sh", "-c", "echo begun; exec sleep 1000"))

    async def follow(heard: list[str]) -> None:
        async for line in engine.containers.logs(info.name, follow=True):
            heard.append(line.message)  # noqa: PERF401 - looked at while it goes on

    for end in ("cancelled", "stopped"):
        heard: list[str] = []
        reader = asyncio.create_task(follow(heard))
        await until(lambda told=heard: told)
        await asyncio.sleep(0.2)
        assert not reader.done()
        if end == "cancelled":
            reader.cancel()
            with pytest.raises(asyncio.CancelledError):
                await reader
        else:
            await engine.containers.stop(info.name, grace=0)
            async with asyncio.timeout(30):
                await reader
        assert heard == ["begun"]


async def test_the_log_of_no_container_is_not_found(engine):
    with pytest.raises(errors.NotFound):
        await collect(engine, "addon_svtest_absent")


async def test_standard_input_arrives_more_than_once(engine):
    info = await engine.containers.run(spec("stdin", "cat", stdin=True))
    await engine.containers.write_stdin(info.name, b"hello")
    await engine.containers.write_stdin(info.name, "wörld".encode())

    async def arrived():
        return [line.message for line in await collect(engine, info.name)] == ["hello", "wörld"]

    await until(arrived)
    assert (await engine.containers.inspect(info.name)).running
    with pytest.raises(errors.Conflict, match="does not read"):
        await engine.containers.write_stdin((await engine.containers.run(spec("deaf"))).name, b"x")


async def test_a_container_that_does_not_read_its_input_is_a_timeout(engine, monkeypatch):
    monkeypatch.setattr("supervisor.drivers.docker.talk.STDIN_SECONDS", 0.5)
    info = await engine.containers.run(spec("stuffed", stdin=True))
    with pytest.raises(errors.Timeout, match="does not read"):
        await engine.containers.write_stdin(info.name, b"x" * 8_000_000)


async def test_commands_inside_give_output_and_exit_code(engine):
    info = await engine.containers.run(spec("exec"))
    result = await engine.containers.exec(info.name, "sh -c 'echo out; echo err >&2; exit 3'", timeout=30)
    assert result.exit_code == 3
    assert sorted(result.output.splitlines()) == [b"err", b"out"]
    unknown = await engine.containers.exec(info.name, ["no-such-program"], timeout=30)
    assert unknown.exit_code in {126, 127}
    assert b"no-such-program" in unknown.output
    with pytest.raises(errors.Timeout):
        await engine.containers.exec(info.name, "sleep 30", timeout=0.3)
    with pytest.raises(errors.Invalid):
        await engine.containers.exec(info.name, "echo 'unclosed", timeout=1)
    await engine.containers.stop(info.name, grace=0, remove=False)
    with pytest.raises(errors.Conflict):
        await engine.containers.exec(info.name, "true", timeout=30)
    with pytest.raises(errors.NotFound):
        await engine.containers.exec("addon_svtest_absent", "true", timeout=30)


async def test_a_one_shot_container_gives_its_output_and_goes(engine):
    result = await engine.containers.run_once(spec("once", "sh", "-c", "echo done; exit 4"), timeout=60)
    assert (result.exit_code, result.output) == (4, b"done\n")
    with pytest.raises(errors.Timeout):
        await engine.containers.run_once(spec("once", "sleep", "600"), timeout=1)
    with pytest.raises(errors.NotFound):
        await engine.containers.inspect("addon_svtest_once")


async def test_a_one_shot_container_that_is_given_up_before_it_is_made_goes_too(engine, monkeypatch):
    made = threading.Event()

    def slow(*arguments: object) -> object:
        time.sleep(0.3)
        try:
            return run(*arguments)
        finally:
            made.set()

    run = lifecycle.run
    monkeypatch.setattr(lifecycle, "run", slow)
    with pytest.raises(errors.Timeout):
        await engine.containers.run_once(spec("once", "sleep", "600"), timeout=0.05)
    assert made.is_set()
    with pytest.raises(errors.NotFound):
        await engine.containers.inspect("addon_svtest_once")


async def test_stats_count_cpu_and_memory(engine, monkeypatch):
    # What the engine would say takes it two seconds.
    monkeypatch.setattr(EngineClient, "stats", None)
    info = await engine.containers.run(spec("busy", "sh", "-c", "while :; do :; done", memory=32 << 20))
    first = await engine.containers.stats(info.name)
    assert 1 < first.cpu_percent <= 100
    assert first.memory_usage > 0
    assert first.memory_limit > first.memory_usage
    assert 0 < first.memory_percent < 100
    with monkeypatch.context() as patch:
        patch.setattr("supervisor.drivers.docker.stats.SHORTEST_SPAN", 1000.0)
        assert (await engine.containers.stats(info.name)).cpu_percent == first.cpu_percent
    await asyncio.sleep(0.3)
    assert 1 < (await engine.containers.stats(info.name)).cpu_percent <= 100
    await engine.containers.stop(info.name, grace=0, remove=False)
    with pytest.raises(errors.Invalid, match="not running"):
        await engine.containers.stats(info.name)


async def test_stats_from_the_engine_and_from_the_kernel_agree(engine, docker_client, monkeypatch):
    info = await engine.containers.run(spec("same", memory=64 * 1024 * 1024))
    from_kernel = await engine.containers.stats(info.name)
    monkeypatch.setattr("supervisor.drivers.docker.containers.PROC_ROOT", Path("/nowhere"))
    from_engine = await engine.containers.stats(info.name)
    assert from_kernel.memory_limit == from_engine.memory_limit == 64 * 1024 * 1024
    assert abs(from_kernel.memory_usage - from_engine.memory_usage) < 2_000_000
    assert from_kernel.network_rx == from_engine.network_rx == 0


async def test_events_tell_start_health_and_end(engine, bus, docker_client, base_image):
    seen: list[ContainerStateChanged] = []
    bus.subscribe(ContainerStateChanged, seen.append)
    config = {
        "Image": base_image,
        "Cmd": ["sleep", "1000"],
        "Labels": {"supervisor_managed": "", LABEL: ""},
        "Healthcheck": {"Test": ["CMD-SHELL", "test ! -e /bad"], "Interval": 200_000_000, "Retries": 1},
    }
    name = "svtest-health"
    identity = docker_client.create_container_from_config(config, name=name)["Id"]
    docker_client.start(identity)
    info = await engine.containers.inspect(name)
    assert info.has_healthcheck
    assert info.state in {ContainerState.RUNNING, ContainerState.HEALTHY}
    await until(lambda: [event.state for event in seen] == [ContainerState.RUNNING, ContainerState.HEALTHY])
    assert (await engine.containers.inspect(name)).state is ContainerState.HEALTHY
    listed = {entry.name: entry for entry in await engine.containers.list_managed()}
    assert listed[name].state is ContainerState.HEALTHY
    await engine.containers.exec(name, "touch /bad", timeout=30)
    await until(lambda: seen[-1].state is ContainerState.UNHEALTHY)
    await engine.containers.stop(name, grace=0)
    await until(lambda: seen[-1].state is ContainerState.FAILED)
    assert seen[-1].exit_code == 137
    assert {(event.name, event.container_id) for event in seen} == {(name, identity)}
    assert abs(seen[-1].time - time.time()) < 30


async def test_a_foreign_container_is_no_news(engine, bus, docker_client, base_image):
    seen: list[ContainerStateChanged] = []
    bus.subscribe(ContainerStateChanged, seen.append)
    config = {"Image": base_image, "Cmd": ["true"], "Labels": {LABEL: ""}}
    docker_client.start(docker_client.create_container_from_config(config, name="svtest-foreign")["Id"])
    await engine.containers.run(spec("ours", "true"))
    await until(lambda: [event.state for event in seen] == [ContainerState.RUNNING, ContainerState.STOPPED])
    assert {event.name for event in seen} == {"addon_svtest_ours"}
    assert "svtest-foreign" not in {entry.name for entry in await engine.containers.list_managed()}


async def test_a_start_asks_the_engine_for_no_more_than_it_takes(engine, monkeypatch):
    asked: list[str] = []
    request = EngineClient.request

    def noting(self: EngineClient, method: str, url: str, *more: object, **given: object) -> object:
        asked.append(f"{method} {url.rpartition(engine.info.api_version)[2]}")
        return request(self, method, url, *more, **given)

    monkeypatch.setattr(EngineClient, "request", noting)
    info = await engine.containers.run(spec("cost"))
    name = info.name
    assert asked == [
        f"GET /containers/{name}/json",  # is there an old one
        "POST /containers/create",
        f"POST /containers/{name}/start",
        f"GET /containers/{name}/json",  # its address is known only now
    ]
