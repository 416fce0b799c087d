"""Updates by themselves, only when that is safe (add-on contract §3.4)."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from addon_house import House
from supervisor.errors import Blocked, Internal
from supervisor.jobs import JobCondition
from supervisor.managers.addons import Addon
from supervisor.managers.addons.auto_update import SEASONING_SECONDS, AutoUpdates, crossed
from supervisor.managers.addons.installer import INSTALL_CONDITIONS
from supervisor.managers.addons.options import AddonOptions
from supervisor.managers.addons.secrets import SecretsFile
from supervisor.managers.resolution import ContextType, IssueType

pytestmark = pytest.mark.usefixtures("no_blocking_calls")


async def holds() -> str | None:
    return None


async def fails() -> str | None:
    return "the system is not healthy"


class Stage:
    """A store folder with versions; `updated` are the add-ons that were."""

    def __init__(self, root: Path) -> None:
        self.house = House(root)
        self.updated: list[str] = []
        self.now = 1e12
        self.failing: set[str] = set()
        self.auto = AutoUpdates(
            self.house.jobs,
            self.house.registry,
            self.house.store,
            AddonOptions(SecretsFile(root / "secrets.yaml"), self.house.host),
            self.house.resolution,
            self.update,
            now=lambda: self.now,
        )
        for condition in (*INSTALL_CONDITIONS, JobCondition.RUNNING):
            self.house.jobs.provide(condition, holds)

    async def update(self, slug: str) -> None:
        self.updated.append(slug)
        if slug in self.failing:
            raise Internal("it did not work")

    async def offer(self, slug: str, version: str, *, more: Iterable[str] = (), **user: Any) -> Addon:
        folder = self.house.paths.addons_local / slug
        folder.mkdir(parents=True)
        lines = [f"name: {slug}", f'version: "{version}"', f"slug: {slug}", "description: d", "arch: [amd64]", *more]
        (folder / "config.yaml").write_text("\n".join(lines))
        return await self.house.install(f"local_{slug}", user={"auto_update": True, **user})

    async def run(self) -> list[str]:
        await self.house.store.load()
        await self.auto.run()
        return self.updated


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    return Stage(tmp_path)


async def test_who_wants_it_and_has_a_newer_version_is_updated(stage: Stage) -> None:
    await stage.offer("new", "2")
    await stage.offer("same", "1")
    await stage.offer("unasked", "2", auto_update=False)
    await stage.house.install("local_detached", user={"auto_update": True})
    assert await stage.run() == ["local_new"]


async def test_one_that_fails_does_not_hold_up_the_next(stage: Stage) -> None:
    for slug in ("a", "b"):
        await stage.offer(slug, "2")
    stage.failing = {"local_a"}
    assert sorted(await stage.run()) == ["local_a", "local_b"]


async def test_a_version_has_to_be_a_day_old(stage: Stage) -> None:
    await stage.offer("new", "2")
    await stage.house.store.load()
    seen = stage.house.store.addons["local_new"].version_timestamp
    stage.now = seen + SEASONING_SECONDS - 1
    await stage.auto.run()
    assert stage.updated == []
    stage.now += 1
    await stage.auto.run()
    assert stage.updated == ["local_new"]


async def test_options_that_would_not_fit_hold_it_back(stage: Stage) -> None:
    await stage.offer("picky", "2", more=["options: {}", "schema: {word: str}"])
    await stage.offer("content", "2", more=["options: {word: a}", "schema: {word: str}"])
    await stage.offer("filled", "2", more=["schema: {word: str}"], options={"word": "b"})
    assert sorted(await stage.run()) == ["local_content", "local_filled"]


async def test_a_version_that_was_left_again_is_not_tried_twice(stage: Stage) -> None:
    await stage.offer("bad", "2")
    await stage.offer("good", "2")
    for slug, version in (("local_bad", "2"), ("local_good", "1.5")):
        extra = {"failed_version": version}
        stage.house.resolution.raise_issue(IssueType.UPDATE_ROLLBACK, ContextType.ADDON, reference=slug, extra=extra)
    assert await stage.run() == ["local_good"]


async def test_nothing_is_updated_under_the_conditions_of_updates(stage: Stage) -> None:
    await stage.offer("new", "2")
    await stage.house.store.load()
    stage.house.jobs.provide(JobCondition.HEALTHY, fails)
    with pytest.raises(Blocked):
        await stage.auto.run()
    assert stage.updated == []


@pytest.mark.parametrize(
    ("installed", "latest", "breaking", "met"),
    [
        ("1.0", "1.1", ("2.0",), "2.0"),
        ("1.0", "2.0", ("2.0",), "2.0"),
        ("1.0", "3.0", ("2.0",), "2.0"),
        ("2.0", "3.0", ("2.0",), None),
        ("2.1", "3.0", ("2.0",), None),
        ("1.0", "2.0", (), None),
        ("weird", "2.0", ("1.5",), "1.5"),
        ("weird", "1.0", ("1.5",), None),
        ("1.0", "2.0", ("weird",), "weird"),
    ],
)
def test_a_breaking_version_above_the_installed_one_is_not_crossed(
    installed: str, latest: str, breaking: tuple[str, ...], met: str | None
) -> None:
    assert crossed(installed, latest, breaking) == met


@given(st.tuples(*[st.integers(0, 20)] * 3))
def test_numbers_are_compared_as_numbers(numbers: tuple[int, int, int]) -> None:
    installed, latest, breaking = numbers
    met = crossed(f"1.{installed}", f"1.{latest}", (f"1.{breaking}",))
    assert (met is not None) == (breaking > installed)
