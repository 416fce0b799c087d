"""Add-ons for the tests with an engine: what they run, and how to look into them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from addon_house import House
from supervisor.managers.addons import Addon

# Ends at once when it is asked to, as a well-made program does.
STAYS = "trap 'exit 0' TERM; while :; do sleep 0.05; done"
SLUG = "svtest_lamp"

MakeImage = Callable[..., None]


async def output(house: House, addon: Addon, command: str) -> str:
    """Return what a shell inside says."""
    result = await house.engine.containers.exec(addon.container_name, ["sh", "-c", command], timeout=30)
    assert result.exit_code == 0, result.output
    return str(result.output.decode()).strip()


async def lamp(house: House, **keys: Any) -> Addon:
    """Install the add-on of the image that `make_image` made."""
    return await house.install(SLUG, **{"init": False, **keys})
