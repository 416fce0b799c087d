from __future__ import annotations

import contextlib
import time
from urllib.parse import quote, unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor.api.target import HostileTarget, decoded_path

PIECES = st.sampled_from(
    [
        "/",
        "//",
        ".",
        "..",
        "%2e",
        "%2E%2E",
        "%2f",
        "%5c",
        "\\",
        "%00",
        "%25",
        "%2525",
        "a",
        "self",
        "é",
        "%C3%A9",
        "%FF",
        "\x00",
        "%",
        "#",
    ]
)


@pytest.mark.parametrize(
    "target",
    [
        "*",
        "http://supervisor/info",
        "supervisor:80",
        "//info",
        "/addons//info",
        "/addons/self//",
        "/addons/../info",
        "/addons/%2e%2e/info",
        "/addons/.%2E/info",
        "/./info",
        "/addons/.",
        "/addons/self%2finfo",
        "/addons/self%2Finfo",
        "/addons/self%5cinfo",
        "/addons\\self",
        "/addons/%00",
        "/addons/%0a",
        "/addons/%7f",
        "/addons/%252e",
        "/addons/%25%32%65",
        "/addons/%ff",
        "/info#top",
        "/info?x=%3Cscript%3E",
        "/info?x=%253Cscript%253E",
        "/info?x=<SCRIPT src=a>",
        "/info?file=../../etc/passwd",
        "/info?file=..%2f..%2fetc",
        "/info?file=%2e%2e%2f",
        "/info?file=..//etc",
        "/info?x=/a/",
        "/info?x=/./",
        "/info?x=proc/self/environ",
        "/info?x=1 UNION all SELECT",
        "/info?x=1+union+select+a(",
        "/info?x=concat(a)",
        "/info?x=%" + "25" * 40 + "41",
    ],
)
def test_a_hostile_target_is_refused(target: str) -> None:
    with pytest.raises(HostileTarget):
        decoded_path(target)


@pytest.mark.parametrize(
    ("target", "path"),
    [
        ("/", "/"),
        ("/addons/", "/addons/"),
        ("/addons/a0d7b954_x-y.z/info", "/addons/a0d7b954_x-y.z/info"),
        ("/mounts/my%20mount", "/mounts/my mount"),
        ("/mounts/k%C3%BCche", "/mounts/küche"),
        ("/mounts/100%25", "/mounts/100%"),
        ("/addons/...", "/addons/..."),
        ("/addons/.hidden", "/addons/.hidden"),
        ("/host/logs?lines=100&x=a/b", "/host/logs"),
        ("/info?x=union station, selected", "/info"),
        ("/info?x=script", "/info"),
        ("/info?url=/abc/def", "/info"),
        ("/info?x=100%25", "/info"),
    ],
)
def test_a_plain_target_is_decoded_once(target: str, path: str) -> None:
    assert decoded_path(target) == path


@given(st.lists(PIECES, max_size=12).map("".join))
def test_whatever_passes_has_one_reading_and_no_tricks(tail: str) -> None:
    try:
        path = decoded_path("/" + tail)
    except HostileTarget:
        return
    assert unquote(path) == path
    assert "\\" not in path
    assert "//" not in path
    assert not {".", ".."} & set(path.split("/"))
    assert path.isprintable()
    assert path.count("/") == ("/" + tail).partition("?")[0].count("/")


@given(
    st.text(st.characters(codec="utf-8", categories=("L", "N"), include_characters="-_.~ "), min_size=1).filter(
        lambda name: name.strip(".")
    )
)
def test_every_honest_name_survives_the_way(name: str) -> None:
    assert decoded_path("/mounts/" + quote(name, safe="")) == "/mounts/" + name


@given(st.text(max_size=400))
def test_no_text_breaks_the_reading(text: str) -> None:
    for target in (text, "/" + text, "/info?" + text):
        try:
            decoded_path(target)
        except HostileTarget:
            continue


@pytest.mark.parametrize("piece", ["<", "<script", "union", "union all ", "concat", "a=/", "a=/b", "..", "%25", "%3C"])
def test_the_longest_target_is_judged_at_once(piece: str) -> None:
    target = "/info?x=" + piece * (24000 // len(piece))
    before = time.thread_time()
    with contextlib.suppress(HostileTarget):
        decoded_path(target)
    assert time.thread_time() - before < 0.25
