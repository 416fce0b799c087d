"""`supervisor mounts`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cli_daemon import FakeDaemon
from cli_fixtures import Result, command, daemon

__all__ = ["command", "daemon"]
Run = Callable[..., Result]

VAULT = {
    "name": "vault",
    "type": "cifs",
    "usage": "backup",
    "server": "nas",
    "share": "a/b",
    "version": None,
    "read_only": False,
    "state": "active",
    "user_path": None,
}
FILMS = {**VAULT, "name": "films", "type": "nfs", "usage": "media", "path": "/films", "state": "failed"}


def bodies(daemon: FakeDaemon, method: str = "POST") -> list[dict[str, Any]]:
    return [seen.json for seen in daemon.requests(method)]


def test_mounts_are_listed_with_their_state(command: Run, daemon: FakeDaemon) -> None:
    daemon.answers["GET", "/mounts"] = {"default_backup_mount": "vault", "mounts": [VAULT, FILMS]}
    out = command("mounts").out
    assert "//nas/a/b" in out
    assert "nas:/films" in out
    assert "backup (default)" in out
    assert "failed" in out
    assert command("mounts", "-o", "name").out == "vault\nfilms\n"


@pytest.mark.parametrize(
    ("what", "described"),
    [
        ("//nas.local/a/b", {"type": "cifs", "server": "nas.local", "share": "a/b"}),
        ("nas:/volume1/films", {"type": "nfs", "server": "nas", "path": "/volume1/films"}),
        ("[fd00::1]:/films", {"type": "nfs", "server": "[fd00::1]", "path": "/films"}),
    ],
)
def test_what_is_mounted_is_written_as_for_mount(
    command: Run, daemon: FakeDaemon, what: str, described: dict[str, str]
) -> None:
    daemon.answers["POST", "/mounts"] = {}
    assert command("mounts", "add", "one", what, "--usage", "share", "--port", "99").code == 0
    assert bodies(daemon) == [{"name": "one", "usage": "share", "read_only": False, "port": 99, **described}]


def test_a_password_comes_from_a_file_and_never_from_an_argument(
    command: Run, daemon: FakeDaemon, tmp_path: Path
) -> None:
    daemon.answers["PUT", "/mounts/vault"] = {}
    (tmp_path / "secret").write_text("two words\nmore")
    login = ("--username", "me", "--password-file", str(tmp_path / "secret"))
    assert command("mounts", "add", "vault", "//nas/x", "--usage", "backup", "--replace", *login).code == 0
    assert "use --password-file" in command("mounts", "add", "v", "//nas/x", "--usage", "backup", *login[:2]).err
    [body] = bodies(daemon, "PUT")
    assert (body["username"], body["password"]) == ("me", "two words")


@pytest.mark.parametrize("what", ["nas", "/films", "//nas", "//nas/", "nas:films", ":/x", "\\\\nas\\x"])
def test_what_can_not_be_mounted_is_not_asked_for(command: Run, daemon: FakeDaemon, what: str) -> None:
    assert command("mounts", "add", "one", what, "--usage", "share").code != 0
    assert daemon.requests() == []


def test_the_default_is_chosen_or_this_machine(command: Run, daemon: FakeDaemon) -> None:
    daemon.answers["POST", "/mounts/options"] = {}
    assert command("mounts", "default").code != 0
    assert command("mounts", "default", "vault", "--local").code != 0
    assert command("mounts", "default", "vault").code == command("mounts", "default", "--local").code == 0
    assert bodies(daemon) == [
        {"default_backup_mount": "vault"},
        {"default_backup_mount": None},
    ]


def test_removing_needs_a_yes(command: Run, daemon: FakeDaemon) -> None:
    assert command("mounts", "remove", "vault").code != 0
    assert daemon.requests() == []
    daemon.answers["DELETE", "/mounts/vault"] = {}
    assert command("mounts", "remove", "vault", "-y").code == 0
