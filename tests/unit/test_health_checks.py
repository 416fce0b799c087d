"""What is looked for, and what helps: add-ons, the machine, the store (host contract §4-6)."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from addon_house import House, port_taken
from supervisor.errors import Internal, Invalid, SupervisorError
from supervisor.events import AddonState
from supervisor.jobs import JobCondition
from supervisor.managers.addons import checks
from supervisor.managers.addons.checks import (
    DeprecatedArchCheck,
    DeprecatedCheck,
    DetachedMissingCheck,
    DetachedRemovedCheck,
    PortConflictCheck,
    PwnedCheck,
)
from supervisor.managers.addons.fixups import AddonFixups
from supervisor.managers.addons.options import AddonOptions
from supervisor.managers.addons.secrets import SecretsFile
from supervisor.managers.docker_health import DockerFixups, repository_of
from supervisor.managers.resolution import (
    Check,
    ContextType,
    Fixups,
    IssueType,
    Suggestion,
    SuggestionType,
)
from supervisor.managers.resolution.data import REMEDIES
from supervisor.managers.store.fixups import StoreFixups
from supervisor.managers.system_health import (
    AppArmorEvaluation,
    ArchitectureEvaluation,
    FreeSpaceCheck,
    JobConditionsEvaluation,
    LxcEvaluation,
    SystemBusEvaluation,
)
from supervisor.model.machine import is_for_gone_machines
from supervisor.model.manifest import Manifest
from supervisor.model.manifest_schema import validate_manifest

ADDON, STORE, SYSTEM = ContextType.ADDON, ContextType.STORE, ContextType.SYSTEM


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path)


async def look(house: House, check: Check) -> None:
    """Look as the health check does: first at what is known, then for more."""
    for issue in house.resolution.issues:
        if issue.type == check.issue and await check.approve(issue) is False:
            house.resolution.withdraw(issue)
    await check.run()


def manifest(**keys: Any) -> Manifest:
    least = {"name": "x", "version": "1", "slug": "x", "description": "d", "arch": ["amd64"]}
    return Manifest.from_config(validate_manifest({**least, **keys})[0])


@pytest.mark.parametrize(
    ("keys", "gone"),
    [
        ({"arch": ["amd64"]}, False),
        ({"arch": ["armv7", "amd64"]}, False),
        ({"arch": ["armv7", "i386"]}, True),
        ({"machine": ["raspberrypi3"]}, True),
        ({"machine": ["raspberrypi3", "raspberrypi4-64"]}, False),
        ({"machine": ["!raspberrypi3"]}, False),
    ],
)
async def test_an_add_on_for_machines_of_the_past_only_is_told(house: House, keys: dict[str, Any], gone: bool) -> None:
    assert is_for_gone_machines(manifest(**keys)) is gone
    await house.install(**keys)
    await look(house, DeprecatedArchCheck(house.registry, house.resolution))
    assert house.issues() == ([("deprecated_arch_app", "local_lamp")] if gone else [])
    assert house.suggestions() == (["execute_remove"] if gone else [])


async def test_a_deprecated_add_on_is_told_until_it_is_gone(house: House) -> None:
    check = DeprecatedCheck(house.registry, house.resolution)
    await house.install(stage="deprecated")
    await house.install("local_fine")
    await look(house, check)
    assert house.issues() == [("deprecated_app", "local_lamp")]
    (suggestion,) = house.resolution.suggestions
    assert house.resolution.helped_by(suggestion), "it is attached to its issue"
    await house.registry.remove("local_lamp")
    await look(house, check)
    assert house.issues() == []


async def test_what_no_repository_offers_is_told_apart_by_whether_its_repository_is_known(
    house: House, tmp_path: Path
) -> None:
    (tmp_path / "addons" / "local").mkdir(parents=True)
    await house.store.load()
    await house.store.stop()
    await house.install("local_removed")
    missing = await house.install("ffffffff_missing")
    await house.registry.change(missing, repository="ffffffff")
    unknown = await house.install("a0d7b954_notyet")
    await house.registry.change(unknown, repository="a0d7b954")
    found = (
        DetachedMissingCheck(house.registry, house.resolution, house.store),
        DetachedRemovedCheck(house.registry, house.resolution, house.store),
    )
    for check in found:
        await look(house, check)
    assert house.issues() == [
        ("detached_app_missing", "ffffffff_missing"),
        ("detached_app_removed", "local_removed"),
    ], "a repository that is not cloned yet says nothing"
    assert house.suggestions() == ["execute_remove"]


async def test_a_port_conflict_goes_when_the_port_is_no_longer_asked_for(house: House) -> None:
    lamp = await house.install(ports={"80/tcp": 8080})
    house.engine.refuse = [port_taken(8080)]
    with pytest.raises(SupervisorError):
        await house.runner.start(lamp)
    check = PortConflictCheck(house.registry)
    await look(house, check)
    assert house.issues() == [("app_port_conflict", "local_lamp")]
    await house.registry.change(lamp, network={"80/tcp": 8081})
    await look(house, check)
    assert house.issues() == []


class Leaks:
    """What a `Security` and a `Connectivity` answer, as told."""

    def __init__(self) -> None:
        self.pwned = True
        self.online = True
        self.bad: set[str] = set()
        self.asked = 0

    async def leaked(self, hashes: set[str]) -> bool | None:
        self.asked += 1
        return bool(self.bad & set(hashes))

    async def check(self) -> bool:
        return self.online


@attrs.define
class Clock:
    now: float = 0.0

    def __call__(self) -> float:
        return self.now


async def test_a_leaked_password_is_told_and_asked_about_once_a_day(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock()
    monkeypatch.setattr(checks.time, "monotonic", clock)
    leaks = Leaks()
    leaks.bad = {hashlib.sha1(b"hunter2").hexdigest().upper()}
    options = AddonOptions(SecretsFile(house.paths.homeassistant / "secrets.yaml"), house.host)
    check = PwnedCheck(house.registry, house.resolution, options, leaks, leaks)  # type: ignore[arg-type] - as told
    keys: dict[str, Any] = {"options": {"word": "x"}, "schema": {"word": "password"}}
    lamp = await house.install(user={"options": {"word": "hunter2"}}, **keys)
    await house.install("local_fine", user={"options": {"word": "a better one"}}, **keys)
    await house.install("local_none")
    await house.runner.start(lamp)
    leaks.online = False
    await look(house, check)
    assert (leaks.asked, house.issues()) == (0, [])
    leaks.online = True
    await look(house, check)
    assert (leaks.asked, house.issues(), house.suggestions()) == (2, [("pwned", "local_lamp")], ["execute_stop"])
    clock.now += 3600
    await look(house, check)
    assert leaks.asked == 3, "only whether the known one still stands"
    await house.registry.change(lamp, options={"word": "another"})
    clock.now += 24 * 3600
    await look(house, check)
    assert house.issues() == []
    leaks.pwned = False
    await house.registry.change(lamp, options={"word": "hunter2"})
    clock.now += 24 * 3600
    await look(house, check)
    assert house.issues() == []


async def test_free_space_is_told_while_it_is_short(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    free = 1024

    async def free_bytes() -> int:
        return free

    monkeypatch.setattr(house.host, "free_bytes", free_bytes)
    check = FreeSpaceCheck(house.host, house.resolution)
    await look(house, check)
    assert house.issues() == [("free_space", None)]
    free = 10 * 1024**3
    await look(house, check)
    assert house.issues() == []


async def test_the_machine_is_judged_by_what_the_kernel_shows(tmp_path: Path, house: House) -> None:
    switch, bus, environment, socket = (tmp_path / name for name in ("enabled", "bus", "environ", "lxd"))
    assert await AppArmorEvaluation(switch).unsupported() is True
    switch.write_text("N\n")
    assert await AppArmorEvaluation(switch).unsupported() is True
    switch.write_text("Y\n")
    assert await AppArmorEvaluation(switch).unsupported() is False
    assert await SystemBusEvaluation(bus).unsupported() is True
    bus.touch()
    assert await SystemBusEvaluation(bus).unsupported() is False
    assert await LxcEvaluation(environment, socket).unsupported() is False
    environment.write_bytes(b"PATH=/bin\0container=lxc-libvirt\0")
    assert await LxcEvaluation(environment, socket).unsupported() is False
    environment.write_bytes(b"PATH=/bin\0container=lxc\0")
    assert await LxcEvaluation(environment, socket).unsupported() is True
    environment.unlink()
    socket.touch()
    assert await LxcEvaluation(environment, socket).unsupported() is True
    assert await ArchitectureEvaluation(house.host).unsupported() is False
    house.host.arch = "armv7"
    assert await ArchitectureEvaluation(house.host).unsupported() is True
    assert await JobConditionsEvaluation(house.jobs).unsupported() is False
    await house.jobs.set_ignore_conditions([JobCondition.HEALTHY])
    assert await JobConditionsEvaluation(house.jobs).unsupported() is True


@pytest.mark.parametrize(
    ("image", "name"),
    [
        ("redis", "redis"),
        ("redis:7", "redis"),
        ("registry:5000/tools/redis", "registry:5000/tools/redis"),
        ("registry:5000/tools/redis:7", "registry:5000/tools/redis"),
        ("ghcr.io/x/y@sha256:00ff", "ghcr.io/x/y"),
        ("ghcr.io/x/y:1@sha256:00ff", "ghcr.io/x/y"),
    ],
)
def test_an_image_s_name_is_told_from_its_tag_and_its_registry_s_port(image: str, name: str) -> None:
    assert repository_of(image) == name


NAME = st.from_regex(r"[a-z0-9]{1,5}(:[0-9]{1,4}/[a-z]{1,5})?(/[a-z0-9]{1,5}){0,2}", fullmatch=True)


@given(NAME, st.from_regex(r"[A-Za-z0-9_.-]{1,8}", fullmatch=True))
def test_the_tag_never_counts(name: str, tag: str) -> None:
    assert repository_of(f"{name}:{tag}") == repository_of(f"{name}@sha256:00") == name


class Addons:
    """The face of the add-ons' room, as far as fix-ups use it."""

    def __init__(self, house: House) -> None:
        self.registry = house.registry
        self.runner = house.runner
        self.installer = self
        self.repairs = self
        self.done: list[str] = []

    async def set_options(self, addon: Any, changes: dict[str, Any]) -> None:
        await self.registry.change(addon, **changes)

    async def uninstall(self, slug: str, *, remove_config: bool) -> None:
        self.done.append(f"uninstall {slug} {remove_config}")

    async def repair(self, addon: Any) -> None:
        self.done.append(f"repair {addon.slug}")


async def apply(house: House, addons: Addons, type_: SuggestionType, **extra: Any) -> None:
    fixups = Fixups(house.resolution, house.jobs)
    fixups.add(AddonFixups(addons).fixups())  # type: ignore[arg-type] - as far as they use it
    await fixups.apply(Suggestion(type_, ADDON, "local_lamp", extra or None))


async def test_what_helps_an_add_on_does_what_it_says(house: House) -> None:
    addons = Addons(house)
    lamp = await house.install(ports={"80/tcp": 8080, "81/tcp": 8081}, user={"network": {"81/tcp": 9}})
    await apply(house, addons, SuggestionType.CLEAR_PORT_CONFIG, port=8080)
    assert (lamp.record.network, lamp.state) == ({"81/tcp": 9, "80/tcp": None}, AddonState.STARTED)
    await apply(house, addons, SuggestionType.EXECUTE_RESTART)
    await apply(house, addons, SuggestionType.EXECUTE_REBUILD)
    assert len(house.engine.specs) == 3
    await apply(house, addons, SuggestionType.EXECUTE_STOP)
    assert (lamp.state, lamp.record.should_run) == (AddonState.STOPPED, False)
    await apply(house, addons, SuggestionType.EXECUTE_REBUILD)
    assert len(house.engine.specs) == 3, "what does not run gets its new container with the next start"
    await apply(house, addons, SuggestionType.DISABLE_BOOT)
    assert lamp.record.boot == "manual"
    await apply(house, addons, SuggestionType.EXECUTE_REPAIR)
    await apply(house, addons, SuggestionType.EXECUTE_REMOVE)
    assert addons.done == ["repair local_lamp", "uninstall local_lamp False"]


async def test_a_container_that_ended_goes_with_a_rebuild(house: House) -> None:
    addons = Addons(house)
    lamp = await house.install()
    await house.runner.start(lamp)
    house.engine.end(lamp.container_name, 0)
    await apply(house, addons, SuggestionType.EXECUTE_REBUILD)
    assert (lamp.container_name in house.engine.present, lamp.record.should_run) == (False, True)


@pytest.mark.parametrize("type_", [SuggestionType.EXECUTE_START, SuggestionType.EXECUTE_RESTART])
async def test_a_start_that_does_not_last_has_not_helped(house: House, type_: SuggestionType) -> None:
    await house.install()
    house.engine.crash = [1]
    with pytest.raises(Internal, match="did not stay"):
        await apply(house, Addons(house), type_)


async def test_a_start_has_not_helped_either_when_the_engine_has_not_told_of_its_end_yet(house: House) -> None:
    lamp = await house.install()
    run = house.engine.run

    async def ends_unheard(spec: Any) -> Any:
        info = await run(spec)
        house.engine.present[spec.name]["State"] = {"Status": "exited", "Running": False, "ExitCode": 1}
        return info

    house.engine.run = ends_unheard
    with pytest.raises(Internal, match="did not stay"):
        await apply(house, Addons(house), SuggestionType.EXECUTE_START)
    assert lamp.state is AddonState.ERROR


@pytest.mark.parametrize("type_", sorted({type_ for context, type_ in REMEDIES if context == ADDON}))
async def test_an_add_on_that_is_gone_needs_no_help(house: House, type_: SuggestionType) -> None:
    addons = Addons(house)
    await apply(house, addons, type_)
    assert (addons.done, house.engine.specs) == ([], [])


class Store:
    """The face of the store, as far as fix-ups use it."""

    def __init__(self) -> None:
        self.repositories = {"ffffffff": object()}
        self.done: list[str] = []
        self.error: SupervisorError | None = None

    async def reload(self, slug: str) -> None:
        self.done.append(f"reload {slug}")

    async def repair_repository(self, slug: str) -> None:
        self.done.append(f"reset {slug}")
        if self.error is not None:
            raise self.error

    async def remove_repository(self, slug: str, *, in_use: Any) -> None:
        self.done.append(f"remove {slug} {list(in_use)}")


async def test_what_helps_a_repository_does_what_it_says_and_a_reset_in_vain_is_not_suggested_again(
    house: House,
) -> None:
    store = Store()
    fixups = Fixups(house.resolution, house.jobs)
    fixups.add(StoreFixups(store, house.resolution, lambda: ["local"]).fixups())  # type: ignore[arg-type] - as above
    helps = (SuggestionType.EXECUTE_RELOAD, SuggestionType.EXECUTE_RESET, SuggestionType.EXECUTE_REMOVE)
    for type_ in helps:
        await fixups.apply(Suggestion(type_, STORE, "ffffffff"))
        await fixups.apply(Suggestion(type_, STORE, "gone"))
    assert store.done == ["reload ffffffff", "reset ffffffff", "remove ffffffff ['local']"]
    house.resolution.raise_issue(IssueType.CORRUPT_REPOSITORY, STORE, reference="ffffffff", suggestions=helps[1:])
    reset = house.resolution.suggestions[0]
    store.error = Internal("away")
    with pytest.raises(Internal):
        await fixups.apply(reset)
    assert reset in house.resolution.suggestions
    store.error = Invalid("no repository of add-ons")
    with pytest.raises(Invalid):
        await fixups.apply(reset)
    assert house.suggestions() == ["execute_remove"]
    assert house.issues() == [("corrupt_repository", "ffffffff")]


class Logins:
    def __init__(self) -> None:
        self.registries: dict[str, dict[str, str]] = {}


async def test_a_login_is_asked_for_until_there_is_one(house: House) -> None:
    docker = Logins()
    fixups = Fixups(house.resolution, house.jobs)
    fixups.add(DockerFixups(docker, house.resolution, fixups).fixups())  # type: ignore[arg-type] - it asks for logins
    house.resolution.raise_issue(IssueType.DOCKER_RATELIMIT, SYSTEM, suggestions=(SuggestionType.REGISTRY_LOGIN,))
    (suggestion,) = house.resolution.suggestions
    with pytest.raises(Invalid, match="supervisor docker login"):
        await fixups.apply(suggestion)
    docker.registries = {"docker.io": {"username": "u", "password": "p"}}
    await fixups.apply(suggestion)
    assert house.issues() == []


async def test_rebuilding_all_rebuilds_each_that_needs_it(house: House) -> None:
    fixups = Fixups(house.resolution, house.jobs)
    addons = Addons(house)
    fixups.add(AddonFixups(addons).fixups())  # type: ignore[arg-type] - as above
    fixups.add(DockerFixups(Logins(), house.resolution, fixups).fixups())  # type: ignore[arg-type] - as above
    lamp = await house.install()
    await house.runner.start(lamp)
    for context, reference in ((ADDON, "local_lamp"), (ADDON, "local_gone"), (SYSTEM, None)):
        house.resolution.raise_issue(
            IssueType.DOCKER_CONFIG, context, reference=reference, suggestions=(SuggestionType.EXECUTE_REBUILD,)
        )
    await fixups.apply(house.resolution.suggestions[-1])
    assert (house.issues(), house.suggestions()) == ([], [])
    assert len(house.engine.specs) == 2


def test_every_remedy_has_a_fix_up_here_or_belongs_to_a_part_that_is_not_built_yet(house: House) -> None:
    fixups = Fixups(house.resolution, house.jobs)
    for room in (
        AddonFixups(Addons(house)),  # type: ignore[arg-type] - as above
        StoreFixups(Store(), house.resolution, list),  # type: ignore[arg-type] - as above
        DockerFixups(Logins(), house.resolution, fixups),  # type: ignore[arg-type] - as above
    ):
        fixups.add(room.fixups())
    of_others = {
        (SYSTEM, type_)
        for type_ in (
            SuggestionType.ADOPT_DATA_DISK,
            SuggestionType.CLEAR_FULL_BACKUP,
            SuggestionType.CREATE_FULL_BACKUP,
            SuggestionType.ENABLE_NTP,
            SuggestionType.EXECUTE_REBOOT,
            SuggestionType.EXECUTE_RESET,
            SuggestionType.EXECUTE_RESTART,
            SuggestionType.RENAME_DATA_DISK,
        )
    }
    ours = {known for known in REMEDIES if known[0] in (ADDON, STORE, SYSTEM)}
    assert ours - of_others <= fixups.known
