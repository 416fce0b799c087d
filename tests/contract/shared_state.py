"""What a test leaves on the daemon that all share: settings are put back, anything else is the test's own matter."""

from __future__ import annotations

import json
from typing import Any

from daemon import Daemon

# Where settings are shown, where they are set, and which.
SETTINGS = {
    "/supervisor/info": (
        "/supervisor/options",
        ("timezone", "logging", "debug", "debug_block", "diagnostics", "wait_boot", "country", "channel"),
    ),
    "/docker/info": ("/docker/options", ("enable_ipv6", "mtu")),
    "/backups/info": ("/backups/options", ("days_until_stale",)),
    "/backups/verification": ("/backups/verification", ("cron", "time_zone", "share", "enabled")),
    "/backups/update_retention": ("/backups/update_retention", ("retention", "automatic")),
    "/host/service/rules": ("/host/service/rules", ("allowed", "refused")),
    "/jobs/info": ("/jobs/options", ("ignore_conditions",)),
}
# Where the rest is shown, and as what.
THINGS = {
    "/backups": "backups",
    "/backups/repositories": "repositories",
    "/backups/schedules": "schedules",
    "/docker/mirrors": "mirrors",
    "/docker/registries": "registries",
    "/jobs/info": "jobs",
    "/mounts": "mounts",
}
FOLDERS = ("addons/local", "addons/data", "addon_configs", "backup", "media", "share", "ssl")
FILES = {"discovery.json": {"discovery": []}, "services.json": {"mqtt": {}, "mysql": {}}}


async def settings(daemon: Daemon) -> dict[tuple[str, str], Any]:
    found = {}
    for shown, (_, keys) in SETTINGS.items():
        answer = await daemon.get(shown)
        found |= {(shown, key): answer.get(key) for key in keys}
    return found


async def put_back(daemon: Daemon, before: dict[tuple[str, str], Any]) -> None:
    """Set again what is other than it was."""
    for (shown, key), value in (await settings(daemon)).items():
        if value != before[shown, key]:
            await daemon.post(SETTINGS[shown][0], {key: before[shown, key]})


async def things(daemon: Daemon) -> dict[str, Any]:
    """Return everything else that one test could leave to another."""
    found: dict[str, Any] = {path: (await daemon.get(path))[key] for path, key in THINGS.items()}
    addons = (await daemon.get("/addons"))["addons"]
    found["add-ons"] = sorted((addon["slug"], addon["version"], addon["state"]) for addon in addons)
    found["store"] = sorted(one["slug"] for one in await daemon.get("/store/repositories"))
    for folder in FOLDERS:
        found[folder] = sorted(path.name for path in (daemon.data / folder).glob("*"))
    for name, nothing in FILES.items():
        file = daemon.data / name
        found[name] = json.loads(file.read_text()) if file.exists() else nothing
    return found
