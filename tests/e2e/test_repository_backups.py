"""Backups in repositories and by schedule, as users make and need them, on a real engine."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
from test_backups import COLD, HOT, destroy, folders, house

from daemon import Daemon, until

__all__ = ["house"]
pytestmark = pytest.mark.timeout(600)
PASSWORD = "battery staple"


async def add_repository(house: Daemon, folder: Path) -> None:
    body = {"name": "nas", "place": str(folder / "repository"), "password": PASSWORD}
    await house.post("/backups/repositories", body)


async def listed(house: Daemon) -> list[dict[str, Any]]:
    return list((await house.get("/backups"))["backups"])


async def test_everything_comes_back_from_a_repository(house: Daemon, tmp_path: Path) -> None:
    await add_repository(house, tmp_path)
    before = folders(house)
    made = await house.post("/backups/new/full", {"name": "All", "location": "repository:nas"})
    slug = made["slug"]
    job = await house.get(f"/jobs/{made['job_id']}")
    assert (job["reference"], job["done"], job["errors"], job["progress"]) == (slug, True, [], 100)
    (item,) = await listed(house)
    assert (item["slug"], item["location"], item["locations"]) == (slug, "repository:nas", ["repository:nas"])
    assert item["size_bytes"] > 1_000_000
    info = await house.get(f"/backups/{slug}/info")
    assert {addon["slug"] for addon in info["addons"]} == {HOT, COLD}
    assert sorted(info["folders"]) == ["addons/local", "media", "share", "ssl"]
    assert info["homeassistant"] == "2026.4.1"
    assert (house.data / "addons" / "data" / HOT / "hooks").read_text() == "before\nafter\n"
    assert await house.state_of(COLD) == "started"
    assert (await house.ask("GET", f"/backups/{slug}/download")).status == 400

    for addon in (HOT, COLD):
        await house.post(f"/addons/{addon}/uninstall", {"remove_config": True})
    destroy(house)
    restored = await house.post(f"/backups/{slug}/restore/full")
    assert (await house.get(f"/jobs/{restored['job_id']}"))["errors"] == []
    after = folders(house)
    # What is left out of archives is left out here, too.
    before["homeassistant"].pop("home-assistant.log")
    for name in before:
        if name != "addons/local":
            assert after[name] == before[name], name
    assert (await house.get(f"/addons/{HOT}/info"))["options"] == {"word": "chosen"}
    for addon in (HOT, COLD):
        await until(lambda addon=addon: _started(house, addon), 60)
    assert (await house.post(f"/backups/{slug}/verify"))["good"]
    await house.ask("DELETE", f"/backups/{slug}")
    assert await listed(house) == []
    assert (await house.get("/backups/repositories/nas/backups"))["backups"] == []


async def _started(house: Daemon, addon: str) -> bool:
    return await house.state_of(addon) == "started"


async def test_repository_backups_are_there_again_after_a_restart_and_parts_of_them_come_back(
    house: Daemon, tmp_path: Path
) -> None:
    await add_repository(house, tmp_path)
    body = {"name": "Some", "location": "repository:nas", "addons": [COLD], "folders": ["share"]}
    slug = (await house.post("/backups/new/partial", body))["slug"]
    text = (house.data / "share" / "text").read_bytes()
    await house.end()
    await house.start()
    await until(lambda: _holds(house, slug), 60)
    (house.data / "share" / "text").write_text("spoiled")
    cold = house.data / "addons" / "data" / COLD / "text"
    cold.write_text("spoiled")
    listing = await house.get(f"/backups/repositories/nas/backups/{slug}/files?path=share")
    assert "share/text" in {entry["path"] for entry in listing["entries"]}
    await house.post(f"/backups/repositories/nas/backups/{slug}/restore/path", {"path": "share/text"})
    assert (house.data / "share" / "text").read_bytes() == text
    assert cold.read_text() == "spoiled"
    content = await house.ask("GET", f"/backups/repositories/nas/backups/{slug}/content?path={COLD}/data/text")
    assert content.text == f"{COLD}\n" * 50_000
    await house.post(f"/backups/{slug}/restore/partial", {"addons": [COLD]})
    assert cold.read_text() == f"{COLD}\n" * 50_000


async def _holds(house: Daemon, slug: str) -> bool:
    return slug in {item["slug"] for item in await listed(house)}


async def test_a_schedule_makes_backups_of_both_kinds_and_keeps_as_many_as_it_shall(
    house: Daemon, tmp_path: Path
) -> None:
    await add_repository(house, tmp_path)
    wish = {
        "name": "nightly",
        # A day that does not come while the test runs: it would make one backup more.
        "cron": "30 3 29 2 *",
        "time_zone": "Europe/Berlin",
        "contents": {"folders": ["ssl"], "addons": [HOT]},
        "locations": [None, "repository:nas"],
        "retention": {"last": 2},
        "password": PASSWORD,
    }
    schedule = await house.post("/backups/schedules", wish)
    assert schedule["password"] is True
    assert PASSWORD not in str(schedule)
    assert schedule["next_due"]
    by_hand = (await house.post("/backups/new/partial", {"folders": ["ssl"]}))["slug"]
    for _ in range(3):
        await house.post(f"/backups/schedules/{schedule['id']}/run")
    found = await listed(house)
    assert len([one for one in found if one["locations"] == [None]]) == 3
    assert len([one for one in found if one["locations"] == ["repository:nas"]]) == 2
    assert by_hand in {one["slug"] for one in found}
    shown = await house.get(f"/backups/schedules/{schedule['id']}")
    assert shown["last_slug"] in {one["slug"] for one in found}
    assert shown["last_error"] is None


async def test_a_schedule_that_can_not_work_makes_an_issue(house: Daemon, tmp_path: Path) -> None:
    wish = {"name": "lost", "cron": "0 0 1 1 *", "locations": ["repository:gone"]}
    schedule = await house.post("/backups/schedules", wish)
    assert (await house.ask("POST", f"/backups/schedules/{schedule['id']}/run")).status == 404
    issues = (await house.get("/resolution/info"))["issues"]
    assert ("backup_schedule_failed", schedule["id"]) in {(one["type"], one["reference"]) for one in issues}
    assert (await house.get(f"/backups/schedules/{schedule['id']}"))["last_error"]


async def test_a_schedule_that_can_not_save_everything_makes_an_issue_until_it_can(daemon: Daemon) -> None:
    slug = daemon.add_on("lamp", more="backup_pre: \"sh -c 'test -e /data/ready'\"")
    await daemon.start()
    await daemon.install(slug, start=True)
    wish = {"name": "all", "cron": "0 0 1 1 *", "contents": {"addons": "ALL", "folders": ["ssl"]}}
    path = f"/backups/schedules/{(await daemon.post('/backups/schedules', wish))['id']}"
    for ready in (False, True):
        await daemon.post(f"{path}/run")
        shown = await daemon.get(path)
        (made,) = [one for one in await listed(daemon) if one["slug"] == shown["last_slug"]]
        assert made["content"]["addons"] == ([slug] if ready else [])
        assert (shown["last_error"] is None) is ready, shown["last_error"]
        issues = [issue["type"] for issue in (await daemon.get("/resolution/info"))["issues"]]
        assert ("backup_schedule_failed" in issues) is not ready
        (daemon.data / "addons" / "data" / slug / "ready").touch()


async def test_an_update_can_make_a_backup_first_and_old_ones_go(house: Daemon) -> None:
    await house.post("/backups/update_retention", {"retention": {"last": 1}})
    for version in ("1.1", "1.2"):
        house.add_on("cold", version, more="backup: cold\nbackup_exclude: []")
        await house.post("/store/reload")
        await house.post(f"/store/addons/{COLD}/update", {"backup": True})
    (only,) = await listed(house)
    assert only["name"] == f"addon_{COLD}_1.1"
    assert only["content"] == {"homeassistant": False, "addons": [COLD], "folders": []}
    assert (await house.get(f"/addons/{COLD}/info"))["version"] == "1.2"


@pytest.mark.parametrize("saved", [True, False])
async def test_an_update_that_nobody_asked_for_saves_the_add_on_first_unless_it_shall_not(
    daemon: Daemon, *, saved: bool
) -> None:
    daemon.launcher = [sys.executable, str(Path(__file__).parent / "hasty_daemon.py")]
    slug = daemon.add_on("lamp", "1.0")
    await daemon.start()
    await daemon.install(slug, start=True)
    assert (await daemon.get("/backups/update_retention"))["automatic"] is True
    if not saved:
        await daemon.post("/backups/update_retention", {"automatic": False})
    await daemon.post(f"/addons/{slug}/options", {"auto_update": True})
    daemon.add_on("lamp", "1.1")
    await daemon.post("/store/reload")

    async def updated() -> bool:
        info = await daemon.get(f"/addons/{slug}/info")
        return (info["version"], info["state"]) == ("1.1", "started")

    await until(updated, 60, lambda: daemon.log)
    found = (await daemon.get("/backups"))["backups"]
    assert [backup["name"] for backup in found] == ([f"addon_{slug}_1.0"] if saved else [])
    assert (await daemon.get("/backups/update_retention"))["retention"]["last"] == 3
