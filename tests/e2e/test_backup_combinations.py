"""Parts of a machine come back from every kind of backup: open or encrypted, compressed or not, file or repository."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from test_backups import COLD, HOT, PASSWORD, destroy, folders, house
from test_repository_backups import add_repository

from daemon import Daemon
from file_trees import attributes_of

__all__ = ["house"]
pytestmark = pytest.mark.timeout(240)
EVERYTHING = {"homeassistant": True, "addons": [HOT, COLD], "folders": ["share", "ssl", "media", "addons/local"]}


def spoil(house: Daemon) -> None:
    """Change or remove all that the backup holds, with the add-ons still there."""
    destroy(house)
    for slug in (HOT, COLD):
        data = house.data / "addons" / "data" / slug
        (data / "text").unlink()
        (data / "sub" / "script").chmod(0o777)
        (data / "intruder").write_text("must go")


@pytest.mark.parametrize("password", [None, PASSWORD], ids=["open", "encrypted"])
@pytest.mark.parametrize("compressed", [True, False], ids=["gz", "plain"])
async def test_all_parts_come_back_one_by_one(house: Daemon, password: str | None, *, compressed: bool) -> None:
    wish = {**EVERYTHING, "name": "Parts", "password": password, "compressed": compressed}
    await comes_back(house, wish, {"password": password})


async def test_all_parts_come_back_from_a_repository(house: Daemon, tmp_path: Path) -> None:
    await add_repository(house, tmp_path)
    await comes_back(house, {**EVERYTHING, "name": "Parts", "location": "repository:nas"}, {})


async def comes_back(house: Daemon, wish: dict[str, Any], key: dict[str, Any]) -> None:
    text = house.data / "addons" / "data" / HOT / "text"
    marks, owner = attributes_of(text), text.stat()
    assert (owner.st_uid, owner.st_gid) == (1000, 1001)
    before = folders(house)
    made = await house.post("/backups/new/partial", wish)
    assert (await house.get(f"/jobs/{made['job_id']}"))["errors"] == []
    info = await house.get(f"/backups/{made['slug']}/info")
    assert info["type"] == "partial"
    spoil(house)
    for part in (
        {"folders": ["share"]},
        {"folders": ["ssl", "media", "addons/local"]},
        {"homeassistant": True},
        {"addons": [HOT]},
        {"addons": [COLD]},
    ):
        restored = await house.post(f"/backups/{made['slug']}/restore/partial", {**part, **key})
        assert (await house.get(f"/jobs/{restored['job_id']}"))["errors"] == [], part
    after = folders(house)
    before["homeassistant"].pop("home-assistant.log")
    for name in before:
        assert after[name] == before[name], name
    assert attributes_of(text) == marks
    assert not (house.data / "addons" / "data" / HOT / "intruder").exists()
    for addon in (HOT, COLD):
        assert await house.state_of(addon) == "started"
    assert list((house.data / "restore").iterdir()) == []
