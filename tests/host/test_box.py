"""The box itself: what the other tests of this folder stand on."""

from __future__ import annotations

import pytest

from box_daemon import BoxDaemon
from daemon import until
from hostbox.box import Box

SERVICES = {
    "org.freedesktop.systemd1": "/org/freedesktop/systemd1",
    "org.freedesktop.hostname1": "/org/freedesktop/hostname1",
    "org.freedesktop.timedate1": "/org/freedesktop/timedate1",
    "org.freedesktop.login1": "/org/freedesktop/login1",
    "org.freedesktop.resolve1": "/org/freedesktop/resolve1",
    "org.freedesktop.NetworkManager": "/org/freedesktop/NetworkManager",
    "org.freedesktop.UDisks2": "/org/freedesktop/UDisks2/Manager",
    "de.pengutronix.rauc": "/",
}


@pytest.mark.parametrize("name", SERVICES)
def test_each_service_of_a_real_host_answers_on_the_bus(box: Box, name: str) -> None:
    assert "org.freedesktop.DBus.Properties" in box.run("busctl", "introspect", name, SERVICES[name])


def test_nothing_failed_when_it_booted(box: Box) -> None:
    assert box.attempt("systemctl", "--failed", "--no-legend", "--plain").stdout == ""


def test_a_container_logs_to_the_journal(box: Box) -> None:
    box.shell("""
        folder=$(mktemp -d) && mkdir "$folder/bin" && cp /bin/busybox "$folder/bin/sh"
        tar -C "$folder" -c . | docker import - tiny >/dev/null
        docker run --rm --name speaker tiny sh -c 'echo spoken in a container'
        journalctl --sync
    """)
    assert box.run("journalctl", "-o", "cat", "CONTAINER_NAME=speaker") == "spoken in a container"


async def test_a_disk_is_plugged_in_and_pulled_out(box: Box) -> None:
    try:
        device = box.add_disk("stick", "64M")
        node = f"/org/freedesktop/UDisks2/block_devices/{device.removeprefix('/dev/')}"
        question = ("busctl", "get-property", "org.freedesktop.UDisks2", node, "org.freedesktop.UDisks2.Block", "Drive")
        # udev is done with it, which is when UDisks2 begins.
        await until(lambda: "stick" in box.attempt(*question).stdout, 30)
        box.remove_disk("stick")
        await until(lambda: "stick" not in box.attempt(*question).stdout, 30)
    finally:
        box.throw_away_disk("stick")


def test_the_sound_server_has_two_outputs(box: Box) -> None:
    assert box.run("pactl", "list", "short", "sinks").count("\n") == 1


async def test_the_daemon_runs_in_it_as_a_service(host: BoxDaemon, box: Box) -> None:
    assert (await host.get("/info"))["state"] == "running"
    pid = await box.ask("systemctl", "show", "--property=MainPID", "--value", "supervisor")
    limit = await box.ask("awk", "/^Max open files/ { print $4, $5 }", f"/proc/{pid}/limits")
    soft, hard = map(int, limit.split())
    assert soft == min(hard, 65536), "room for many connections"
