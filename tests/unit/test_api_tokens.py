from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor.api.caller import CORE, Caller, CallerKind, Role
from supervisor.api.tokens import TokenIndex, new_token


def test_a_token_is_56_random_bytes_in_hexadecimal() -> None:
    tokens = {new_token() for _ in range(100)}
    assert len(tokens) == 100
    assert all(len(bytes.fromhex(token)) == 56 for token in tokens)


def test_each_token_finds_its_caller_and_no_other_text_does() -> None:
    index, core, addon = TokenIndex(), new_token(), new_token()
    index.add(core, CORE)
    index.add(addon, Caller.addon("a"))
    assert index.by_token(core) is CORE
    assert index.by_token(addon) == Caller.addon("a")
    for wrong in ("", core[:-1], core + "0", core.upper() if core.upper() != core else "x", addon[::-1], core + addon):
        assert index.by_token(wrong) is None


def test_a_replaced_token_is_worthless_at_once() -> None:
    index, old, new, other = TokenIndex(), new_token(), new_token(), new_token()
    index.add(other, Caller.addon("other"))
    index.replace(old, Caller.addon("a"))
    index.replace(new, Caller.addon("a", role=Role.ADMIN, hassio_api=True))
    assert index.by_token(old) is None
    assert index.by_token(new) == Caller.addon("a", role=Role.ADMIN, hassio_api=True)
    assert index.by_token(other) == Caller.addon("other")


def test_removing_forgets_every_token_of_that_caller_alone() -> None:
    index = TokenIndex()
    for token in ("1", "2"):
        index.add(token, Caller.addon("a"))
    index.add("3", Caller.addon("b"))
    index.add("4", CORE)
    index.remove(CallerKind.ADDON, "a")
    assert [index.by_token(token) for token in "1234"] == [None, None, Caller.addon("b"), CORE]


def test_an_empty_token_can_name_nobody() -> None:
    with pytest.raises(ValueError, match="empty"):
        TokenIndex().add("", CORE)


@given(st.text())
def test_no_text_breaks_the_index(text: str) -> None:
    index = TokenIndex()
    index.add(new_token(), CORE)
    assert index.by_token(text) is None
