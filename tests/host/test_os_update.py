"""Updates of the operating system in a box that says it is Home Assistant's: real RAUC, real bundles, real reboots."""

from __future__ import annotations

import asyncio
import json
import sys
import threading
import time
from collections.abc import AsyncIterator, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import attrs
import pytest
import pytest_asyncio

from box_daemon import BoxDaemon, booted, daemon_of
from daemon import until
from hostbox.box import Box
from hostbox.network import Net, address

pytestmark = pytest.mark.timeout(600)

OS_RELEASE = """\
PRETTY_NAME="Home Assistant OS {version}"
NAME="Home Assistant OS"
ID=haos
VERSION_CODENAME=bookworm
CPE_NAME="cpe:2.3:o:home-assistant:haos:{version}:*:production:*:*:*:ova:*"
"""
SYNC_UNIT = """\
[Service]
Type=oneshot
ExecStart=sh -c 'echo {name} >> /run/synced'
"""
PIECE_BYTES = 128 * 1024


@attrs.define(eq=False)
class Shop:
    """Serves the version file and bundles to boxes; `pause` is how many seconds each piece takes."""

    files: dict[str, bytes] = attrs.field(factory=dict)
    asked: list[str] = attrs.field(factory=list)
    pause: float = 0
    break_after: int | None = None
    claimed_size: int | None = None
    away: bool = False
    url: str = ""

    def offers(self, version: str | None) -> None:
        document = {
            "channel": "stable",
            "supervisor": "2020.1.0",
            "homeassistant": {"default": "2026.1.0"},
            "hassos": {} if version is None else {"ova": version},
            "ota": self.url + "/{version}/{os_name}_{board}-{version}.raucb",
        }
        self.files["/stable.json"] = json.dumps(document).encode()

    def behave(self) -> None:
        self.pause, self.break_after, self.claimed_size, self.away = 0, None, None, False
        self.asked.clear()


def serve(shop: Shop) -> ThreadingHTTPServer:
    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            if shop.away:
                self.close_connection = True
                return
            self.send_response(200)
            self.end_headers()

        def do_GET(self) -> None:
            shop.asked.append(self.path)
            content = shop.files.get(self.path)
            self.send_response(200 if content is not None else 404)
            content = content or b""
            large = len(content) > PIECE_BYTES
            size = shop.claimed_size if large and shop.claimed_size is not None else len(content)
            self.send_header("Content-Length", str(size))
            self.end_headers()
            for begin in range(0, len(content), PIECE_BYTES):
                if large and shop.break_after is not None and begin >= shop.break_after:
                    self.close_connection = True
                    return
                self.wfile.write(content[begin : begin + PIECE_BYTES])
                time.sleep(shop.pause if large else 0)

        def log_message(self, *_: Any) -> None:
            return

    return ThreadingHTTPServer((address(0), 0), Handler)


@pytest.fixture(scope="module")
def shop(net: Net) -> Iterator[Shop]:
    shop = Shop()
    server = serve(shop)
    shop.url = f"http://{address(0)}:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield shop
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture(scope="module")
def machine(disk: Path, net: Net, overlay: Path, shop: Shop) -> Iterator[Box]:
    with booted("haos", disk, net, overlay) as box:
        environment = f"SUPERVISOR_VERSION_URL={shop.url} SUPERVISOR_CONNECTIVITY_URL={shop.url}/online"
        write(box, "/etc/systemd/system/supervisor.service.d/shop.conf", f"[Service]\nEnvironment={environment}\n")
        for name in ("hassos-config", "haos-config"):
            write(box, f"/etc/systemd/system/{name}.service", SYNC_UNIT.format(name=name))
        be(box, "15.2")
        box.run("systemctl", "daemon-reload")
        box.run("systemctl", "enable", "--now", "supervisor")
        for version in ("16.1", "16.2"):
            shop.files[f"/{version}/haos_ova-{version}.raucb"] = bundle(box, version)
        yield box


@pytest_asyncio.fixture
async def daemon(machine: Box, shop: Shop) -> AsyncIterator[BoxDaemon]:
    """The daemon on version 15.2, freshly started; nothing was ever installed, and the shop has 16.1."""
    shop.behave()
    shop.offers("16.1")
    if not machine.running:
        await asyncio.to_thread(machine.up)
    await asyncio.to_thread(be, machine, "15.2")
    forget = "rm -f /var/lib/rauc/status; cd /boot/slots; echo A > primary; echo good > A; echo good > B"
    await machine.ask("sh", "-euc", f"systemctl unmask --runtime rauc; systemctl stop supervisor rauc; {forget}")
    await machine.ask("systemctl", "start", "supervisor")
    async with daemon_of(machine) as daemon:
        await daemon.post("/supervisor/reload")
        yield daemon


def write(box: Box, path: str, content: str) -> None:
    box.run("sh", "-c", f"rm -f {path}; cat > {path}", stdin=content)


def be(box: Box, version: str) -> None:
    """Have the box say that it is this version of the operating system."""
    write(box, "/etc/os-release", OS_RELEASE.format(version=version))
    box.run("systemctl", "stop", "systemd-hostnamed")


def bundle(box: Box, version: str, *, key: str = "/etc/rauc/test") -> bytes:
    """Make an update of some MiB, signed with a key."""
    path = f"/mnt/data/{version}.raucb"
    edits = f"s#truncate -s 1M \\(.*\\)#head -c 1500000 /dev/urandom >> \\1#; s#/etc/rauc/test#{key}#g"
    edits += f"; s#/etc/rauc/keyring.pem#{key}.crt#"
    box.shell(f"sed '{edits}' /usr/bin/make-bundle > /tmp/make && sh /tmp/make {version} {path}")
    made = box.folder / "data" / f"{version}.raucb"
    content = made.read_bytes()
    made.unlink()
    return content


async def slots(box: Box) -> dict[str, Any]:
    """What RAUC itself says."""
    told = json.loads(await box.ask("rauc", "status", "--detailed", "--output-format=json"))
    by_name = {name: slot for entry in told["slots"] for name, slot in entry.items()}
    versions = {
        slot["bootname"]: slot["slot_status"].get("bundle", {}).get("version")
        for slot in by_name.values()
        if slot["bootname"]
    }
    return {"booted": told["booted"], "primary": by_name[told["boot_primary"]]["bootname"], "versions": versions}


async def leftovers(box: Box) -> list[str]:
    """What lies where downloads are kept, and what the kernel still holds of bundles."""
    found = await box.ask(
        "sh", "-c", "ls /mnt/data/supervisor/tmp | grep raucb || true; ls /run/rauc/bundle 2>&1 || true"
    )
    return [line for line in found.splitlines() if "No such file" not in line]


async def issues(daemon: BoxDaemon) -> set[tuple[str, str]]:
    return {(issue["type"], issue["context"]) for issue in (await daemon.get("/resolution/info"))["issues"]}


UNTOUCHED = {"booted": "A", "primary": "A", "versions": {"A": None, "B": None}}


async def test_what_there_is_and_what_there_could_be_is_told(daemon: BoxDaemon, machine: Box) -> None:
    assert await daemon.get("/os/info") == {
        "version": "15.2",
        "version_latest": "16.1",
        "version_pending": None,
        "update_available": True,
        "board": "ova",
        "boot": "A",
        "data_disk": None,
        "boot_slots": {
            "A": {"state": "booted", "status": "good", "version": None},
            "B": {"state": "inactive", "status": "good", "version": None},
        },
    }
    info = await daemon.get("/info")
    assert (info["hassos"], "haos" in info["features"]) == ("15.2", True)
    updates = (await daemon.get("/available_updates"))["available_updates"]
    assert {"update_type": "os", "panel_path": "/update-available/os", "version_latest": "16.1"} in updates
    findings = {finding["name"]: finding for finding in (await daemon.get("/host/doctor"))["findings"]}
    assert findings["Updates of the operating system"]["condition"] == "ok"


async def test_what_is_new_is_learnt_at_the_start_or_when_the_internet_is_back(daemon: BoxDaemon, shop: Shop) -> None:
    async def latest(version: str) -> bool:
        return bool((await daemon.get("/os/info"))["version_latest"] == version)

    shop.offers("16.2")
    await daemon.restart()
    await daemon.ready()
    await until(lambda: latest("16.2"), 30, lambda: daemon.log)
    shop.offers("16.1")
    shop.away = True
    await daemon.restart()
    await daemon.ready()
    answer = await daemon.ask("POST", "/os/update")
    assert answer.body["message"].endswith("no supervisor internet connection")
    assert await latest("16.2")
    shop.away = False

    async def looked() -> bool:
        # Whatever needs the internet looks for it.
        await daemon.ask("POST", "/os/update", {"version": "15.2"})
        return await latest("16.1")

    await until(looked, 30, lambda: daemon.log)


async def test_an_update_goes_into_the_other_slot_and_waits_for_a_reboot(
    daemon: BoxDaemon, machine: Box, shop: Shop
) -> None:
    shop.pause = 0.2
    job = (await daemon.post("/os/update", {"background": True}))["job_id"]
    seen: list[tuple[str | None, float]] = []
    while (answer := await daemon.ask("GET", f"/jobs/{job}")).status == 200:
        seen.append((answer.data["stage"], answer.data["progress"]))
        await asyncio.sleep(0.02)
    ended = next(one for one in (await daemon.get("/jobs/history"))["jobs"] if one["uuid"] == job)
    assert (ended["name"], ended["reference"], ended["errors"]) == ("os_manager_update", "16.1", [])
    assert "/16.1/haos_ova-16.1.raucb" in shop.asked
    assert [stage for stage, _ in seen] == sorted(stage or "" for stage, _ in seen), "download, then install"
    assert [percent for _, percent in seen] == sorted(percent for _, percent in seen)
    assert len({percent for stage, percent in seen if stage == "download" and 0 < percent < 50}) >= 2
    # RAUC's own steps may take less time than it takes to ask; that it is at work is seen all the same.
    installing = [percent for stage, percent in seen if stage == "install"]
    assert installing
    assert installing[0] >= 50
    assert await slots(machine) == {"booted": "A", "primary": "B", "versions": {"A": None, "B": "16.1"}}
    info = await daemon.get("/os/info")
    assert (info["version"], info["version_pending"], info["update_available"]) == ("15.2", "16.1", False)
    assert info["boot_slots"]["B"] == {"state": "inactive", "status": "good", "version": "16.1"}
    assert ("reboot_required", "system") in await issues(daemon)
    suggestions = (await daemon.get("/resolution/info"))["suggestions"]
    assert ("execute_reboot", "system") in {(one["type"], one["context"]) for one in suggestions}
    assert await leftovers(machine) == []
    again = await daemon.ask("POST", "/os/update", {"version": "16.1"})
    assert again.status == 400
    assert "reboot the system to activate it" in again.body["message"]


async def test_a_daemon_that_starts_leaves_what_waits_for_a_reboot(daemon: BoxDaemon, machine: Box) -> None:
    await daemon.post("/os/update")
    await daemon.restart()
    await daemon.ready()
    assert (await daemon.get("/os/info"))["version_pending"] == "16.1"
    assert ("reboot_required", "system") in await issues(daemon)
    assert (await slots(machine))["primary"] == "B"


async def test_an_update_that_somebody_else_installs_is_noticed(daemon: BoxDaemon, machine: Box, shop: Shop) -> None:
    (machine.folder / "data/own.raucb").write_bytes(shop.files["/16.2/haos_ova-16.2.raucb"])
    await machine.ask("rauc", "install", "/mnt/data/own.raucb")

    async def noticed() -> bool:
        return bool((await daemon.get("/os/info"))["version_pending"] == "16.2")

    await until(noticed, 30, lambda: daemon.log)
    assert ("reboot_required", "system") in await issues(daemon)


async def test_a_bundle_that_somebody_else_signed_changes_nothing(daemon: BoxDaemon, machine: Box, shop: Shop) -> None:
    await machine.ask(
        *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "7300", "-subj", "/CN=somebody else"),
        *("-keyout", "/tmp/other.key", "-out", "/tmp/other.crt"),
    )
    shop.files["/16.3/haos_ova-16.3.raucb"] = await asyncio.to_thread(bundle, machine, "16.3", key="/tmp/other")
    answer = await daemon.ask("POST", "/os/update", {"version": "16.3"})
    assert (answer.status, answer.body["error_key"]) == (400, "os_update_failed")
    assert "signature verification failed" in answer.body["message"]
    assert await slots(machine) == UNTOUCHED
    info = await daemon.get("/os/info")
    assert (info["version_pending"], info["update_available"]) == (None, True)
    assert ("reboot_required", "system") not in await issues(daemon)
    assert await leftovers(machine) == []
    # And RAUC is none the worse for it.
    await daemon.post("/os/update")
    assert (await slots(machine))["versions"]["B"] == "16.1"


@pytest.mark.parametrize(
    ("trouble", "says"),
    [
        ({"break_after": 10 * PIECE_BYTES}, "broke off"),
        ({"claimed_size": 10**15}, "no room"),
    ],
)
async def test_a_bundle_that_can_t_be_had_leaves_nothing_behind(
    daemon: BoxDaemon, machine: Box, shop: Shop, trouble: dict[str, int], says: str
) -> None:
    for name, value in trouble.items():
        setattr(shop, name, value)
    answer = await daemon.ask("POST", "/os/update")
    assert answer.status == 400
    assert says in answer.body["message"]
    assert await leftovers(machine) == []
    assert await slots(machine) == UNTOUCHED


async def test_a_version_that_nobody_has_is_said_so(daemon: BoxDaemon, machine: Box) -> None:
    for version, says in (
        ("99.9", "status 404"),
        ("15.2", "Version 15.2 is already installed"),
        ("../../etc/passwd", "no version"),
    ):
        answer = await daemon.ask("POST", "/os/update", {"version": version})
        assert answer.status == 400
        assert says in answer.body["message"]
    assert await slots(machine) == UNTOUCHED


async def test_one_update_at_a_time_and_a_download_can_be_given_up(daemon: BoxDaemon, machine: Box, shop: Shop) -> None:
    shop.pause = 0.5
    job = (await daemon.post("/os/update", {"background": True}))["job_id"]
    for path, body in (("/os/update", {"version": "16.2"}), ("/os/boot-slot", {"boot_slot": "B"})):
        answer = await daemon.ask("POST", path, body)
        assert answer.status == 400
        assert "os_manager_update" in answer.body["message"]
    await daemon.post(f"/jobs/{job}/cancel")

    async def given_up() -> bool:
        return (await daemon.ask("GET", f"/jobs/{job}")).status == 404

    await until(given_up, 30)
    assert await leftovers(machine) == []
    assert await slots(machine) == UNTOUCHED


async def test_a_daemon_that_is_killed_leaves_no_download_behind(daemon: BoxDaemon, machine: Box, shop: Shop) -> None:
    shop.pause = 0.5
    await daemon.post("/os/update", {"background": True})

    async def downloading() -> bool:
        return await leftovers(machine) != []

    await until(downloading, 30)
    await machine.ask("systemctl", "kill", "--signal=KILL", "supervisor")
    await until(lambda: not (machine.root / "mnt/data/supervisor/tmp/hassos-16.1.raucb").exists(), 60)
    await daemon.ready()
    assert await slots(machine) == UNTOUCHED


async def test_without_rauc_the_daemon_says_so_and_goes_on_when_it_is_back(daemon: BoxDaemon, machine: Box) -> None:
    async def condition() -> str:
        findings = {finding["name"]: finding for finding in (await daemon.get("/host/doctor"))["findings"]}
        return str(findings["Updates of the operating system"]["condition"])

    async def missing() -> bool:
        return await condition() == "missing"

    await machine.ask("systemctl", "mask", "--runtime", "--now", "rauc")
    await until(missing, 30)
    answer = await daemon.ask("POST", "/os/update")
    assert answer.status == 400
    assert "RAUC" in answer.body["message"]
    assert (await daemon.get("/os/info"))["boot"] == "A", "what was known of the slots stays known"
    await daemon.restart()
    await daemon.ready()
    assert await condition() == "missing"
    await machine.ask("sh", "-c", "echo bad > /boot/slots/A")
    await machine.ask("systemctl", "unmask", "--runtime", "rauc")
    await machine.ask("systemctl", "start", "rauc")

    async def marked() -> bool:
        return await machine.ask("cat", "/boot/slots/A") == "good"

    await until(marked, 30, lambda: daemon.log)
    assert await condition() == "ok"
    await daemon.post("/os/update")
    assert (await slots(machine))["versions"]["B"] == "16.1"


async def test_the_command_updates_and_starts_a_rauc_that_was_stopped(
    daemon: BoxDaemon, machine: Box, shop: Shop
) -> None:
    shop.pause = 0.1
    await machine.ask("systemctl", "stop", "rauc")
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "supervisor", "--socket", str(daemon.socket), "os", "update"),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, progress = await process.communicate()
    assert (process.returncode, out.decode()) == (0, "Installed 16.1\n"), progress
    assert "Updating the operating system: download" in progress.decode()
    assert (await slots(machine))["primary"] == "B"


async def test_a_boot_loader_that_refuses_is_told_about(daemon: BoxDaemon, machine: Box) -> None:
    await machine.ask("mv", "/boot/slots", "/boot/gone")
    try:
        answer = await daemon.ask("POST", "/os/boot-slot", {"boot_slot": "B"})
    finally:
        await machine.ask("mv", "/boot/gone", "/boot/slots")
    assert answer.status == 500
    assert answer.body["message"].startswith("RAUC: failed to activate slot kernel.1")
    assert "GDBus" not in answer.body["message"]
    assert await slots(machine) == UNTOUCHED


async def test_settings_are_taken_in_by_the_unit_of_the_version(daemon: BoxDaemon, machine: Box) -> None:
    await machine.ask("rm", "-f", "/run/synced")
    await daemon.post("/os/config/sync")
    assert await machine.ask("cat", "/run/synced") == "hassos-config"
    await asyncio.to_thread(be, machine, "18.0")
    await daemon.post("/host/reload")
    await daemon.post("/os/config/sync")
    assert await machine.ask("cat", "/run/synced") == "hassos-config\nhaos-config"


async def test_another_slot_is_booted_and_what_came_up_is_marked_as_good(daemon: BoxDaemon, machine: Box) -> None:
    await daemon.post("/os/update")
    assert (await daemon.ask("POST", "/os/boot-slot", {"boot_slot": "C"})).status == 400
    boots = machine.state.boots
    try:
        # What firmware with a counter of attempts would do.
        await asyncio.to_thread(be, machine, "16.1")
        assert (await daemon.ask("POST", "/os/boot-slot", {"boot_slot": "B"})).status == 200
        await asyncio.to_thread(machine.wait_until_up, boots=boots + 1)
        await daemon.ready()
        info = await daemon.get("/os/info")
        assert (info["version"], info["boot"], info["version_pending"]) == ("16.1", "B", None)
        assert info["boot_slots"]["B"]["state"] == "booted"
        assert await slots(machine) == {"booted": "B", "primary": "B", "versions": {"A": None, "B": "16.1"}}
        assert ("reboot_required", "system") not in await issues(daemon)
    finally:
        await daemon.close_session()
        await machine.ask("sh", "-c", "echo A > /boot/slots/primary")
        boots = machine.state.boots
        await machine.ask("systemctl", "reboot")
        await asyncio.to_thread(machine.wait_until_up, boots=boots + 1)
