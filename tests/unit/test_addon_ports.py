from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor.managers.addons.ports import Ports, effective_ports, first_conflict, known_choices, published_ports

PORTS = st.dictionaries(
    st.builds(lambda number, kind: f"{number}{kind}", st.integers(1, 99), st.sampled_from(["/tcp", "/udp"])),
    st.none() | st.integers(1, 65535),
    max_size=5,
)


@pytest.mark.parametrize(
    ("declared", "chosen", "effective"),
    [
        (None, None, None),
        ({}, {"80/tcp": 1}, None),
        ({"80/tcp": 8080}, None, {"80/tcp": 8080}),
        ({"80/tcp": 8080}, {"80/tcp": 9}, {"80/tcp": 9}),
        ({"80/tcp": 8080}, {"80/tcp": None}, {"80/tcp": None}),
        ({"80/tcp": None, "53/udp": 53}, {"80/tcp": 9}, {"80/tcp": 9, "53/udp": 53}),
        ({"80/tcp": 8080}, {"81/tcp": 9}, {"80/tcp": 8080}),
        ({"80": 8080}, {"80/tcp": 9}, {"80": 9}),
        ({"80/tcp": 8080}, {"80": 9}, {"80/tcp": 9}),
        ({"80/tcp": 8080}, {"80/udp": 9}, {"80/tcp": 8080}),
    ],
)
def test_choices_lie_on_top_of_what_is_declared(
    declared: Ports | None, chosen: Ports | None, effective: Ports | None
) -> None:
    assert effective_ports(declared, chosen) == effective


def test_only_open_ports_are_published_and_always_with_their_protocol() -> None:
    assert published_ports({"80": 8080, "53/udp": 53, "443/tcp": None}) == {"80/tcp": 8080, "53/udp": 53}
    assert published_ports(None) == {}


@given(PORTS, PORTS)
def test_storing_only_the_known_choices_changes_nothing(declared: Ports, chosen: Ports) -> None:
    known = known_choices(declared, chosen)
    assert known.keys() <= declared.keys()
    assert effective_ports(declared, known) == effective_ports(declared, chosen)


HOLDERS = st.dictionaries(st.sampled_from(["a", "b", "c"]), PORTS, max_size=3)


@given(PORTS, HOLDERS)
def test_a_conflict_is_a_port_of_the_host_that_both_want_with_the_same_protocol(
    wanted: Ports, holders: dict[str, Ports]
) -> None:
    mine = published_ports(wanted)
    held = {name: published_ports(ports) for name, ports in holders.items()}
    found = first_conflict(mine, held)
    sockets = {(host, port.partition("/")[2]) for port, host in mine.items()}
    taken = {(host, port.partition("/")[2]) for ports in held.values() for port, host in ports.items()}
    assert (found is not None) == bool(sockets & taken)
    if found is not None:
        number, holder = found
        assert number in mine.values()
        assert number in held[holder].values()
