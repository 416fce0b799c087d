from __future__ import annotations

import json
from datetime import UTC, datetime
from enum import Enum, StrEnum
from ipaddress import IPv4Interface, IPv6Address
from pathlib import Path
from types import MappingProxyType
from typing import Any

import attrs
import pytest
from awesomeversion import AwesomeVersion
from hypothesis import given
from hypothesis import strategies as st

from supervisor import errors
from supervisor.api import answer
from supervisor.api.route import ErrorForm
from supervisor.api.status import status_of


class Colour(StrEnum):
    RED = "red"


class Number(Enum):
    ONE = 1


@attrs.frozen
class Thing:
    name: str
    inner: Any = None


def body(response: Any) -> Any:
    assert response.headers["Content-Type"] == "application/json; charset=utf-8"
    return json.loads(response.body)


@pytest.mark.parametrize("nothing", [None, [], {}, (), "", 0])
def test_an_empty_payload_becomes_an_empty_object(nothing: Any) -> None:
    assert body(answer.ok(nothing)) == {"result": "ok", "data": {}}


def test_a_handler_that_says_false_has_failed() -> None:
    response = answer.ok(False)
    assert response.status == 400
    assert body(response)["result"] == "error"


def test_a_bare_list_stays_one() -> None:
    assert body(answer.ok([Thing("a")])) == {"result": "ok", "data": [{"name": "a", "inner": None}]}


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (Colour.RED, "red"),
        (Number.ONE, 1),
        (Path("/data/a"), "/data/a"),
        (IPv4Interface("10.0.0.1/8"), "10.0.0.1/8"),
        (IPv6Address("::1"), "::1"),
        (AwesomeVersion("2026.1.0"), "2026.1.0"),
        (MappingProxyType({"a": 1}), {"a": 1}),
        ({1: "a"}, {"1": "a"}),
        ({Path("/x"): 1}, {"/x": 1}),
        (frozenset({1}), [1]),
        (("a", {"b"}), ["a", ["b"]]),
        ({"a": 1}.keys(), ["a"]),
        (datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC), "2026-01-02T03:04:05Z"),
        ("file-\udcff", "file-?"),
        ({"k\udcff": ["\ud800"]}, {"k?": ["?"]}),
        (Thing("x", Thing("y")), {"name": "x", "inner": {"name": "y", "inner": None}}),
    ],
)
def test_values_are_written_as_the_contract_says(value: Any, written: Any) -> None:
    assert body(answer.ok(Thing("n", value)))["data"]["inner"] == written


@given(st.dictionaries(st.text(), st.text() | st.integers(-(2**63), 2**63 - 1) | st.lists(st.text()), min_size=1))
def test_any_text_can_be_answered(data: dict[str, Any]) -> None:
    assert body(answer.ok(data))["result"] == "ok"


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (errors.SupervisorError("x"), 400),
        (errors.Invalid("x"), 400),
        (errors.Busy("x"), 400),
        (errors.Blocked("x"), 400),
        (errors.Unavailable("x"), 400),
        (errors.Timeout("x"), 400),
        (errors.Unsupported("x"), 400),
        (errors.Forbidden("x"), 403),
        (errors.NotFound("x"), 404),
        (errors.Conflict("x"), 409),
        (errors.Gone("x"), 410),
        (errors.RateLimited("x"), 429),
        (errors.Internal("x"), 500),
    ],
)
def test_what_an_error_means_decides_its_status(error: errors.SupervisorError, status: int) -> None:
    response = answer.error(error)
    assert response.status == status_of(error) == status
    assert body(response) == {"result": "error", "message": "x"}


def test_a_catalogued_error_carries_its_key_and_fields() -> None:
    response = answer.error(errors.ADDON_NOT_RUNNING(app="local_x"))
    assert body(response) == {
        "result": "error",
        "message": "Add-on local_x is not running",
        "error_key": "app_not_running_error",
        "extra_fields": {"app": "local_x"},
    }


@pytest.mark.parametrize(
    ("kind", "fields", "key"),
    [
        (
            errors.ADDON_UNSUPPORTED_ARCH,
            {"slug": "a", "architectures": "i386"},
            "addon_not_supported_architecture_error",
        ),
        (
            errors.ADDON_UNSUPPORTED_MACHINE,
            {"slug": "a", "machine_types": "x"},
            "addon_{}_machine_type_error",
        ),
        (
            errors.ADDON_UNSUPPORTED_CORE,
            {"slug": "a", "version": "1"},
            "addon_{}_home_assistant_version_error",
        ),
        (errors.ADDON_NO_STDIN, {"app": "a"}, "app_{}_write_stdin_error"),
    ],
)
def test_three_keys_keep_their_older_names(kind: errors.ErrorKind, fields: dict[str, str], key: str) -> None:
    assert body(answer.error(kind(**fields)))["error_key"] == key.format("not_supported")


def test_a_failed_job_is_named() -> None:
    error = errors.Invalid("x")
    error.job_id = "0" * 32
    assert body(answer.error(error)) == {"result": "error", "message": "x", "job_id": "0" * 32}


def test_an_error_without_text_borrows_the_first_of_its_causes() -> None:
    def message_of(raised: errors.SupervisorError, cause: BaseException | None) -> str:
        try:
            raise raised from cause
        except errors.SupervisorError as err:
            return str(body(answer.error(err))["message"])

    middle = errors.Invalid("")
    middle.__cause__ = OSError("the disk is gone")
    assert message_of(errors.Unavailable(), middle) == "the disk is gone"
    assert message_of(errors.Unavailable("mine"), middle) == "mine"
    assert message_of(errors.Unavailable(), None) == answer.UNKNOWN_ERROR


def test_a_chain_of_causes_that_bites_its_tail_ends() -> None:
    error = errors.Invalid()
    other = errors.Invalid()
    error.__cause__, other.__cause__ = other, error
    assert body(answer.error(error))["message"] == answer.UNKNOWN_ERROR


def test_wrong_credentials_are_plain_text_unless_catalogued() -> None:
    plain = answer.error(errors.Unauthorized("x"))
    assert (plain.status, plain.text) == (401, "401: Unauthorized")
    catalogued = answer.error(errors.Unauthorized("x", key="auth_invalid_non_string_value_error"))
    assert catalogued.headers["WWW-Authenticate"].startswith("Basic realm=")
    assert body(catalogued)["error_key"] == "auth_invalid_non_string_value_error"


@pytest.mark.parametrize(
    ("form", "status", "content_type"),
    [
        (ErrorForm.TEXT, 404, "text/plain; charset=utf-8"),
        (ErrorForm.BYTES, 404, "application/octet-stream"),
        (ErrorForm.SENTENCE, 200, "text/plain; charset=utf-8"),
    ],
)
def test_routes_without_envelope_tell_errors_in_their_own_form(form: ErrorForm, status: int, content_type: str) -> None:
    response = answer.error(errors.NotFound("No such thing"), form)
    assert (response.status, response.body) == (status, b"No such thing")
    assert response.headers["Content-Type"] == content_type
