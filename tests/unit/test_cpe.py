"""Names of operating systems for machines (host contract §28)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor.model.cpe import Cpe


def test_the_home_assistant_operating_system_is_known_by_its_name() -> None:
    cpe = Cpe.parse("cpe:2.3:o:home-assistant:haos:15.2:*:production:*:*:*:generic-x86-64:*")
    assert cpe == Cpe("home-assistant", "haos", "15.2", "generic-x86-64")
    assert cpe.is_haos
    old = Cpe.parse(r"cpe:2.3:o:home_assistant:hassos:5.13:*:a\:b:*:*:*:rpi4:*")
    assert (old is not None and old.is_haos, old and old.target_hardware) == (True, "rpi4")


@pytest.mark.parametrize(
    "text",
    [None, "", "cpe:/o:fedoraproject:fedora:40", "cpe:2.3:o:haos", "haos", "cpe:2.3:o:a:haos:1:*:*:*:*:*:x:*:*"],
)
def test_anything_else_is_no_name(text: str | None) -> None:
    assert Cpe.parse(text) is None


def test_another_system_is_not_taken_for_it() -> None:
    cpe = Cpe.parse("cpe:2.3:o:fedoraproject:haos-like:40:*:*:*:*:*:*:*")
    assert cpe is not None
    assert (cpe.is_haos, cpe.target_hardware) == (False, "")


@given(st.text() | st.text(alphabet=r"cpe:/2.3*-\haos").map("cpe:2.3:".__add__))
def test_any_text_gives_a_name_or_none(text: str) -> None:
    cpe = Cpe.parse(text)
    assert cpe is None or text.startswith("cpe:2.3:")
