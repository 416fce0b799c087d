from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor.drivers.docker.model import container_info, container_summary, image_info, parse_time
from supervisor.drivers.docker.ours import is_ours
from supervisor.events import ContainerState


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        ({"Status": "running", "Running": True}, ContainerState.RUNNING),
        ({"Status": "running", "Health": {"Status": "starting"}}, ContainerState.RUNNING),
        ({"Status": "running", "Health": {"Status": "healthy"}}, ContainerState.HEALTHY),
        ({"Status": "running", "Health": {"Status": "unhealthy"}}, ContainerState.UNHEALTHY),
        ({"Status": "exited", "ExitCode": 0}, ContainerState.STOPPED),
        ({"Status": "exited", "ExitCode": 137, "Health": {"Status": "unhealthy"}}, ContainerState.FAILED),
        ({"Status": "created", "ExitCode": 0}, ContainerState.STOPPED),
    ],
)
def test_the_state_of_an_inspected_container(state, expected):
    assert container_info({"State": state}, network_name="hassio").state is expected


@pytest.mark.parametrize(
    ("word", "text", "expected", "code"),
    [
        ("running", "Up 3 minutes", ContainerState.RUNNING, 0),
        ("running", "Up 3 minutes (health: starting)", ContainerState.RUNNING, 0),
        ("running", "Up 3 minutes (healthy)", ContainerState.HEALTHY, 0),
        ("running", "Up 3 minutes (unhealthy)", ContainerState.UNHEALTHY, 0),
        ("exited", "Exited (137) 2 hours ago", ContainerState.FAILED, 137),
        ("exited", "Exited (0) 2 hours ago", ContainerState.STOPPED, 0),
        ("created", "Created", ContainerState.STOPPED, 0),
    ],
)
def test_the_state_of_a_listed_container(word, text, expected, code):
    entry = {"Names": ["/other/link", "/addon_x"], "State": word, "Status": text}
    summary = container_summary(entry, network_name="hassio")
    assert (summary.name, summary.state, summary.exit_code) == ("addon_x", expected, code)


def test_an_empty_answer_gives_neutral_values():
    info = container_info({}, network_name="hassio")
    assert (info.ip_address, info.started_at, info.health, info.mounts, info.labels) == (None, None, None, (), {})
    assert image_info({}).platform == ""
    assert container_summary({}, network_name="hassio").name == ""


def test_a_disabled_health_check_is_none():
    assert not image_info({"Config": {"Healthcheck": {"Test": ["NONE"]}}}).has_healthcheck
    assert image_info({"Config": {"Healthcheck": {"Test": ["CMD", "x"]}}}).has_healthcheck


def test_times_of_the_engine():
    assert parse_time("2026-01-02T03:04:05.123456789Z") == datetime(2026, 1, 2, 3, 4, 5, 123456, UTC)
    assert parse_time("2026-01-02T03:04:05Z") == datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    assert parse_time("2026-01-02T03:04:05.5+02:00") == datetime(2026, 1, 2, 1, 4, 5, 500000, UTC)
    for nothing in ("0001-01-01T00:00:00Z", "", None, 5, "2026-99-99T00:00:00Z", "yesterday"):
        assert parse_time(nothing) is None


@given(st.integers(0, 7_000_000_000_000_000))
def test_every_time_is_read_to_the_microsecond(microseconds):
    moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=microseconds)
    text = f"{moment:%Y-%m-%dT%H:%M:%S}.{moment.microsecond:06d}789Z"
    assert parse_time(text) == moment


def test_which_containers_are_ours():
    assert is_ours("anything", {"supervisor_managed": ""})
    for name in ("addon_x", "app_x", "homeassistant", "hassio_dns"):
        assert is_ours(name, {})
    for name in ("postgres", "homeassistant2", "my_addon_x"):
        assert not is_ours(name, {"other": "1"})
