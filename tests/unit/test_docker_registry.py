from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor import errors
from supervisor.drivers.docker.registry import (
    all_credentials,
    api_host,
    check_reference,
    credentials_for,
    mirrored,
    platform_of,
    pull_name,
    registry_of,
    repository_path,
    split_reference,
)


@pytest.mark.parametrize(
    ("image", "host"),
    [
        ("alpine", "docker.io"),
        ("homeassistant/amd64-addon", "docker.io"),
        ("docker.io/library/alpine", "docker.io"),
        ("index.docker.io/x/y", "docker.io"),
        ("ghcr.io/x/y", "ghcr.io"),
        ("localhost/x", "localhost"),
        ("registry:5000/x", "registry:5000"),
        ("127.0.0.1:5000/x/y", "127.0.0.1:5000"),
        ("MyHost/x", "MyHost"),
    ],
)
def test_the_first_part_of_a_name_decides_the_registry(image, host):
    assert registry_of(image) == host


@pytest.mark.parametrize(
    ("image", "full"),
    [
        ("alpine", "docker.io/alpine"),
        ("a/b", "docker.io/a/b"),
        ("index.docker.io/a/b", "docker.io/a/b"),
        ("docker.io/a/b", "docker.io/a/b"),
        ("ghcr.io/a/b", "ghcr.io/a/b"),
    ],
)
def test_docker_hub_is_written_out_for_a_pull(image, full):
    assert pull_name(image) == full


def test_the_login_of_the_registry_is_chosen():
    logins = {
        "ghcr.io": {"username": "g", "password": "1"},
        "hub.docker.com": {"username": "h", "password": "2"},
    }
    assert credentials_for("ghcr.io/a/b", logins).username == "g"
    legacy = credentials_for("a/b", logins)
    assert (legacy.host, legacy.username, legacy.password) == ("docker.io", "h", "2")
    assert credentials_for("quay.io/a/b", logins) is None
    logins["docker.io"] = {"username": "d", "password": "3"}
    assert credentials_for("index.docker.io/a/b", logins).username == "d"
    assert "3" not in repr(credentials_for("a/b", logins))


def test_each_registry_has_one_login_for_builds_and_docker_hub_its_best_name():
    one, two = {"username": "one", "password": "1"}, {"username": "two", "password": "2"}
    logins = all_credentials({"hub.docker.com": one, "docker.io": two, "localhost:5000": one})
    assert [(login.host, login.username) for login in logins] == [("docker.io", "two"), ("localhost:5000", "one")]
    [legacy] = all_credentials({"hub.docker.com": one})
    assert (legacy.host, legacy.username) == ("docker.io", "one")


@pytest.mark.parametrize(
    ("image", "host", "path"),
    [
        ("alpine", "registry-1.docker.io", "library/alpine"),
        ("docker.io/alpine", "registry-1.docker.io", "library/alpine"),
        ("a/b", "registry-1.docker.io", "a/b"),
        ("ghcr.io/a/b/c", "ghcr.io", "a/b/c"),
        ("localhost:5000/x", "localhost:5000", "x"),
    ],
)
def test_where_the_registry_of_an_image_is_asked(image, host, path):
    assert (api_host(image), repository_path(image)) == (host, path)
    assert mirrored(image, "m.org/hub") == f"m.org/hub/{path}"


@pytest.mark.parametrize(
    "reference",
    [
        "local/x:1",
        "a0d7b954/amd64-addon-x:1.2.3",
        "ghcr.io/a/b",
        "127.0.0.1:5000/a/b:1",
        f"sha256:{'0' * 64}",
        "a/b__c-d.e",
    ],
)
def test_real_references_pass(reference):
    assert check_reference(reference) == reference


@pytest.mark.parametrize(
    "reference",
    [
        "",
        "..",
        "../x",
        "a/../b:1",
        "a//b",
        "a b",
        "a:b:c",
        "x/Y:1",
        "a/b?x=1",
        "a/b#c",
        "a%2fb",
        "a/b:",
        "-a",
    ],
)
def test_what_could_reach_another_url_is_refused(reference):
    with pytest.raises(errors.Invalid):
        check_reference(reference)


@given(st.text(max_size=80))
def test_a_reference_is_refused_or_has_no_part_that_a_url_understands(reference):
    try:
        check_reference(reference)
    except errors.Invalid:
        return
    parts = reference.split("/")
    assert all(part and not part.startswith(".") for part in parts)
    assert not set(reference) & set(" ?#%\\\n\0")
    repository, tag = split_reference(reference)
    assert reference in {repository, f"{repository}:{tag}"}


def test_platforms():
    assert platform_of("amd64") == "linux/amd64"
    assert platform_of("aarch64") == "linux/arm64"
    with pytest.raises(errors.Unsupported):
        platform_of("vax")
