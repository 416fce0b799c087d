from __future__ import annotations

import asyncio
import os
import socket
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from upstream_repository import Upstream, http_server, processes_with_home

from supervisor.const import MIB
from supervisor.drivers.git import TRANSPORTS, Git, GitLimits
from supervisor.drivers.git_remote import Remote
from supervisor.errors import Internal, Invalid, SupervisorError, Timeout, Unavailable, Unsupported


@pytest.fixture
def upstream(tmp_path: Path) -> Upstream:
    repository = Upstream(tmp_path / "upstream")
    repository.commit({"repository.yaml": "name: Example\n", "one/config.yaml": "name: One\n"})
    return repository


@pytest.fixture
def git(tmp_path: Path) -> Git:
    return Git(tmp_path / "home", transports=(*TRANSPORTS, "http"))


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "store" / "a0d7b954"


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()} if folder.exists() else set()


def holding(folder: Path, text: bytes) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file() and text in path.read_bytes()]


async def test_a_clone_holds_the_files_of_one_commit_and_nothing_else_is_left(
    git: Git, upstream: Upstream, target: Path
) -> None:
    upstream.commit({"two/config.yaml": "name: Two\n"})
    await git.clone(upstream.url, target)
    assert names(target) == {".git", "repository.yaml", "one", "two"}
    assert names(target.parent) == {"a0d7b954"}
    assert (target / ".git" / "shallow").exists()
    await git.check(target)


async def test_a_branch_is_cloned_and_followed(git: Git, upstream: Upstream, target: Path) -> None:
    upstream.git("checkout", "-q", "-b", "feature/x.1")
    upstream.commit({"branch.txt": "1"})
    upstream.git("checkout", "-q", "main")
    await git.clone(upstream.url, target, branch="feature/x.1")
    assert (target / "branch.txt").read_text() == "1"
    upstream.commit({"main.txt": "1"})
    assert await git.pull(target, upstream.url, "feature/x.1") is False
    assert "main.txt" not in names(target)


async def test_a_missing_branch_is_named(git: Git, upstream: Upstream, target: Path) -> None:
    with pytest.raises(Invalid, match="has no branch nowhere"):
        await git.clone(upstream.url, target, branch="nowhere")
    assert names(target.parent) == set()


async def test_a_pull_brings_changes_and_says_so(git: Git, upstream: Upstream, target: Path) -> None:
    await git.clone(upstream.url, target)
    assert await git.pull(target, upstream.url) is False
    upstream.commit({"one/config.yaml": "name: Changed\n", "new": "1"}, remove="repository.yaml")
    assert await git.pull(target, upstream.url) is True
    assert (target / "one/config.yaml").read_text() == "name: Changed\n"
    assert names(target) == {".git", "one", "new"}
    assert await git.pull(target, upstream.url) is False


async def test_a_pull_leaves_files_alone_that_did_not_change(git: Git, upstream: Upstream, target: Path) -> None:
    await git.clone(upstream.url, target)
    file = target / "one/config.yaml"
    for number in range(3):
        before = file.stat()
        upstream.commit({"two": str(number)})
        assert await git.pull(target, upstream.url) is True
        assert (file.stat().st_ino, file.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
        await git.check(target)
        assert file.stat().st_ino == before.st_ino


async def test_a_rewritten_history_is_followed(git: Git, upstream: Upstream, target: Path) -> None:
    await git.clone(upstream.url, target)
    upstream.git("checkout", "-q", "--orphan", "fresh")
    upstream.commit({"fresh": "1"})
    upstream.git("branch", "-qM", "main")
    assert await git.pull(target, upstream.url) is True
    assert "fresh" in names(target)


async def test_a_renamed_default_branch_is_followed(git: Git, upstream: Upstream, target: Path) -> None:
    await git.clone(upstream.url, target)
    upstream.git("branch", "-qm", "trunk")
    upstream.commit({"trunk": "1"})
    assert await git.pull(target, upstream.url) is True
    assert "trunk" in names(target)


async def test_local_changes_are_undone_by_a_pull(git: Git, upstream: Upstream, target: Path) -> None:
    upstream.commit({".gitignore": "ignored\n"})
    await git.clone(upstream.url, target)
    (target / "one/config.yaml").write_text("tampered")
    (target / "ignored").write_text("x")
    (target / "extra").mkdir()
    (target / "extra" / "file").write_text("x")
    assert await git.pull(target, upstream.url) is True
    assert (target / "one/config.yaml").read_text() == "name: One\n"
    assert names(target) == {".git", ".gitignore", "one", "repository.yaml"}


async def test_the_clone_of_another_tool_is_pulled(git: Git, upstream: Upstream, target: Path) -> None:
    target.parent.mkdir()
    upstream.git("clone", "-q", "--depth=1", upstream.url, str(target))
    upstream.commit({"new": "1"})
    await git.check(target)
    assert await git.pull(target, upstream.url) is True
    assert "new" in names(target)


async def test_locks_of_a_killed_git_do_not_stop_the_next_call(git: Git, upstream: Upstream, target: Path) -> None:
    await git.clone(upstream.url, target)
    for lock in ("index.lock", "shallow.lock", "HEAD.lock", "refs/supervisor/fetched.lock"):
        (target / ".git" / lock).touch()
    upstream.commit({"new": "1"})
    assert await git.pull(target, upstream.url) is True


async def test_a_check_restores_lost_files_without_the_remote(git: Git, upstream: Upstream, target: Path) -> None:
    await git.clone(upstream.url, target)
    upstream.folder.rename(upstream.folder.with_name("gone"))
    (target / "one/config.yaml").unlink()
    await git.check(target)
    assert (target / "one/config.yaml").exists()


@pytest.mark.parametrize("harm", ["pack", "head", "no_git", "link"])
async def test_a_damaged_clone_is_reported_and_a_new_clone_mends_it(
    git: Git, upstream: Upstream, target: Path, harm: str
) -> None:
    await git.clone(upstream.url, target)
    if harm == "pack":
        for pack in (target / ".git/objects/pack").glob("*.pack"):
            pack.unlink()
    elif harm == "head":
        (target / ".git/HEAD").write_text("nonsense")
    else:
        (target / ".git").rename(target.parent / "elsewhere")
        if harm == "link":
            (target / ".git").symlink_to(target.parent / "elsewhere")
    with pytest.raises(Internal, match="damaged"):
        await git.check(target)
    with pytest.raises(Internal, match="damaged"):
        await git.pull(target, upstream.url)
    await git.clone(upstream.url, target)
    await git.check(target)


async def test_a_failed_clone_keeps_what_was_there(git: Git, upstream: Upstream, target: Path) -> None:
    await git.clone(upstream.url, target)
    with pytest.raises(Invalid):
        await git.clone(f"{upstream.url}-gone", target)
    assert "one" in names(target)
    assert names(target.parent) == {target.name}


async def test_an_interrupted_replacement_is_undone_and_half_clones_go(git: Git, tmp_path: Path) -> None:
    store = tmp_path / "store"
    for name in (".aaaaaaaa.00000000.old", ".bbbbbbbb.00000000.old", ".cccccccc.00000000.new", "bbbbbbbb", ".mine.new"):
        (store / name).mkdir(parents=True)
    await git.sweep(store)
    await git.sweep(tmp_path / "missing")
    assert names(store) == {"aaaaaaaa", "bbbbbbbb", ".mine.new"}


HOSTILE = [
    "ext::sh -c touch% {marker}",
    "ext::sh -c 'touch {marker}'",
    "--upload-pack=touch {marker}",
    "-utouch {marker}",
    "--config=core.sshCommand=touch {marker}",
    "ssh://-oProxyCommand=touch%20{marker}/x",
    "ssh://%2doProxyCommand=touch%20{marker}/x",
    "ssh://-oProxyCommand=touch@host/x",
    "ssh://a%0ab@host/x",
    "fd::17/foo",
    "git://127.0.0.1/x",
    "ftp://127.0.0.1/x",
    "host:path",
    "git@host:path",
    "/etc",
    "file://host/etc",
    "https://",
    "https://user:p%0aw@host/x",
    "https://host/x\nfoo",
    "https://host:port/x",
    "https://[::1/x",
    "https::ext::sh -c touch",
    "",
]


@pytest.mark.parametrize("url", HOSTILE)
async def test_a_hostile_url_is_refused_and_runs_nothing(git: Git, tmp_path: Path, target: Path, url: str) -> None:
    marker = tmp_path / "marker"
    with pytest.raises(Invalid):
        await git.clone(url.format(marker=marker), target)
    assert await git.remote_reachable(url.format(marker=marker)) is False
    assert not marker.exists()
    assert names(target.parent) == set()


@pytest.mark.parametrize(
    "branch", ["--foo", "-u", "--upload-pack=touch x", "a b", "a:b", "+a", "..", "a..b", "", "a~1", "é"]
)
async def test_a_hostile_branch_is_refused(git: Git, upstream: Upstream, target: Path, branch: str) -> None:
    with pytest.raises(Invalid, match="branch"):
        await git.clone(upstream.url, target, branch=branch)
    assert names(target.parent) == set()


@given(st.text(max_size=80), st.none() | st.text(max_size=20))
def test_whatever_is_let_through_begins_with_an_allowed_transport(text: str, branch: str | None) -> None:
    for url in (text, f"https://{text}", f"ssh://{text}", f"file:///{text}"):
        try:
            remote = Remote.parse(url, branch, TRANSPORTS)
        except Invalid:
            continue
        assert remote.url.split("://")[0] in TRANSPORTS
        assert remote.url.isprintable() or remote.url.isascii() is False
        assert not remote.reference.startswith("-")
        assert "@" not in remote.public.split("://", 1)[1].split("/")[0]


async def test_hooks_filters_and_submodules_of_a_repository_never_run(
    git: Git, upstream: Upstream, target: Path, tmp_path: Path
) -> None:
    marker = tmp_path / "marker"
    hook = f"#!/bin/sh\ntouch {marker}\n"
    inner = Upstream(tmp_path / "inner")
    inner.commit({"secret": "1"})
    upstream.git("submodule", "--quiet", "add", inner.url, "sub")
    upstream.commit(
        {
            ".gitattributes": "* filter=evil\n",
            "hooks/post-checkout": hook,
            ".gitconfig": f'[filter "evil"]\n smudge = touch {marker}\n',
        }
    )
    home_hooks = tmp_path / "home" / "hooks"
    home_hooks.mkdir(parents=True)
    (home_hooks / "post-checkout").write_text(hook)
    (home_hooks / "post-checkout").chmod(0o755)
    await git.clone(upstream.url, target)
    assert names(target / "sub") == set()
    hooks = target / ".git" / "hooks"
    hooks.mkdir()
    for name in ("post-checkout", "post-merge", "reference-transaction", "post-index-change", "pre-auto-gc"):
        (hooks / name).write_text(hook)
        (hooks / name).chmod(0o755)
    upstream.commit({"more": "1"})
    assert await git.pull(target, upstream.url) is True
    assert not marker.exists()


async def test_a_repository_of_another_user_can_be_cloned(git: Git, upstream: Upstream, target: Path) -> None:
    for folder, _, files in os.walk(upstream.folder):
        for name in (".", *files):
            os.chown(Path(folder) / name, 12345, 12345)
    await git.clone(upstream.url, target)
    assert "one" in names(target)


@pytest.mark.parametrize("content", ["random", "zeros"])
async def test_a_repository_over_the_size_limit_is_refused(
    tmp_path: Path, upstream: Upstream, target: Path, content: str
) -> None:
    upstream.commit({"big": os.urandom(6 * MIB) if content == "random" else bytes(60 * MIB)})
    git = Git(tmp_path / "home", limits=GitLimits(max_bytes=2 * MIB))
    with pytest.raises(Invalid, match="too large: at most 2 MiB"):
        await git.clone(upstream.url, target)
    assert names(target.parent) == set()


async def test_a_pull_over_the_size_limit_leaves_the_old_commit(
    tmp_path: Path, upstream: Upstream, target: Path
) -> None:
    git = Git(tmp_path / "home", limits=GitLimits(max_bytes=2 * MIB))
    await git.clone(upstream.url, target)
    upstream.commit({"big": os.urandom(6 * MIB)})
    with pytest.raises(Invalid, match="too large"):
        await git.pull(target, upstream.url)
    assert "big" not in names(target)
    assert "one" in names(target)


async def test_a_repository_nested_beyond_reason_is_refused_and_leaves_nothing(
    git: Git, upstream: Upstream, target: Path
) -> None:
    upstream.deep(1500)
    with pytest.raises(Invalid):
        await git.clone(upstream.url, target)
    assert names(target.parent) == set()


async def test_a_server_that_hangs_is_given_up_and_leaves_no_process(tmp_path: Path, target: Path) -> None:
    home = tmp_path / "home"
    git = Git(home, transports=("http",), limits=GitLimits(probe=0.5))
    async with http_server(tmp_path, hang_on=b"/") as (url, _), asyncio.timeout(60):
        with pytest.raises(Timeout, match="took longer"):
            await git.clone(f"{url}/upstream", target)
        assert processes_with_home(home) == []
    assert names(target.parent) == set()


async def test_a_server_that_hangs_in_the_transfer_is_given_up(
    tmp_path: Path, upstream: Upstream, target: Path
) -> None:
    home = tmp_path / "home"
    git = Git(home, transports=("http",), limits=GitLimits(transfer=1))
    async with http_server(tmp_path, hang_on=b"command=fetch") as (url, _):
        with pytest.raises(Timeout):
            await git.clone(f"{url}/upstream", target)
        assert processes_with_home(home) == []
    assert names(target.parent) == set()


async def test_a_cancelled_clone_leaves_neither_processes_nor_files(
    tmp_path: Path, upstream: Upstream, target: Path
) -> None:
    home = tmp_path / "home"
    git = Git(home, transports=("http",))
    async with http_server(tmp_path, hang_on=b"command=fetch") as (url, bodies):
        task = asyncio.create_task(git.clone(f"{url}/upstream", target))
        while not any(b"command=fetch" in body for body in bodies):  # noqa: ASYNC110 - the far end is a real server
            await asyncio.sleep(0.02)
        assert names(target.parent) != set()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert processes_with_home(home) == []
    assert names(target.parent) == set()


async def test_an_unreachable_server_is_unavailable_at_once(git: Git, target: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    async with asyncio.timeout(60):
        with pytest.raises(Unavailable, match="can't be reached"):
            await git.clone(f"https://127.0.0.1:{port}/x", target)
        with pytest.raises(Unavailable, match="can't be reached"):
            await git.clone(f"ssh://git@127.0.0.1:{port}/x", target)
    assert names(target.parent) == set()


async def test_a_login_is_used_and_stays_secret(tmp_path: Path, upstream: Upstream, git: Git, target: Path) -> None:
    async with http_server(tmp_path, login="me:s3cr3t w") as (url, _):
        private = url.replace("://", "://me:s3cr3t+w@") + "/upstream"
        with pytest.raises(Invalid) as refused:
            await git.clone(private, target)
        assert "s3cr3t" not in str(refused.value)
    async with http_server(tmp_path, login="me:s3cr3t/w") as (url, _):
        private = url.replace("://", "://me:s3cr3t%2Fw@") + "/upstream"
        await git.clone(private, target)
        upstream.commit({"new": "1"})
        assert await git.pull(target, private) is True
        with pytest.raises(Invalid, match="could not read Username"):
            await git.clone(f"{url}/upstream", target)
    assert "s3cr3t" not in (target / ".git" / "config").read_text()
    assert holding(target, b"s3cr3t") == []


async def test_a_login_is_not_sent_to_another_server(tmp_path: Path, upstream: Upstream, git: Git) -> None:
    async with http_server(tmp_path, login="me:s3cr3t") as (url, _):
        elsewhere = Remote.parse("http://me:s3cr3t@127.0.0.1:1/x", None, ("http",))
        with pytest.raises(SupervisorError):
            await git.remote_head(f"{url}/upstream")
        assert elsewhere.environment["GIT_CONFIG_KEY_0"] == "credential.http://127.0.0.1:1.helper"


async def test_a_missing_program_is_unsupported(tmp_path: Path, target: Path) -> None:
    git = Git(tmp_path / "home", program=str(tmp_path / "no-git"))
    with pytest.raises(Unsupported, match="can't be started"):
        await git.clone("https://127.0.0.1/x", target)


async def test_an_empty_repository_is_refused(git: Git, tmp_path: Path, target: Path) -> None:
    with pytest.raises(Invalid, match="has no commit"):
        await git.clone(Upstream(tmp_path / "empty").url, target)


async def test_text_from_a_remote_is_harmless_to_show() -> None:
    remote = Remote.parse("https://tom:pass@host/x", None, TRANSPORTS)
    text = remote.explain("noise\nfatal: \x1b[31mtom https://a:b@host pass" + "x" * 1000)
    assert "\x1b" not in text
    assert "pass" not in text
    assert "a:b@" not in text
    assert len(text) <= 300
    assert remote.explain("") == "no reason given"
