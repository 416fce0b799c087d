"""Backups on network storage: made, lost with the whole machine, restored; and a server that goes in the middle."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import attrs
import pytest
import pytest_asyncio
from test_mounts import CIFS, DATA, LOGIN, STORAGE, Servers, servers

from box_daemon import BoxDaemon, bring_base_image
from daemon import ROOT, until
from file_trees import described, fill
from hostbox.box import Box
from loop_disk import fail_command
from stepping_house import BACKUP, COLD, HOT, PASSWORD, RESTORE, Deed, House

__all__ = ["servers"]
pytestmark = pytest.mark.timeout(600)

PLACE = f"{DATA}/mounts/vault"
EXPORT = f"{STORAGE}/nas/exports/vault"
STEPS = Path("steps")
DROP_IN = f"""\
[Service]
ExecStart=
ExecStart={sys.executable} {ROOT}/tests/stepping_daemon.py run --data {DATA} --log-format journal --no-builtin-remotes
Environment=STEPS_ARMED=/mnt/data/steps/armed STEPS_RECORD=/mnt/data/steps/steps
"""
ASIDE = """\
systemctl stop supervisor
docker ps -aq --filter label=supervisor_managed | xargs -r docker rm -fv >/dev/null
docker images -q --filter label=io.hass.type=addon | xargs -r docker rmi -f >/dev/null
"""


@pytest_asyncio.fixture
async def fresh(host: BoxDaemon, box: Box) -> AsyncIterator[BoxDaemon]:
    """The daemon of the box on a new data folder, as something can happen to it at its steps."""
    drop_in = "/run/systemd/system/supervisor.service.d/steps.conf"
    await host.close_session()
    await box.ask("sh", "-euc", f"{ASIDE} mv {DATA} {DATA}.kept")
    try:
        await box.ask("sh", "-euc", f"mkdir -p /mnt/data/steps $(dirname {drop_in}); cat > {drop_in}", stdin=DROP_IN)
        await box.ask("systemctl", "daemon-reload")
        await asyncio.to_thread(bring_base_image, box)
        await host.start()
        await host.ready()
        yield host
    finally:
        await host.close_session()
        await box.ask("sh", "-euc", f"{ASIDE} umount -lq {PLACE} || true; rm -rf {DATA} /mnt/data/steps {drop_in}")
        await box.ask("sh", "-euc", f"mv {DATA}.kept {DATA}; systemctl daemon-reload; systemctl start supervisor")
        await host.ready()


@attrs.frozen
class Vault:
    """A share that is a small disk of the server, so that it can break."""

    servers: Servers
    device: str

    async def serve(self) -> None:
        await self.servers.shell(f"mount {self.device} {EXPORT}")

    async def archives(self) -> set[str]:
        """What lies there, half or whole."""
        return set((await self.servers.shell(f"ls -A {EXPORT}")).split()) - {"lost+found"}

    async def come_back(self, daemon: BoxDaemon) -> None:
        """Have the server and the mount back, whatever became of them."""
        # What is mounted in the box is not seen from here, but what lies below.
        assert list((daemon.data / "mounts/vault").iterdir()) == [], "it went to this machine's disk instead"
        await self.servers.shell(f"umount -lq {PLACE} || true; umount -lq {EXPORT} || true")
        await self.serve()
        # A restore that went well may have begun to mount it anew, and then it was an empty share.
        await self.servers.shell(f"umount -lq {PLACE} || true")
        await daemon.post("/mounts/vault/reload")
        assert await self.servers.shell(f"grep -c ' {PLACE} ' /proc/self/mountinfo") == "1"


@pytest.fixture
def vault(servers: Servers, box: Box) -> Iterator[Vault]:
    try:
        device = box.add_disk("vault", "48M")
        box.run("mkfs.ext4", "-q", "-m", "0", device)
        yield Vault(servers, device)
    finally:
        box.attempt("umount", "-l", PLACE)
        box.attempt("umount", "-l", EXPORT)
        box.throw_away_disk("vault")


async def test_all_of_a_lost_machine_comes_back_from_its_network_storage(
    fresh: BoxDaemon, servers: Servers, box: Box
) -> None:
    daemon = fresh
    await daemon.post("/mounts", {**CIFS, **LOGIN})
    daemon.add_on("hot", more="map: [addon_config:rw]\noptions: {word: old}\nschema: {word: str}")
    daemon.add_on("cold", more="backup: cold")
    await daemon.post("/store/reload")
    for slug in (HOT, COLD):
        await daemon.install(slug, start=True)
        fill(daemon.data / "addons/data" / slug, slug)
    await daemon.post(f"/addons/{HOT}/options", {"options": {"word": "chosen"}})
    places = ("share", "ssl", "media", "homeassistant", f"addon_configs/{HOT}")
    for place in places:
        fill(daemon.data / place, place)
    (daemon.data / "homeassistant.json").write_text('{"version": "2026.4.1", "port": 8123}')
    places += (f"addons/data/{HOT}/sub", f"addons/data/{COLD}/sub", "addons/local")
    before = {place: described(daemon.data / place) for place in places}

    made = await daemon.post(
        "/backups/new/full", {"name": "All", "password": PASSWORD, "location": ["vault", None], "compressed": False}
    )
    slug = made["slug"]
    [listed] = (await daemon.get("/backups"))["backups"]
    assert (listed["slug"], listed["location"], listed["locations"]) == (slug, None, [None, "vault"])
    assert {(size["protected"], size["size_bytes"]) for size in listed["location_attributes"].values()} == {
        (True, listed["size_bytes"])
    }
    assert await servers.shell(f"ls {EXPORT}") == f"{slug}.tar"
    await servers.shell(f"cmp {EXPORT}/{slug}.tar {DATA}/backup/{slug}.tar")
    await daemon.ask("DELETE", f"/backups/{slug}", {"location": [None]})
    assert (await daemon.get(f"/backups/{slug}/info"))["locations"] == ["vault"]

    # The disk breaks, and everything on it is lost.
    await daemon.close_session()
    await box.ask("sh", "-euc", f"{ASIDE} umount {PLACE}; rm -rf {DATA}")
    await daemon.start()
    await daemon.ready()
    assert (await daemon.get("/backups"))["backups"] == []
    await daemon.post("/mounts", {**CIFS, **LOGIN})
    [listed] = (await daemon.get("/backups"))["backups"]
    assert (listed["slug"], listed["locations"], listed["protected"]) == (slug, ["vault"], True)
    wrong = await daemon.ask("POST", f"/backups/{slug}/restore/full", {"password": "x", "location": "vault"})
    assert wrong.body["message"].startswith("Invalid password for backup")
    body = {"password": PASSWORD, "location": "vault"}
    restored = await daemon.post(f"/backups/{slug}/restore/full", body)
    assert (await daemon.get(f"/jobs/{restored['job_id']}"))["errors"] == []
    assert {place: described(daemon.data / place) for place in places} == before
    for add_on in (HOT, COLD):
        await until(lambda add_on=add_on: _started(daemon, add_on), 30)
    assert (await daemon.get(f"/addons/{HOT}/info"))["options"] == {"word": "chosen"}
    [mount] = (await daemon.get("/mounts"))["mounts"]
    assert (mount["name"], mount["state"]) == ("vault", "active")


@pytest.mark.timeout(900)
async def test_every_kind_of_backup_comes_back_from_network_storage(fresh: BoxDaemon, servers: Servers) -> None:
    daemon = fresh
    await daemon.post("/mounts", {**CIFS, **LOGIN})
    daemon.add_on("cold", more="backup: cold")
    await daemon.post("/store/reload")
    await daemon.install(COLD, start=True)
    places = ("share", "ssl", f"addons/data/{COLD}/sub")
    for place in places:
        fill(daemon.data / place, place)
    before = {place: described(daemon.data / place) for place in places}
    parts = {"addons": [COLD], "folders": ["share", "ssl"]}
    for kind, chosen in (("partial", parts), ("full", {})):
        for password in (None, PASSWORD):
            for compressed in (True, False):
                wish = {**chosen, "password": password, "compressed": compressed, "location": "vault"}
                slug = (await daemon.post(f"/backups/new/{kind}", wish))["slug"]
                info = await daemon.get(f"/backups/{slug}/info")
                assert (info["locations"], info["protected"], info["compressed"]) == (
                    ["vault"], password is not None, compressed,
                )  # fmt: skip
                assert list((daemon.data / "backup").iterdir()) == []
                for place in places:
                    (daemon.data / place / "text").unlink()
                    (daemon.data / place / "intruder").write_text("must go")
                restored = await daemon.post(
                    f"/backups/{slug}/restore/{kind}", {**chosen, "password": password, "location": "vault"}
                )
                assert (await daemon.get(f"/jobs/{restored['job_id']}"))["errors"] == []
                assert {place: described(daemon.data / place) for place in places} == before, (kind, wish)
                await until(lambda: _started(daemon, COLD), 30)


async def _started(daemon: BoxDaemon, add_on: str) -> bool:
    return await daemon.state_of(add_on) == "started"


# A server that goes: nothing of its files can be read or written any more, or they are no longer where they were.
FAILS = f"systemd-run --quiet --wait {fail_command(Path(PLACE))}"
GOES = f"systemd-run --quiet --wait umount -l {PLACE}"

IN_BACKUP = (
    ("backup_manager_full_backup:home_assistant@1", FAILS),
    ("backup_manager_full_backup:home_assistant@1", GOES),
    ("quiet.json:after@1", GOES),
    ("pack:half@2", FAILS),
    ("backup_manager_full_backup:finishing_file@1", FAILS),
    ("publish@1", FAILS),
    ("publish@1", GOES),
)
IN_COPY = (
    ("backup_manager_full_backup:copy_additional_locations@1", FAILS),
    ("backup_manager_full_backup:copy_additional_locations@1", GOES),
    ("publish@2", GOES),
)
IN_RESTORE = (
    ("backup_manager_full_restore:folders@1", FAILS),
    ("unpack:half@1", FAILS),
    ("unpack:half@3", FAILS),
    ("unpack:addon_local_hot@1", GOES),
)


async def _to(house: House, *locations: str | None) -> object:
    body = {"name": "second", "password": PASSWORD, "location": list(locations)}
    return await house.daemon.ask("POST", "/backups/new/full", body)


async def test_a_server_that_goes_at_any_stage_leaves_no_half_and_costs_nothing(
    fresh: BoxDaemon, vault: Vault, box: Box
) -> None:
    house = House(box.folder / "data/steps", daemon=fresh)
    await vault.serve()
    await fresh.post("/mounts", {**CIFS, **LOGIN})
    await house.open()
    assert await vault.archives() == {f"{house.slug}.tar"}
    for step, command in IN_BACKUP:
        with noted(house, step, command):
            await gone(house, vault, BACKUP, step, command)
    copied = Deed("copy", lambda house: _to(house, None, "vault"))
    for step, command in IN_COPY:
        with noted(house, step, command):
            await gone(house, vault, copied, step, command)
    for step, command in IN_RESTORE:
        with noted(house, step, command):
            await gone(house, vault, RESTORE, step, command)


@contextlib.contextmanager
def noted(house: House, step: str, command: str) -> Iterator[None]:
    try:
        yield
    except BaseException as err:
        err.add_note(f"{'fails' if command == FAILS else 'goes'} at {step}\n{house.daemon.log[-5000:]}")
        raise


async def gone(house: House, vault: Vault, deed: Deed, step: str, command: str) -> None:
    house.write("present")
    answer = await house.at(step, command, deed)
    said = await house.problems((answer.body.get("data") or answer.body)["job_id"])
    assert (said == "[]") == (answer.status == 200 and deed.name != "copy"), said
    if said != "[]":
        assert "Input/output error" in said or "vault is down" in said or "No such file" in said, said
    words = set(house.read().values())
    assert words <= ({"present", "saved"} if deed is RESTORE else {"present"}), words
    await vault.come_back(house.daemon)
    listed = await house.look()
    kept = {f"{slug}.tar" for slug in listed}
    if deed.name == "copy":
        [local] = {path.name for path in (house.daemon.data / "backup").iterdir()}
        assert kept == {f"{house.slug}.tar", local}
        assert await vault.archives() == {f"{house.slug}.tar"}
    else:
        assert await vault.archives() == kept, "a half of a backup was left"
        assert list((house.daemon.data / "backup").iterdir()) == []
    await house.remove_others()


async def test_a_repository_is_a_folder_where_disks_are_mounted_and_elsewhere_by_permission(
    host: BoxDaemon, box: Box
) -> None:
    wish = {"password": PASSWORD, "adopt": False}
    for name, place in (("usb", "/mnt/usb/backups"), ("stick", "/media/stick/backups"), ("disk", "/srv/backups")):
        await host.post("/backups/repositories", {**wish, "name": name, "place": place})
        assert box.run("ls", f"{place}/config") == f"{place}/config"
        assert (await host.ask("DELETE", f"/backups/repositories/{name}")).status == 200
        box.run("rm", "-rf", place)
    refused = await host.ask("POST", "/backups/repositories", {**wish, "name": "far", "place": "/opt/backups"})
    assert refused.status == 400
    assert "read-only file system" in refused.body["message"]
