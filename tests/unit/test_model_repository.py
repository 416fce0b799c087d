"""Repository sources and slugs (add-on contract §2.1)."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
import voluptuous as vol
from hypothesis import given
from hypothesis import strategies as st

from supervisor.const import BUILTIN_REPOSITORIES
from supervisor.errors import Invalid
from supervisor.model.repository import (
    RepositoryInfo,
    Source,
    parse_source,
    read_repository_info,
    repository_slug,
    source,
)


@pytest.mark.parametrize(("given_source", "slug"), BUILTIN_REPOSITORIES.items())
def test_built_in_repositories_have_their_pinned_slugs(given_source: str, slug: str) -> None:
    assert repository_slug(given_source) == slug
    parsed = parse_source(given_source)
    assert parsed.slug == slug
    assert parsed.is_builtin


def test_the_core_repository_is_known_by_its_url_too() -> None:
    parsed = parse_source("https://github.com/home-assistant/addons")
    assert (parsed.text, parsed.slug, parsed.public) == ("core", "core", "core")
    assert parsed.url == "https://github.com/home-assistant/addons"


def test_the_local_repository_has_no_url() -> None:
    assert parse_source("local") == Source("local", "")
    assert parse_source("local").is_local
    assert parse_source("local").public == "local"


def test_case_makes_no_other_slug_but_anything_else_does() -> None:
    base = "https://example.org/Add-ons"
    expected = hashlib.sha1(b"https://example.org/add-ons").hexdigest()[:8]
    assert repository_slug(base) == repository_slug(base.upper()) == expected
    assert len({repository_slug(base + end) for end in ("", "/", ".git", "#main")}) == 4


def test_any_text_that_json_can_hold_has_a_slug() -> None:
    assert len(repository_slug("\ud800")) == len(repository_slug("")) == 8


@pytest.mark.parametrize(
    ("text", "url", "branch"),
    [
        ("https://example.org/repo", "https://example.org/repo", None),
        (
            "http://example.org:8080/repo.git#next/big-thing_1.0",
            "http://example.org:8080/repo.git",
            "next/big-thing_1.0",
        ),
        ("ssh://git@example.org/repo#main", "ssh://git@example.org/repo", "main"),
        ("https://[::1]:3000/repo", "https://[::1]:3000/repo", None),
        ("file:///srv/repo#main", "file:///srv/repo", "main"),
    ],
)
def test_a_url_with_or_without_a_branch_is_a_source(text: str, url: str, branch: str | None) -> None:
    parsed = parse_source(text)
    assert (parsed.text, parsed.url, parsed.branch) == (text, url, branch)
    assert parsed.slug == repository_slug(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Core",
        "example.org/repo",
        "git@example.org:repo",
        "/srv/repo",
        "file://srv/repo",
        "file://example.org/srv/repo",
        "file:////server/share",
        "https://",
        "https:///path",
        "https://[",
        "https://example.org:port/x",
        "https://example.org:0/x",
        "https://example.org/a b",
        "https://example.org/a\n",
        "https://example.org/a\x00",
        "https://example.org\\@evil.example/",
        "ext::sh -c id",
        "ext::sh",
        "git://example.org/repo",
        "javascript://example.org/",
        "--upload-pack=/bin/sh",
        "ssh://-oProxyCommand=id/x",
        "ssh://user@-oProxyCommand=id/x",
        "ssh://-oProxyCommand=id@host/x",
        "https://example.org/x#",
        "https://example.org/x#-b",
        "https://example.org/x#a..b",
        "https://example.org/x#a#b",
        "https://example.org/x#a b",
        "https://example.org/x#/a",
        "https://example.org/x#a.lock",
        "https://example.org/" + "x" * 3000,
    ],
)
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(Invalid):
        parse_source(text)
    with pytest.raises(vol.Invalid):
        source(text)


def test_credentials_are_accepted_but_never_shown() -> None:
    parsed = parse_source("https://me:hush@example.org:8443/repo?a=b#main")
    assert parsed.url == "https://me:hush@example.org:8443/repo?a=b"
    assert parsed.public == "https://example.org:8443/repo?a=b#main"
    assert "hush" not in f"{parsed} {parsed!r}"
    with pytest.raises(Invalid) as caught:
        parse_source("https://me:hush@example.org/a b")
    assert "hush" not in caught.value.message


@given(
    st.text(max_size=40)
    | st.builds("{}://{}/{}{}".format, st.sampled_from(["https", "ssh", "file", "ext"]), st.text(max_size=10),
                st.text(max_size=10), st.text(max_size=6))
)  # fmt: skip
def test_whatever_is_accepted_can_be_given_to_git_as_it_is(text: str) -> None:
    try:
        parsed = parse_source(text)
    except Invalid:
        return
    assert parse_source(parsed.text) == parsed
    assert source(text) == parsed.text
    for part in (parsed.url, parsed.branch or "x"):
        assert not part.startswith("-")
        assert part.isprintable()
    assert "@" not in parsed.public.partition("://")[2].partition("/")[0]
    assert parsed.is_builtin or parsed.url.partition("://")[0].lower() in ("https", "http", "ssh", "file")


def test_a_repository_describes_itself(tmp_path: Path) -> None:
    with pytest.raises(Invalid, match="not a repository"):
        read_repository_info(tmp_path)
    (tmp_path / "repository.json").write_text('{"name": "Mine", "other": 1}')
    assert read_repository_info(tmp_path) == RepositoryInfo("Mine")
    (tmp_path / "repository.yaml").write_text("name: Ours\nurl: https://example.org\nmaintainer: Us <us@example.org>\n")
    assert read_repository_info(tmp_path) == RepositoryInfo("Ours", "https://example.org", "Us <us@example.org>")


@pytest.mark.parametrize("content", ["url: https://example.org", "name: 1", "- name", "name: [", "name: x\nurl: y"])
def test_a_broken_description_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "repository.yaml").write_text(content)
    with pytest.raises(Invalid, match=r"repository\.yaml"):
        read_repository_info(tmp_path)


def test_a_description_that_leads_elsewhere_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "secret.yaml").write_text("name: secret")
    (tmp_path / "repo").mkdir()
    (tmp_path / "repo" / "repository.yaml").symlink_to(tmp_path / "secret.yaml")
    with pytest.raises(Invalid, match="out of the repository"):
        read_repository_info(tmp_path / "repo")
