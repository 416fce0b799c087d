from __future__ import annotations

import errno

import docker.errors
import pytest
import requests
import urllib3.exceptions
from hypothesis import given
from hypothesis import strategies as st

from supervisor import errors
from supervisor.drivers.docker.translate import port_conflict, pull_error, translate, translated


def refusal(status: int, text: str) -> docker.errors.APIError:
    response = requests.Response()
    response.status_code = status
    return docker.errors.APIError(text, response=response, explanation=text)


@pytest.mark.parametrize(
    ("err", "expected"),
    [
        (refusal(404, "No such container: x"), errors.NotFound),
        (refusal(409, "in use"), errors.Conflict),
        (refusal(403, "Address already in use"), errors.Conflict),
        (refusal(400, "bad parameter"), errors.Invalid),
        (refusal(500, "it broke"), errors.Internal),
        (refusal(503, "later"), errors.Unavailable),
        (docker.errors.InvalidVersion("1.41"), errors.Unsupported),
        (docker.errors.StreamParseError("x"), errors.Unavailable),
        (docker.errors.DockerException("x"), errors.Unavailable),
        (requests.exceptions.ReadTimeout("x"), errors.Timeout),
        (requests.exceptions.ConnectionError("x"), errors.Unavailable),
        (requests.exceptions.ConnectionError(urllib3.exceptions.ReadTimeoutError(None, "/", "x")), errors.Timeout),  # type: ignore[arg-type]
        (urllib3.exceptions.ProtocolError("x", ConnectionResetError()), errors.Unavailable),
        (TimeoutError(), errors.Timeout),
        (ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused"), errors.Unavailable),
        (ValueError("no JSON"), errors.Unavailable),
    ],
)
def test_each_foreign_exception_has_a_meaning(err, expected):
    translation = translate(err, "Starting x")
    assert type(translation) is expected
    assert str(translation).startswith("Starting x")


def test_a_full_disk_has_its_kind():
    assert translate(OSError(errno.ENOSPC, "full"), "x").key == "docker_no_space_on_device"
    assert translate(refusal(500, "write /x: no space left on device"), "x").key == "docker_no_space_on_device"


def test_a_wrapped_cause_is_found():
    wrapper = docker.errors.DockerException("Error while fetching server API version")
    wrapper.__cause__ = requests.exceptions.ReadTimeout("x")
    with pytest.raises(errors.Timeout), translated("Connecting"):
        raise wrapper


def test_our_own_errors_and_bugs_pass_unchanged():
    with pytest.raises(errors.Busy), translated("x"):
        raise errors.Busy("y")
    with pytest.raises(ZeroDivisionError), translated("x"):
        _ = 1 // 0


PREFIX = "driver failed programming external connectivity on endpoint addon_x (0123abcd): "


@pytest.mark.parametrize(
    ("text", "port"),
    [
        (PREFIX + "Bind for 0.0.0.0:8080 failed: port is already allocated", 8080),
        (PREFIX + "Error starting userland proxy: listen tcp4 0.0.0.0:53: bind: address already in use", 53),
        (
            "failed to set up container networking: " + PREFIX + "Bind for 0.0.0.0:1 failed: port is already allocated",
            1,
        ),
        (
            "failed to set up container networking: "
            + PREFIX
            + "failed to bind host port 0.0.0.0:80:172.17.0.2:80/tcp: "
            "address already in use",
            80,
        ),
        (PREFIX + "Error starting userland proxy: listen tcp6 [::]:443: bind: address already in use", 443),
        ("Address already in use", None),
        ("OCI runtime create failed", None),
        ("cgroup 0.0.0.0:80 x", None),
    ],
)
def test_a_port_conflict_is_told_by_its_words(text, port):
    conflict = port_conflict("addon_x", text)
    if port is None:
        assert conflict is None
    else:
        assert conflict is not None
        assert conflict.fields == {"name": "addon_x", "port": port}


@pytest.mark.parametrize(
    ("image", "text", "status", "with_login", "key"),
    [
        ("a/b", "toomanyrequests: slow down", 500, False, "dockerhub_rate_limit_exceeded"),
        ("a/b", "", 429, True, "dockerhub_rate_limit_exceeded"),
        ("ghcr.io/a/b", "", 429, False, "ghcr_rate_limit_exceeded"),
        ("quay.io/a/b", "toomanyrequests", 0, False, "container_registry_rate_limit_exceeded"),
        ("a/b", "write /var: no space left on device", 0, False, "docker_no_space_on_device"),
        ("quay.io/a/b", "unauthorized: authentication required", 500, True, "docker_registry_auth_error"),
        ("quay.io/a/b", "", 401, True, "docker_registry_auth_error"),
    ],
)
def test_a_refused_pull_has_its_kind(image, text, status, with_login, key):
    assert pull_error(image, text, status=status, with_login=with_login).key == key


@pytest.mark.parametrize(
    "text",
    [
        "received unexpected HTTP status: 503 Service Unavailable",
        'error parsing HTTP 502 response body: invalid character: "<html>"',
        "Get http://127.0.0.1:5000/v2/: read: connection reset by peer",
        "Get https://r.org/v2/: EOF",
        "dial tcp: lookup r.org: Temporary failure in name resolution",
        "Get https://r.org/v2/: net/http: TLS handshake timeout",
        "dial tcp 10.0.0.1:443: i/o timeout",
        "dial tcp 10.0.0.1:443: connect: connection refused",
        "Get https://r.org/v2/: context deadline exceeded (Client.Timeout exceeded while awaiting headers)",
        "filesystem layer verification failed for digest sha256:0",
        "unexpected status from HEAD request to https://r.org/v2/a/manifests/1: 500 Internal Server Error",
    ],
)
def test_what_may_pass_is_told_from_what_stays(text):
    assert type(pull_error("r.org/a", text, with_login=False)) is errors.Unavailable


@pytest.mark.parametrize(
    "text", ["received unexpected HTTP status: 429 Too Many Requests", "error parsing HTTP 429 response body"]
)
def test_a_rate_limit_may_be_told_by_its_number(text):
    assert pull_error("r.org/a", text, with_login=False).key == "container_registry_rate_limit_exceeded"


@pytest.mark.parametrize(
    "text", ["x509: certificate signed by unknown authority", "lookup r.org: no such host", "no match"]
)
def test_what_stays_is_no_passing_trouble(text):
    assert type(pull_error("r.org/a", text, with_login=False)) is errors.Internal


def test_other_refused_pulls():
    assert type(pull_error("a/b", "manifest unknown", status=404, with_login=False)) is errors.NotFound
    assert type(pull_error("a/b", "unauthorized", with_login=False)) is errors.Invalid
    assert type(pull_error("a/b", "dial tcp: refused", status=500, with_login=True)) is errors.Internal


@given(st.text(), st.integers(0, 599), st.booleans())
def test_every_refusal_becomes_an_error_of_ours(text, status, with_login):
    assert isinstance(pull_error("ghcr.io/a/b", text, status=status, with_login=with_login), errors.SupervisorError)
    assert isinstance(translate(refusal(status, text), "x"), errors.SupervisorError)
    conflict = port_conflict("x", text)
    assert conflict is None or conflict.key == "docker_container_port_conflict"
