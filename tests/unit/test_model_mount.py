"""Descriptions of network storage (host contract §41, §42)."""

from __future__ import annotations

import subprocess
from pathlib import Path, PurePosixPath
from typing import Any

import pytest
import voluptuous as vol
from hypothesis import given
from hypothesis import strategies as st

from supervisor.api.routes.mounts import shown
from supervisor.drivers.dbus.systemd import UnitState
from supervisor.managers.mounts import MountStatus
from supervisor.model.mount import MOUNT, Mount
from supervisor.model.unit_name import mount_unit_name

NFS = {"name": "films", "type": "nfs", "usage": "media", "server": "nas", "path": "/films"}
CIFS = {"name": "vault", "type": "cifs", "usage": "backup", "server": "nas", "share": "vault"}
LOGIN = {"username": "me", "password": "secret"}
KEY = Path("/key")


def made(*parts: dict[str, Any], **changes: Any) -> Mount:
    merged: dict[str, Any] = {}
    for part in (*parts, changes):
        merged |= part
    return Mount.of(MOUNT(merged))


def test_the_options_are_those_of_the_contract() -> None:
    assert made(NFS).what == "nas:/films"
    assert made(NFS).options(KEY) == ["softerr", "timeo=100", "retrans=2"]
    assert made(NFS, read_only="yes", port="2049").options(KEY)[:2] == ["ro", "port=2049"]
    common = ["noserverino", "soft", "echo_interval=10", "retrans=0"]
    guest = made(CIFS, share="data/sub")
    assert (guest.what, guest.options(KEY)) == ("//nas/data/sub", [*common, "guest"])
    known = made(CIFS, LOGIN, version="1.0", port=445)
    assert known.options(KEY) == ["port=445", *common, "vers=1.0", "credentials=/key"]
    assert known.credentials() == b"username=me\npassword=secret"
    assert "secret" not in repr(known)


@pytest.mark.parametrize(("state", "told"), [(UnitState.ACTIVE, "active"), ("refreshing", None), (None, None)])
def test_clients_are_told_no_state_that_they_do_not_know(state: UnitState | str | None, told: str | None) -> None:
    status = MountStatus.of(state, usable=True)
    assert shown(made(NFS), status.state).state == told
    assert status.usable


@pytest.mark.parametrize(
    "changes",
    [
        {"name": "a-b"},
        {"name": "../x"},
        {"name": ""},
        {"type": "bind"},
        {"usage": "ssl"},
        {"server": "/nas"},
        {"server": "\\nas"},
        {"server": "-o"},
        {"server": "a b"},
        {"port": 0},
        {"port": 65536},
        {"share": "/x"},
        {"share": "x,uid=0"},
        {"server": "nas,soft"},
        {"share": ""},
        {"share": 1},
        {"username": "me"},
        {"password": "me"},
        {"username": "me\npassword=x", "password": "p"},
        {"username": "me", "password": "p\rq"},
        {"username": "me", "password": "p\0"},
        {"version": "3.0"},
        {"read_only": True},
    ],
)
def test_what_makes_no_sense_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(vol.Invalid):
        MOUNT({**CIFS, **changes})


def test_keys_of_others_are_dropped_and_nothing_else() -> None:
    assert MOUNT({**NFS, "share": "x", "username": "me", "future": 1}) == {**NFS, "read_only": False}


TEXT = st.text(min_size=1, max_size=20)


@given(
    st.fixed_dictionaries(
        {"name": TEXT | st.just("a"), "type": st.sampled_from(["cifs", "nfs", "x"]), "usage": st.just("share")},
        optional={
            "server": TEXT,
            "share": TEXT,
            "path": TEXT,
            "username": TEXT,
            "password": TEXT,
            "port": st.integers() | TEXT,
            "version": st.sampled_from([None, "1.0", "2.0", "9"]),
        },
    )
)
def test_whatever_is_accepted_is_stored_unchanged_and_stays_in_its_line(described: dict[str, Any]) -> None:
    try:
        mount = Mount.of(MOUNT(described))
    except vol.Invalid:
        return
    assert Mount.of(MOUNT(mount.stored())) == mount
    assert mount.what.isprintable() or not {"\n", "\r", "\0"} & set(mount.what)
    assert (mount.credentials() or b"=\n=").count(b"\n") == 1
    assert not mount.what.startswith("-")


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/mnt/data/supervisor/mounts/nas",
        "/var/lib/my-data/a_b:c",
        "/srv/.hidden/ä b",
        "/.data/x.y",
        "/a\\b",
        "/a//b/",
    ],
)
def test_units_are_named_as_systemd_names_them(path: str) -> None:
    wanted = subprocess.run(
        ["systemd-escape", "--path", "--suffix=mount", path], check=True, capture_output=True, text=True
    )
    assert mount_unit_name(PurePosixPath(path)) == wanted.stdout.strip()


@given(st.text(alphabet=st.characters(blacklist_characters="\0", blacklist_categories=("Cs",)), min_size=1))
def test_any_folder_gives_a_name_that_systemd_takes(name: str) -> None:
    unit = mount_unit_name(PurePosixPath("/mnt") / name.lstrip("/"))
    assert set(unit) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789:_.\\-")
