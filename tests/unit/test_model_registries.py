from __future__ import annotations

import pytest
import voluptuous as vol
from hypothesis import given
from hypothesis import strategies as st

from supervisor.drivers.docker.registry import check_reference, mirrored, registry_of
from supervisor.model.registries import canonical_registry, mirror_address, mirror_list, registry_host


@pytest.mark.parametrize(
    "host",
    ["ghcr.io", "localhost", "localhost:5000", "127.0.0.1:5000", "nas:5000", "a-b.example.org", "hub.docker.com"],
)
def test_registries_by_name_or_address_with_or_without_a_port_are_accepted(host):
    assert registry_host(host) == host


@pytest.mark.parametrize(
    "host",
    [
        "",
        "nas",
        "localhosts",
        "GHCR.io",
        "ghcr.io/",
        "ghcr.io:",
        "ghcr.io:0",
        "ghcr.io:65536",
        "ghcr.io:123456",
        "https://ghcr.io",
        "-a.b",
        "a..b",
        "a.b\n",
        "me@ghcr.io",
        "a" * 64 + ".org",
        f"{'a.' * 130}b",
        None,
        5,
    ],
)
def test_what_is_no_registry_is_refused(host):
    with pytest.raises(vol.Invalid):
        registry_host(host)


@pytest.mark.parametrize("address", ["m.example.org", "m.example.org:5000/hub", "localhost/a/b_c"])
def test_a_mirror_may_have_a_path(address):
    assert mirror_address(address) == address


@pytest.mark.parametrize(
    "address", ["nas", "m.org/", "m.org//a", "m.org/../x", "m.org/A", "m.org/a?b", "http://m.org", "", 7, ["m.org"]]
)
def test_what_is_no_mirror_is_refused(address):
    with pytest.raises(vol.Invalid):
        mirror_address(address)


@pytest.mark.parametrize("mirrors", [[], ["a.org", "a.org"], [f"m{number}.org" for number in range(9)], "a.org", None])
def test_a_list_of_mirrors_has_one_to_eight_different_ones(mirrors):
    with pytest.raises(vol.Invalid):
        mirror_list(mirrors)


def test_docker_hub_has_one_name_here():
    names = ("docker.io", "hub.docker.com", "index.docker.io", "registry-1.docker.io", "Docker.io")
    assert {canonical_registry(name) for name in names} == {"docker.io"}
    assert canonical_registry("GHCR.io") == "ghcr.io"


@given(st.text(alphabet=st.sampled_from("ab0.:/-_A \n@"), max_size=20))
def test_an_accepted_mirror_makes_an_image_name_that_asks_just_that_host(text):
    try:
        address = mirror_address(text)
    except vol.Invalid:
        return
    name = mirrored("ghcr.io/a/b", address)
    assert check_reference(f"{name}:1")
    assert registry_of(name) == address.partition("/")[0]
    assert name.endswith("/a/b")
