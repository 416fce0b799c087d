"""Starts and stops as far as they need no engine: order, intent, files, errors (add-on contract §3.8, §3.10)."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import attrs
import pytest

from addon_house import House, port_taken, refused
from supervisor.drivers.pulse import Door
from supervisor.errors import Busy, Internal, NotFound, SupervisorError
from supervisor.events import AddonState, AddonStateChanged, AddonTokenChanged
from supervisor.jobs import Job
from supervisor.lifecycle import BOOT_STAGES
from supervisor.managers.addons import Addon
from supervisor.managers.addons.record import hash_token
from supervisor.managers.resolution import UnhealthyReason
from supervisor.model.manifest import AddonStartup

pytestmark = pytest.mark.usefixtures("no_blocking_calls")


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path)


def stored(house: House, slug: str = "local_lamp") -> dict[str, Any]:
    found: dict[str, Any] = json.loads((house.paths.root / "addons.json").read_text())["user"][slug]
    return found


def private(house: House, slug: str = "local_lamp") -> Path:
    return house.paths.addons_data / slug


async def test_each_start_has_a_token_of_its_own_and_the_one_before_dies(house: House) -> None:
    lamp = await house.install()
    told: list[str | None] = []
    house.bus.subscribe(AddonTokenChanged, lambda _: told.append(lamp.record.token_hash))
    await house.runner.start(lamp)
    await house.runner.restart(lamp)
    tokens = [spec.environment["SUPERVISOR_TOKEN"] for spec in house.engine.specs]
    assert len(set(tokens)) == 2
    assert all(token is not None and len(token) == 112 for token in tokens)
    assert told == [hash_token(str(token)) for token in tokens]
    assert stored(house)["access_token_sha256"] == told[-1]
    everything = (house.paths.root / "addons.json").read_text()
    assert not any(str(token) in everything for token in tokens)


async def test_an_answer_of_the_engine_undoes_no_news_that_came_meanwhile(house: House) -> None:
    lamp = await house.install()
    await house.runner.start(lamp)
    inspect = house.engine.inspect
    older = await inspect(lamp.container_name)

    async def late(name: str) -> object:
        house.engine.inspect = inspect
        house.engine.end(name, 1)
        await asyncio.sleep(0)
        return older

    house.engine.inspect = late
    await house.runner.attach(lamp)
    assert lamp.state is AddonState.ERROR


async def test_one_that_runs_is_left_alone_by_a_start(house: House) -> None:
    lamp = await house.install()
    await house.runner.start(lamp)
    await house.runner.start(lamp)
    assert len(house.engine.specs) == 1


async def test_what_should_run_is_remembered(house: House) -> None:
    lamp = await house.install()
    await house.runner.start(lamp)
    assert stored(house)["should_run"] is True
    await house.runner.pause(lamp)
    assert (stored(house)["should_run"], lamp.state) == (True, AddonState.STOPPED)
    await house.runner.stop(lamp)
    assert stored(house)["should_run"] is False


async def test_a_restart_that_is_cut_off_half_way_leaves_an_add_on_that_should_run(house: House) -> None:
    lamp = await house.install()
    await house.runner.start(lamp)
    house.engine.refuse = [refused()]
    with pytest.raises(SupervisorError) as caught:
        await house.runner.restart(lamp)
    assert caught.value.key == "app_unknown_error"
    assert (stored(house)["should_run"], lamp.state) == (True, AddonState.ERROR)


async def test_a_start_does_not_trust_a_container_that_is_about_to_end(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    lamp = await house.install()
    await house.runner.start(lamp)
    first, stop = lamp.container_id, house.engine.stop
    asked = asyncio.Event()

    async def endless(name: str, *, grace: int, remove: bool) -> None:
        asked.set()
        await asyncio.Event().wait()

    with monkeypatch.context() as patch:
        patch.setattr(house.engine, "stop", endless)
        pausing = asyncio.create_task(house.runner.pause(lamp))
        await asked.wait()
        pausing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await pausing
    assert lamp.running, "the engine is still at it"
    ended: list[str] = []

    async def noted(name: str, **how: Any) -> None:
        ended.append(house.engine.present[name]["Id"])
        await stop(name, **how)

    monkeypatch.setattr(house.engine, "stop", noted)
    await house.runner.start(lamp)
    assert ended == [first]
    assert (lamp.state, lamp.stop_requested, lamp.record.should_run) == (AddonState.STARTED, False, True)
    assert lamp.container_id not in (None, first)


async def test_options_that_do_not_fit_keep_it_from_starting(house: House) -> None:
    lamp = await house.install(options={"level": 1}, schema={"level": "int", "name": "str"})
    with pytest.raises(SupervisorError) as caught:
        await house.runner.start(lamp)
    assert caught.value.key == "app_configuration_invalid_error"
    assert house.engine.specs == []


async def test_a_folder_that_the_add_on_has_spoilt_is_a_clear_error(house: House) -> None:
    lamp = await house.install()
    (private(house) / "options.json").mkdir(parents=True)
    with pytest.raises(Internal, match="files of add-on local_lamp"):
        await house.runner.start(lamp)
    assert lamp.state is AddonState.ERROR


@pytest.mark.parametrize("name", ["options.json", ".options.json.new"])
async def test_a_link_in_the_add_on_s_own_folder_is_not_written_through(
    house: House, tmp_path: Path, name: str
) -> None:
    victim = tmp_path / "victim"
    victim.write_text("untouched")
    lamp = await house.install()
    private(house).mkdir(parents=True)
    (private(house) / name).symlink_to(victim)
    await house.runner.start(lamp)
    assert victim.read_text() == "untouched"
    assert not (private(house) / "options.json").is_symlink()


async def test_a_taken_port_of_ours_can_be_cleared_and_a_foreign_one_only_tried_again(house: House) -> None:
    lamp = await house.install(ports={"80/tcp": 8080})
    house.engine.refuse = [port_taken(8080), port_taken(9999)]
    for port in (8080, 9999):
        with pytest.raises(SupervisorError) as caught:
            await house.runner.start(lamp)
        assert (caught.value.key, caught.value.fields) == ("app_port_conflict", {"name": "local_lamp", "port": port})
    attached = [
        [found.type.value for found in house.resolution.suggestions_for(issue)] for issue in house.resolution.issues
    ]
    assert attached == [["clear_port_config", "execute_start"], ["execute_start"]]
    assert [issue.reference_extra for issue in house.resolution.issues] == [{"port": 8080}, {"port": 9999}]
    await house.runner.start(lamp)
    assert house.issues() == []


async def test_a_missing_image_is_an_issue_that_repair_helps_against(house: House) -> None:
    lamp = await house.install()
    house.engine.images.missing.add("local/local_lamp:1")
    with pytest.raises(SupervisorError) as caught:
        await house.runner.start(lamp)
    assert caught.value.key == "app_unknown_error"
    assert house.issues() == [("missing_image", "local_lamp")]
    assert house.suggestions() == ["execute_repair"]
    house.engine.images.missing.clear()
    await house.runner.start(lamp)
    assert house.issues() == []


async def test_an_internal_network_that_is_not_made_yet_is_no_missing_image(house: House) -> None:
    lamp = await house.install()
    house.engine.refuse = [NotFound("network supervisor not found")]
    with pytest.raises(SupervisorError) as caught:
        await house.runner.start(lamp)
    assert caught.value.key == "app_unknown_error"
    assert (lamp.state, lamp.last_error) == (AddonState.ERROR, "network supervisor not found")
    assert house.issues() == []


async def test_a_missing_published_image_is_pulled_by_the_start_and_one_built_here_is_not(house: House) -> None:
    fetched: list[str] = []

    async def fetch(addon: Addon, job: Job) -> None:
        assert job.name == "app_start"
        fetched.append(addon.slug)
        house.engine.images.missing.discard(addon.record.image_reference)

    house.runner._fetch_image = fetch
    published = await house.install("local_published", image="example/published")
    built = await house.install("local_built")
    house.engine.images.missing |= {published.record.image_reference, built.record.image_reference}
    await house.runner.start(published)
    assert published.state is AddonState.STARTED
    with pytest.raises(SupervisorError):
        await house.runner.start(built)
    assert fetched == ["local_published"]
    assert house.issues() == [("missing_image", "local_built")]


async def test_an_image_that_can_t_be_pulled_is_an_issue_and_the_error_of_the_start(house: House) -> None:
    async def fetch(_addon: Addon, _job: Job) -> None:
        raise Internal("no such registry")

    house.runner._fetch_image = fetch
    lamp = await house.install(image="example/lamp")
    house.engine.images.missing.add(lamp.record.image_reference)
    with pytest.raises(Internal, match="no such registry"):
        await house.runner.start(lamp)
    assert (lamp.state, house.issues()) == (AddonState.ERROR, [("missing_image", "local_lamp")])
    assert house.suggestions() == ["execute_repair"]


async def test_another_add_on_that_has_the_port_is_named_before_anything_is_started(house: House) -> None:
    holder = await house.install("local_holder", ports={"53/udp": 5353, "80/tcp": 8080})
    lamp = await house.install(ports={"8080": 8080})
    await house.install("local_other", ports={"53/tcp": 5353})
    await house.runner.start(holder)
    with pytest.raises(SupervisorError, match="used by add-on local_holder") as caught:
        await house.runner.start(lamp)
    assert caught.value.key == "app_port_conflict"
    assert caught.value.fields == {"name": "local_lamp", "port": 8080, "holder": "local_holder"}
    assert lamp.state is AddonState.ERROR
    assert house.issues() == [("app_port_conflict", "local_lamp")]
    assert house.suggestions() == ["clear_port_config", "execute_start"]
    await house.runner.start(house.registry.get("local_other"))
    await house.runner.stop(holder)
    await house.runner.start(lamp)
    assert lamp.state is AddonState.STARTED
    assert house.issues() == []


async def test_one_thing_at_a_time_is_done_with_an_add_on_and_others_are_free(house: House) -> None:
    lamp, radio = await house.install(), await house.install("local_radio")
    async with house.jobs.run("app_update", lock=lamp.lock):
        with pytest.raises(Busy):
            await house.jobs.spawn(lambda: house.runner.start(lamp)).result()
        await house.jobs.spawn(lambda: house.runner.start(radio)).result()
    assert radio.state is AddonState.STARTED


async def test_many_add_ons_started_at_once_all_keep_their_tokens_on_disk(house: House) -> None:
    addons = [await house.install(f"local_a{number}") for number in range(8)]
    await asyncio.gather(*(house.runner.start(addon) for addon in addons))
    hashes = {spec.name: hash_token(str(spec.environment["SUPERVISOR_TOKEN"])) for spec in house.engine.specs}
    for addon in addons:
        assert stored(house, addon.slug)["access_token_sha256"] == hashes[addon.container_name]


async def test_standard_input_is_for_running_add_ons_that_read_it(house: House) -> None:
    deaf, lamp = await house.install("local_deaf"), await house.install(stdin=True)
    for addon, key in ((deaf, "app_not_supported_write_stdin_error"), (lamp, "app_not_running_error")):
        with pytest.raises(SupervisorError) as caught:
            await house.runner.write_stdin(addon, b"x")
        assert caught.value.key == key
    with pytest.raises(SupervisorError) as caught:
        await house.runner.stats(lamp)
    assert caught.value.key == "app_not_running_error"


async def test_a_boot_stage_starts_its_own_in_order_and_tells_who_did_not_start(house: House) -> None:
    await house.install("local_a", startup="system")
    await house.install("local_b", startup="system", boot="manual")
    await house.install("local_c", startup="services")
    await house.install("local_d", startup="system")
    house.engine.refuse = [refused()]
    await house.booter.boot(AddonStartup.SYSTEM, at_least_seconds=0)
    assert [spec.name for spec in house.engine.specs] == ["addon_local_d"]
    assert house.issues() == [("boot_fail", "local_a")]
    assert sorted(house.suggestions()) == ["disable_boot", "execute_start"]


async def test_a_boot_stage_lasts_as_long_as_it_should_only_when_it_starts_something(house: House) -> None:
    loop = asyncio.get_running_loop()
    begin = loop.time()
    await house.booter.boot(AddonStartup.SYSTEM, at_least_seconds=60)
    assert loop.time() - begin < 60
    await house.install("local_a", startup="system")
    begin = loop.time()
    await house.booter.boot(AddonStartup.SYSTEM, at_least_seconds=0.05)
    assert loop.time() - begin >= 0.05


async def test_one_shots_are_in_no_stage_and_ending_well_is_no_failed_boot(house: House) -> None:
    await house.install("local_once", startup="once")
    await house.install("local_brief", startup="system")
    house.engine.crash = [0]
    for stage in BOOT_STAGES:
        await house.booter.boot(stage, at_least_seconds=0)
    assert [spec.name for spec in house.engine.specs] == ["addon_local_brief"]
    assert house.issues() == []


async def test_a_program_that_crashes_at_once_is_a_failed_boot(house: House) -> None:
    crashing = await house.install("local_crashing", startup="system")
    house.engine.crash = [3]
    await house.booter.boot(AddonStartup.SYSTEM, at_least_seconds=0)
    assert (crashing.state, crashing.last_exit_code) == (AddonState.ERROR, 3)
    assert house.issues() == [("boot_fail", "local_crashing")]


async def test_after_the_engine_went_down_what_should_run_comes_back(house: House) -> None:
    await house.install("local_on", user={"should_run": True}, boot="manual")
    await house.install("local_off")
    await house.install("local_once", user={"should_run": True}, startup="once")
    await house.booter.resume()
    assert [spec.name for spec in house.engine.specs] == ["addon_local_on"]


async def test_a_shutdown_stops_programs_before_core_and_what_they_rest_on_after_it(house: House) -> None:
    order = []
    for startup in ("initialize", "system", "services", "application", "once"):
        await house.runner.start(await house.install(f"local_{startup}", startup=startup))
    await house.install("local_idle")
    house.bus.subscribe(AddonStateChanged, lambda event: order.append(event.slug.removeprefix("local_")))

    async def stop_core() -> None:
        order.append("core")

    await house.booter.shutdown(stop_core)
    assert order == ["once", "application", "core", "services", "system", "initialize"]
    assert house.registry.get("local_system").record.should_run
    assert not house.registry.get("local_idle").record.should_run


async def test_an_add_on_whose_image_is_still_fetched_holds_up_nobody_and_starts_later(house: House) -> None:
    late = await house.install("local_late", startup="system")
    await house.install("local_other", startup="system")
    house.booter.await_image(late)
    await house.booter.boot(AddonStartup.SYSTEM, at_least_seconds=0)
    assert [spec.name for spec in house.engine.specs] == ["addon_local_other"]
    for _ in range(2):
        await house.booter.catch_up(late, image_present=True)
    assert [spec.name for spec in house.engine.specs] == ["addon_local_other", "addon_local_late"]
    assert house.issues() == []


async def test_an_image_that_nobody_waits_for_starts_nothing(house: House) -> None:
    idle = await house.install("local_idle", boot="manual")
    house.booter.await_image(idle)
    await house.booter.boot(AddonStartup.APPLICATION, at_least_seconds=0)
    await house.booter.catch_up(idle, image_present=True)
    assert house.engine.specs == []


async def test_an_add_on_whose_image_never_came_is_a_failed_boot(house: House) -> None:
    late = await house.install("local_late", startup="system")
    house.booter.await_image(late)
    await house.booter.boot(AddonStartup.SYSTEM, at_least_seconds=0)
    await house.booter.catch_up(late, image_present=False)
    assert (house.engine.specs, house.issues()) == ([], [("boot_fail", "local_late")])


async def test_without_a_protected_network_add_ons_on_the_host_s_network_are_not_booted(house: House) -> None:
    await house.install("local_open", startup="system", host_network=True)
    await house.install("local_inside", startup="system")
    house.resolution.add_unhealthy(UnhealthyReason.DOCKER_GATEWAY_UNPROTECTED)
    await house.booter.boot(AddonStartup.SYSTEM, at_least_seconds=0)
    assert [spec.name for spec in house.engine.specs] == ["addon_local_inside"]


async def test_the_log_of_a_container_is_kept_before_it_goes(house: House) -> None:
    lamp = await house.install()
    await house.runner.start(lamp)
    house.kept_logs.clear()
    await house.runner.stop(lamp)
    assert house.kept_logs == ["addon_local_lamp"]
    assert house.engine.present == {}


async def test_attaching_tells_a_missing_image_from_a_stopped_add_on(house: House) -> None:
    lamp = await house.install()
    await house.runner.attach(lamp)
    assert lamp.state is AddonState.STOPPED
    house.engine.images.missing.add(lamp.record.image_reference)
    await house.runner.attach(lamp)
    assert lamp.state is AddonState.UNKNOWN


async def test_the_sound_files_name_the_chosen_devices_on_lines_of_their_own(house: House) -> None:
    lamp = await house.install(audio=True)
    lamp.record = attrs.evolve(lamp.record, audio_output="out\nload-module evil", audio_input="mic")
    await house.runner.start(lamp)
    lines = (house.paths.tmp / "local_lamp_pulse").read_text().splitlines()
    assert lines == [
        "default-sink = outload-module evil",
        "default-source = mic",
        "default-server = unix://run/audio/pulse.sock",
        "autospawn = no",
    ]


async def test_the_sound_files_lead_to_the_machine_s_own_server_and_its_cookie(house: House, tmp_path: Path) -> None:
    house.around["sound"] = Door(tmp_path / "native")
    lamp = await house.install(audio=True)
    await house.runner.start(lamp)
    written = house.paths.tmp / "local_lamp_pulse"
    assert written.read_text().splitlines() == ["default-server = unix://run/audio/native", "autospawn = no"]
    (tmp_path / "cookie").write_bytes(b"secret")
    house.around["sound"] = Door(tmp_path / "native", tmp_path / "cookie")
    await house.runner.restart(lamp)
    assert written.read_text().splitlines()[-1] == "cookie-file = /etc/pulse/cookie"
    copy = house.paths.tmp / "local_lamp_pulse_cookie"
    assert (copy.read_bytes(), copy.stat().st_mode & 0o777) == (b"secret", 0o600)


async def test_an_add_on_that_was_removed_stays_removed_whoever_still_knows_it(house: House) -> None:
    lamp = await house.install()
    await house.registry.remove("local_lamp")
    for late in (house.runner.start(lamp), house.registry.change(lamp, watchdog=True)):
        with pytest.raises(SupervisorError, match="not installed"):
            await late
    assert json.loads((house.paths.root / "addons.json").read_text()) == {"user": {}, "system": {}}
    assert not private(house).exists()
    assert not house.engine.specs


async def test_an_add_on_that_is_removed_while_its_stage_boots_is_no_trouble(house: House) -> None:
    await house.install("local_a", startup="system")
    await house.install("local_b", startup="system")

    async def remove() -> None:
        await house.registry.remove("local_b")

    removals: list[asyncio.Task[None]] = []

    def started(event: AddonStateChanged) -> None:
        if event.slug == "local_a" and not removals:
            removals.append(asyncio.create_task(remove()))

    house.bus.subscribe(AddonStateChanged, started)
    await house.booter.boot(AddonStartup.SYSTEM, at_least_seconds=0)
    await asyncio.gather(*removals)
    assert removals
    assert list(house.registry.installed) == ["local_a"]
    assert house.issues() == []
