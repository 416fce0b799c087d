"""A daemon with an add-on of every role."""

from __future__ import annotations

import attrs

from daemon import Daemon

ROLES = {
    "plain": "",
    "default": "hassio_api: true",
    "homeassistant": "hassio_api: true\nhassio_role: homeassistant",
    "backup": "hassio_api: true\nhassio_role: backup",
    "manager": "hassio_api: true\nhassio_role: manager",
    "admin": "hassio_api: true\nhassio_role: admin",
}
RICH = """\
url: https://example.org/
webui: http://[HOST]:[PORT:80]/
ports: {"80/tcp": 18080, "81/udp": null}
ports_description: {"80/tcp": The page}
ingress: true
uart: true
audio: false
services: ["mqtt:want"]
discovery: [mqtt]
options: {word: a, secret: b, list: [1]}
schema: {word: str, secret: password, list: [int], "pick": "list(a|b)?", nested: [{x: "bool?"}]}
map: [share:rw, {type: ssl}]
privileged: [NET_ADMIN]
"""


@attrs.frozen
class Household:
    """`tokens` by role; everything here lives as long as the session."""

    daemon: Daemon
    tokens: dict[str, str]


async def furnish(daemon: Daemon) -> None:
    for role, more in ROLES.items():
        daemon.add_on(role, more=f"stdin: true\n{more}")
    daemon.add_on("rich", more=RICH)
    daemon.add_on("offered", more=RICH)
    await daemon.start()
    # None can't be set: a test that sets one could not put it back.
    await daemon.post("/supervisor/options", {"country": "AT"})
    for role in ROLES:
        await daemon.install(f"local_{role}", start=True)
    await daemon.install("local_rich")
    await daemon.close_session()
