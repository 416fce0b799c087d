"""The OS agent's stand-in on the box's bus, as the daemon uses it for add-ons."""

from __future__ import annotations

from box_daemon import AgentService, BoxDaemon
from daemon import until
from hostbox.box import Box


async def test_an_agent_that_comes_while_the_daemon_runs_loads_the_profiles(
    host: BoxDaemon, box: Box, os_agent: AgentService
) -> None:
    folder = "/mnt/data/supervisor/apparmor"
    profile = "profile local_box_lamp {\n  file,\n}\n"
    await box.ask("sh", "-c", f"cat > {folder}/local_box_lamp", stdin=profile)
    try:
        os_agent.start()

        async def loaded() -> bool:
            return ["LoadProfile", f"{folder}/local_box_lamp", f"{folder}/cache"] in os_agent.calls

        await until(loaded, 30)
        os_agent.stop()
        os_agent.start(calls=[])
        await until(loaded, 30)
    finally:
        await box.ask("rm", f"{folder}/local_box_lamp")
    assert (await host.get("/host/info"))["features"].count("os_agent") == 1
