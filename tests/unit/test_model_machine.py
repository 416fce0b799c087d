"""Which add-ons run here, versions, trust and addresses (add-on contract §1.6, §1.13, §2.8, §7.3)."""

from __future__ import annotations

from typing import Any

import pytest
import voluptuous as vol
from hypothesis import given
from hypothesis import strategies as st

from supervisor.errors import Unsupported
from supervisor.model.machine import check_availability, detect_arch, match_arch, match_machine, supported_arch
from supervisor.model.manifest import Manifest
from supervisor.model.rating import AppArmorState, apparmor_state, rating
from supervisor.model.url_template import WatchdogUrl, WebUi
from supervisor.model.version import is_known, is_newer, parse


def manifest(**keys: Any) -> Manifest:
    least = {"name": "Lamp", "version": "1", "slug": "lamp", "description": "", "arch": ["amd64"]}
    return Manifest.from_config({**least, **keys})


@pytest.mark.parametrize(
    ("cpu", "image", "arch"),
    [
        ("x86_64", None, "amd64"),
        ("aarch64", None, "aarch64"),
        ("armv8l", "armv7", "aarch64"),
        ("armv7l", "armv7", "armv7"),
        ("riscv64", None, "riscv64"),
    ],
)
def test_the_cpu_gives_the_architecture(cpu: str, image: str | None, arch: str) -> None:
    assert detect_arch(cpu, image_arch=image) == arch


@pytest.mark.parametrize(
    ("machine", "native", "arches"),
    [
        ("generic-x86-64", "amd64", ("amd64",)),
        ("yellow", "aarch64", ("aarch64",)),
        ("raspberrypi4", "aarch64", ("aarch64",)),
        ("raspberrypi4", "armv7", ("armv7",)),
        ("qemux86-64", "aarch64", ("amd64", "aarch64")),
        ("unheard-of", "amd64", ("amd64",)),
        (None, "amd64", ("amd64",)),
    ],
)
def test_the_machine_gives_the_architectures_and_the_native_one_is_always_there(
    machine: str | None, native: str, arches: tuple[str, ...]
) -> None:
    assert supported_arch(machine, native) == arches


def test_the_first_common_architecture_is_chosen_and_32_bit_never() -> None:
    assert match_arch(["aarch64", "amd64"], ["amd64", "aarch64"]) == "amd64"
    assert match_arch(["armv7"], ["armv7"]) is None
    assert match_arch([], ["amd64"]) is None


@pytest.mark.parametrize(
    ("wanted", "machine", "runs"),
    [
        ([], "yellow", True),
        ([], None, True),
        (["yellow"], "yellow", True),
        (["yellow"], "green", False),
        (["yellow"], None, False),
        (["!yellow"], "yellow", False),
        (["!yellow"], "green", True),
        (["!yellow"], None, True),
        (["yellow", "!yellow"], "yellow", False),
        (["green", "!yellow"], "tinker", False),
    ],
)
def test_machine_lists_allow_and_exclude(wanted: list[str], machine: str | None, runs: bool) -> None:
    assert match_machine(wanted, machine) is runs


def availability(core: str | None = "2024.6.1", **keys: Any) -> str | None:
    try:
        check_availability(manifest(**keys), arches=["amd64"], machine="green", core_version=core, slug="core_lamp")
    except Unsupported as err:
        return err.key
    return None


def test_an_add_on_that_is_not_available_is_named() -> None:
    with pytest.raises(Unsupported) as caught:
        check_availability(manifest(), arches=["aarch64"], machine=None, core_version=None, slug="core_lamp")
    assert caught.value.fields == {"app": "Lamp", "slug": "core_lamp", "architectures": "amd64"}


def test_availability_is_checked_in_order() -> None:
    everything = {"arch": ["aarch64"], "machine": ["yellow"], "homeassistant": "2030.1"}
    assert availability(**everything) == "app_not_supported_architecture_error"
    assert availability(**{**everything, "arch": ["amd64"]}) == "app_not_supported_machine_type_error"
    assert availability(homeassistant="2030.1") == "app_not_supported_home_assistant_version_error"
    assert availability(homeassistant="2024.6.1") is None
    assert availability(homeassistant="2024.6.1b0") is None
    assert availability("landingpage", homeassistant="2030.1") is None
    assert availability(None, homeassistant="2030.1") is None
    assert availability() is None


@pytest.mark.parametrize(
    ("a", "b", "newer"),
    [
        ("1.10", "1.9", True),
        ("1.9", "1.10", False),
        ("2024.1.0", "2024.1.0b3", True),
        ("1", "1", False),
        ("landingpage", "landingpage", False),
        ("landingpage", "1.0", None),
        (None, "1", None),
        ("1", None, None),
    ],
)
def test_versions_are_compared_where_they_can_be(a: str | None, b: str | None, newer: bool | None) -> None:
    assert is_newer(a, b) is newer


def test_a_version_scheme_is_recognised() -> None:
    assert is_known("2024.1.0")
    assert not is_known("landingpage")
    assert parse("1.2") < parse("1.3")


@given(st.text(), st.text())
def test_comparing_odd_versions_never_fails(a: str, b: str) -> None:
    assert is_newer(a, b) in (True, False, None)


@pytest.mark.parametrize(
    ("keys", "apparmor", "points"),
    [
        ({}, AppArmorState.DEFAULT, 5),
        ({}, AppArmorState.DISABLE, 4),
        ({"ingress": True, "auth_api": True}, AppArmorState.PROFILE, 8),
        ({"auth_api": True}, AppArmorState.DEFAULT, 6),
        ({"privileged": ["NET_ADMIN", "SYS_ADMIN"], "kernel_modules": True}, AppArmorState.DEFAULT, 4),
        ({"privileged": ["SYS_TIME"]}, AppArmorState.DEFAULT, 5),
        ({"hassio_role": "manager"}, AppArmorState.DEFAULT, 4),
        ({"hassio_role": "admin"}, AppArmorState.DEFAULT, 3),
        ({"host_network": True}, AppArmorState.DEFAULT, 4),
        ({"host_pid": True}, AppArmorState.DEFAULT, 3),
        ({"host_uts": True}, AppArmorState.DEFAULT, 5),
        ({"host_uts": True, "privileged": ["SYS_ADMIN"]}, AppArmorState.DEFAULT, 3),
        ({"docker_api": True, "ingress": True}, AppArmorState.PROFILE, 1),
        ({"full_access": True}, AppArmorState.PROFILE, 1),
        (
            {"host_pid": True, "host_network": True, "hassio_role": "admin", "kernel_modules": True},
            AppArmorState.DISABLE,
            1,
        ),
    ],
)
def test_the_rating_follows_the_contract(keys: dict[str, Any], apparmor: AppArmorState, points: int) -> None:
    assert rating(manifest(**keys), apparmor) == points


def test_a_profile_counts_only_when_the_manifest_wants_apparmor() -> None:
    assert apparmor_state(manifest(), has_profile=True) is AppArmorState.PROFILE
    assert apparmor_state(manifest(), has_profile=False) is AppArmorState.DEFAULT
    assert apparmor_state(manifest(apparmor=False), has_profile=True) is AppArmorState.DISABLE


@pytest.mark.parametrize(
    ("template", "ports", "options", "link"),
    [
        ("http://[HOST]:[PORT:80]/ui", {"80/tcp": 8080}, {}, "http://[HOST]:8080/ui"),
        ("http://[HOST]:[PORT:80]", {"80": 8080}, {}, "http://[HOST]:8080"),
        ("https://[HOST]:[PORT:80]?a", None, {}, "https://[HOST]:80?a"),
        ("http://[HOST]:[PORT:80]", {"80/tcp": None}, {}, None),
        ("[PROTO:ssl]://[HOST]:[PORT:80]/", {}, {"ssl": True}, "https://[HOST]:80/"),
        ("[PROTO:ssl]://[HOST]:[PORT:80]/", {}, {"ssl": 0}, "http://[HOST]:80/"),
        ("[PROTO:ssl]://[HOST]:[PORT:80]/", {}, {}, "http://[HOST]:80/"),
    ],
)
def test_the_web_page_link_is_filled_in(
    template: str, ports: dict[str, int | None] | None, options: dict[str, Any], link: str | None
) -> None:
    assert WebUi.parse(template).render(ports, options) == link


@pytest.mark.parametrize(
    ("template", "host", "host_network", "url"),
    [
        ("tcp://[HOST]:1883", "172.30.33.5", False, "tcp://172.30.33.5:1883"),
        ("http://[HOST]:[PORT:80]/x", "172.30.33.5", False, "http://172.30.33.5:80/x"),
        ("http://[HOST]:[PORT:80]/x", "172.30.32.1", True, "http://172.30.32.1:8080/x"),
        ("http://[HOST]:[PORT:81]/x", "172.30.32.1", True, "http://172.30.32.1:81/x"),
        ("http://[HOST]:[PORT:82]/x", "fd0c::1", True, "http://[fd0c::1]:82/x"),
    ],
)
def test_the_watchdog_address_is_filled_in(template: str, host: str, host_network: bool, url: str) -> None:
    target = WatchdogUrl.parse(template).render(host, {"80/tcp": 8080, "82/tcp": None}, {}, host_network=host_network)
    assert target.url == url
    assert target.host == host
    assert str(target.port) in url


@pytest.mark.parametrize(
    "template",
    ["", "http://[HOST]:80", "http://host:[PORT:80]", "tcp://[HOST]:[PORT:80]", "http://[HOST]:[PORT:80]/a b",
     "http://[HOST]:[PORT:0]", "http://[HOST]:[PORT:65536]", "[PROTO:]://[HOST]:[PORT:80]"],
)  # fmt: skip
def test_what_is_no_web_page_template_is_refused(template: str) -> None:
    with pytest.raises(vol.Invalid):
        WebUi.parse(template)


@given(st.text(alphabet="htps:/[]HOSTPRX0189 .", max_size=40))
def test_any_text_is_a_watchdog_template_or_a_clean_error(text: str) -> None:
    try:
        parsed = WatchdogUrl.parse(text)
    except vol.Invalid:
        return
    assert 1 <= parsed.port <= 65535
