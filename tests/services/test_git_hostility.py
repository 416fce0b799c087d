"""Hostile repositories, servers and machines: clear errors, nothing executed, nothing left behind.

Everything is real: git, its transports, TLS on loopback, links and processes.
"""

from __future__ import annotations

import asyncio
import errno
import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import attrs
import pytest
from pack_server import PackServer
from upstream_repository import Authority, GitServer, Upstream, processes_with_home, served

from supervisor.const import MIB
from supervisor.drivers.git import Git, GitLimits
from supervisor.drivers.git_confinement import Account, confinement
from supervisor.drivers.git_program import GitProgram
from supervisor.errors import Internal, Invalid, SupervisorError, Timeout, Unavailable
from supervisor.managers.store.assets import read_asset
from supervisor.managers.store.index import Place, StoreIndex
from supervisor.model.assets import AssetKind

MANIFEST = "name: One\nversion: '1'\nslug: one\ndescription: d\narch: [amd64]\n"
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")


@attrs.frozen
class Bench:
    """A folder that every user can get to, with what a hostile author would like to see touched."""

    root: Path
    upstream: Upstream
    canary: Path
    home: Path
    target: Path

    def git(self, limits: GitLimits | None = None) -> Git:
        return Git(self.home, limits=limits)

    @property
    def program(self) -> str:
        """A shell command that would leave a trace."""
        return f"touch {self.canary}"

    def nothing_happened(self) -> None:
        """Neither was anything run nor is anything left."""
        assert not self.canary.exists()
        assert processes_with_home(self.home) == []
        assert [path.name for path in self.target.parent.iterdir() if path != self.target] == []


@pytest.fixture
def bench() -> Iterator[Bench]:
    # Not below pytest's own folder, which is closed to everybody else.
    root = Path(tempfile.mkdtemp(prefix="git-"))
    root.chmod(0o755)
    (root / "store").mkdir()
    (root / "canaries").mkdir()
    (root / "canaries").chmod(0o777)
    upstream = Upstream(root / "upstream")
    upstream.commit({"repository.yaml": "name: Example\n", "one/config.yaml": MANIFEST})
    yield Bench(root, upstream, root / "canaries" / "canary", root / "home", root / "store" / "a0d7b954")
    shutil.rmtree(root)


@pytest.fixture
def authority(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> Authority:
    """Git trusts it."""
    made = Authority.make(bench.root / "authority")
    monkeypatch.setenv("SSL_CERT_FILE", str(made.certificate))
    return made


def script(bench: Bench, body: str) -> str:
    file = bench.root / "program"
    file.write_text(f"#!/bin/sh\n{body}\n")
    file.chmod(0o755)
    return str(file)


def program(bench: Bench, body: str) -> GitProgram:
    return GitProgram(script(bench, body), bench.home, ("https", "file"), (), max_file_bytes=4 * MIB)


# How far from root


@as_root
async def test_git_is_nobody_without_capabilities_new_privileges_or_large_files(bench: Bench) -> None:
    body = (
        "id -u; grep -E '^(CapPrm|CapEff|CapAmb|NoNewPrivs|Groups)' /proc/self/status; ulimit -f; ulimit -c; ulimit -v"
    )
    output = await program(bench, body).run("x", network=True)
    lines = dict(line.split(":", 1) for line in output.splitlines() if ":" in line)
    numbers = [line for line in output.splitlines() if ":" not in line]
    assert int(numbers[0]) != 0
    assert {name: int(lines[name], 16) for name in ("CapPrm", "CapEff", "CapAmb")} == {
        "CapPrm": 0, "CapEff": 0, "CapAmb": 0,
    }  # fmt: skip
    assert lines["NoNewPrivs"].strip() == "1"
    assert lines["Groups"].strip() in ("", str(confinement().account.gid))  # type: ignore[union-attr]
    assert numbers[1:] == ["8192", "0", str(2048 * 1024)]


@as_root
async def test_without_a_remote_elsewhere_git_has_no_network(bench: Bench) -> None:
    listing = program(bench, "grep -c : /proc/net/dev; cat /proc/net/fib_trie | grep -c 127.0.0.1 || :")
    assert int((await listing.run("x", network=True)).split()[1]) > 0
    if not confinement().no_network:
        pytest.skip("this machine grants no namespaces")
    assert (await listing.run("x", network=False)).split() == ["1", "0"]


@as_root
async def test_in_a_closed_folder_git_may_read_and_still_not_write(bench: Bench) -> None:
    if not confinement().reader:
        pytest.skip("this machine grants no capabilities to other users")
    bench.root.chmod(0o700)
    secret = bench.root / "secret"
    secret.write_text("x")
    output = await program(bench, f"id -u; touch {bench.root}/new; cat {secret}").run("x", network=False)
    assert output.split() == [str(confinement().account.uid), "x"]  # type: ignore[union-attr]
    assert not (bench.root / "new").exists()
    await bench.git().clone(bench.upstream.url, bench.target)
    await bench.git().check(bench.target)


@as_root
async def test_a_clone_at_rest_is_ours_alone(bench: Bench) -> None:
    await bench.git().clone(bench.upstream.url, bench.target)
    bench.upstream.commit({"two/config.yaml": MANIFEST})
    assert await bench.git().pull(bench.target, bench.upstream.url) is True
    everything = [bench.target, *bench.target.rglob("*")]
    assert len(everything) > 10
    assert {path.lstat().st_uid for path in everything} == {os.geteuid()}
    assert {path.lstat().st_mode & 0o022 for path in everything} == {0}


@as_root
async def test_a_repository_that_only_root_may_read_is_not_read_for_strangers(bench: Bench) -> None:
    bench.upstream.folder.chmod(0o700)
    with pytest.raises(Invalid, match="must be readable for the user"):
        await bench.git().clone(bench.upstream.url, bench.target)
    bench.nothing_happened()


def test_without_other_accounts_or_namespaces_the_limits_remain() -> None:
    bare = attrs.evolve(confinement(), account=None, reader=False, no_new_privileges=False, no_network=False)
    command = bare.command(["git", "x"], folders=[], network=False, max_file_bytes=1024)
    assert command[0] == "sh"
    assert command[-4:] == ["2", str(2048 * 1024), "git", "x"]
    account = attrs.evolve(confinement(), account=Account("a", 7, 8), reader=False, no_new_privileges=True)
    closed = account.command(["git"], folders=[Path("/root")], network=True, max_file_bytes=1024)
    opened = account.command(["git"], folders=[Path("/usr")], network=True, max_file_bytes=1024)
    assert "--reuid=7" in opened
    assert "--inh-caps=-all" in opened
    assert ("--reuid=7" in closed) is (Path("/root").stat().st_mode & 0o005 == 0o005)
    assert "--no-new-privs" in closed


async def test_nothing_of_our_environment_steers_git(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (
        "GIT_DIR", "GIT_WORK_TREE", "GIT_EXEC_PATH", "GIT_SSH", "GIT_ASKPASS", "GIT_CONFIG_PARAMETERS", "GIT_TRACE",
        "GIT_EXTERNAL_DIFF", "GIT_PROXY_COMMAND", "GIT_TEMPLATE_DIR", "SSH_ASKPASS", "PAGER", "EDITOR",
        "SUPERVISOR_TOKEN", "PYTHONPATH", "XDG_CACHE_HOME", "BASH_ENV", "ENV",
    ):  # fmt: skip
        monkeypatch.setenv(name, f"/evil/{name}")
    output = await program(bench, "env").run("x", network=False)
    assert "/evil" not in output
    assert f"HOME={bench.home}" in output.splitlines()
    await bench.git().clone(bench.upstream.url, bench.target)


@as_root
async def test_a_disk_that_refuses_is_an_error_of_ours(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    await bench.git().clone(bench.upstream.url, bench.target)
    bench.upstream.commit({"two/config.yaml": MANIFEST})

    def refuse(*_: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(os, "lchown", refuse)
    with pytest.raises(Internal, match="Read-only file system"):
        await bench.git().pull(bench.target, bench.upstream.url)
    with pytest.raises(Internal, match="Read-only file system"):
        await bench.git().clone(bench.upstream.url, bench.target)
    assert (bench.target / "one" / "config.yaml").exists()
    bench.nothing_happened()


# What an author can put into a repository


TREES: dict[str, Callable[[Upstream], str]] = {
    ".git": lambda upstream: _config_below(upstream, ".git"),
    ".GIT": lambda upstream: _config_below(upstream, ".GIT"),
    "git~1": lambda upstream: _config_below(upstream, "git~1"),
    "ignorable characters": lambda upstream: _config_below(upstream, ".g\u200cit"),
    "parent": lambda upstream: _config_below(upstream, ".."),
    "two entries of one name": lambda upstream: 2 * f"100644 blob {upstream.blob('x')}\tfile\n",
    "submodule options": lambda upstream: _modules(upstream, "-u./payload", "sub"),
    "submodule path": lambda upstream: _modules(upstream, "https://h/x", "-u./payload"),
    "submodule name": lambda upstream: _modules(upstream, "https://h/x", "sub", name="../../x"),
    "gitmodules link": lambda upstream: f"120000 blob {upstream.blob('/etc/passwd')}\t.gitmodules\n",
}


def _config_below(upstream: Upstream, name: str) -> str:
    config = upstream.blob('[core]\n\tfsmonitor = "touch canary"\n')
    inner = upstream.git("mktree", text=f"100644 blob {config}\tconfig\n")
    return f"040000 tree {inner}\t{name}\n"


def _modules(upstream: Upstream, url: str, path: str, *, name: str = "sub") -> str:
    text = f'[submodule "{name}"]\n\tpath = {path}\n\turl = {url}\n'
    return f"100644 blob {upstream.blob(text)}\t.gitmodules\n"


@pytest.mark.parametrize("kind", TREES)
async def test_a_tree_that_aims_at_gits_own_files_is_refused(bench: Bench, kind: str) -> None:
    bench.upstream.tree(TREES[kind](bench.upstream))
    with pytest.raises(Invalid, match="can't be cloned"):
        await bench.git().clone(bench.upstream.url, bench.target)
    bench.nothing_happened()
    assert not bench.target.exists()


async def test_a_pull_of_such_a_tree_leaves_the_old_commit(bench: Bench) -> None:
    await bench.git().clone(bench.upstream.url, bench.target)
    bench.upstream.tree(_config_below(bench.upstream, ".git"))
    with pytest.raises(SupervisorError):
        await bench.git().pull(bench.target, bench.upstream.url)
    assert (bench.target / "one" / "config.yaml").read_text() == MANIFEST
    bench.nothing_happened()


async def test_the_settings_of_a_repository_on_this_machine_run_nothing(bench: Bench) -> None:
    for key in (
        "core.fsmonitor", "core.sshCommand", "core.alternateRefsCommand", "core.pager", "core.askPass", "core.editor",
        "uploadpack.packObjectsHook", "receive.procReceiveRefs", "credential.helper", "gpg.program", "diff.external",
        "filter.x.smudge", "filter.x.clean", "filter.x.process", "alias.upload-pack", "remote.origin.uploadpack",
    ):  # fmt: skip
        bench.upstream.git("config", key, f"!{bench.program}" if key.startswith("alias") else bench.program)
    hooks = bench.upstream.folder / ".git" / "hooks"
    hooks.mkdir()
    for name in ("pre-upload", "post-upload", "post-checkout", "reference-transaction", "fsmonitor-watchman"):
        (hooks / name).write_text(f"#!/bin/sh\n{bench.program}\n")
        (hooks / name).chmod(0o755)
    await bench.git().clone(bench.upstream.url, bench.target)
    await bench.git().pull(bench.target, bench.upstream.url)
    bench.nothing_happened()


async def test_settings_that_came_into_a_clone_run_nothing_and_go(bench: Bench) -> None:
    git = bench.git()
    await git.clone(bench.upstream.url, bench.target)
    config = bench.target / ".git" / "config"
    clean = config.read_text()
    assert f'url = "{bench.upstream.url}"' in clean
    evil = (
        f'[filter "x"]\n\tsmudge = {bench.program}\n\tclean = {bench.program}\n\trequired = true\n'
        f'[credential]\n\thelper = "!{bench.program}"\n[core]\n\tfsmonitor = {bench.program}\n\tworktree = /\n'
        f'[include]\n\tpath = {bench.root}/more\n[url "ext::{bench.program}"]\n\tinsteadOf = file\n'
    )
    bench.upstream.commit({".gitattributes": "* filter=x\n"})
    for change in ("pull", "check", "pull after a link"):
        config.unlink()
        if change == "pull after a link":
            (bench.root / "more").write_text(evil)
            config.symlink_to(bench.root / "more")
        else:
            config.write_text(clean + evil)
        (bench.target / "one" / "config.yaml").unlink()
        await (git.check(bench.target) if change == "check" else git.pull(bench.target, bench.upstream.url))
        assert (bench.target / "one" / "config.yaml").exists()
        assert not config.is_symlink()
        assert evil not in config.read_text()
        bench.nothing_happened()
    assert config.read_text() == clean
    await git.check(bench.target)
    assert config.read_text() == clean


async def test_links_out_of_a_clone_give_nothing_away(bench: Bench) -> None:
    secret = bench.root / "secret"
    secret.write_text("s3cr3t")
    one = bench.upstream.folder / "one"
    outside = Path("..") / ".." / ".." / "secret"
    (one / "README.md").symlink_to(secret)
    (one / "DOCS.md").symlink_to(outside)
    (one / "icon.png").symlink_to("/etc/passwd")
    (one / "logo.png").symlink_to("/dev/zero")
    (one / "translations").symlink_to("/etc")
    (one / "CHANGELOG.md").symlink_to("../inside.md")
    (bench.upstream.folder / "root").symlink_to("/")
    (bench.upstream.folder / "loop").symlink_to(".")
    (bench.upstream.folder / "two").mkdir()
    (bench.upstream.folder / "two" / "config.yaml").symlink_to(secret)
    bench.upstream.commit({"inside.md": "fine"})
    await bench.git().clone(bench.upstream.url, bench.target)
    scan = StoreIndex().scan([Place("a0d7b954", bench.target)])["a0d7b954"]
    assert [addon.slug for addon in scan.addons] == ["a0d7b954_one"]
    addon = scan.addons[0]
    assert addon.assets == {AssetKind.CHANGELOG}
    assert addon.translations == {}
    assert read_asset(addon, AssetKind.CHANGELOG) == b"fine"
    for kind in set(AssetKind) - {AssetKind.CHANGELOG}:
        assert read_asset(addon, kind) is None
    bench.nothing_happened()


async def test_a_description_that_is_a_link_out_makes_it_no_repository(bench: Bench) -> None:
    (bench.root / "other.yaml").write_text("name: s3cr3t\n")
    (bench.upstream.folder / "repository.yaml").unlink()
    (bench.upstream.folder / "repository.yaml").symlink_to(bench.root / "other.yaml")
    bench.upstream.commit()
    await bench.git().clone(bench.upstream.url, bench.target)
    scan = StoreIndex().scan([Place("a0d7b954", bench.target)])["a0d7b954"]
    assert (scan.info, scan.addons) == (None, ())
    assert scan.invalid is not None
    assert "s3cr3t" not in scan.invalid


async def test_a_repository_of_a_gigabyte_is_refused_long_before_its_end(bench: Bench, authority: Authority) -> None:
    server = PackServer(1024 * MIB)
    async with served(server, authority) as url:
        with pytest.raises(Invalid, match="too large: at most 128 MiB"):
            await bench.git(GitLimits(max_bytes=128 * MIB)).clone(f"{url}/x", bench.target)
    assert 100 * MIB < server.sent < 300 * MIB
    bench.nothing_happened()
    assert not bench.target.exists()


# What a server can do


@asynccontextmanager
async def silent_server() -> AsyncIterator[int]:
    """Accept connections and never say a word."""

    async def hold(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await over.wait()
        finally:
            writer.close()

    over = asyncio.Event()
    server = await asyncio.start_server(hold, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        over.set()
        server.close()
        await server.wait_closed()


@pytest.mark.parametrize("scheme", ["https", "ssh"])
async def test_a_server_that_accepts_and_stays_silent_is_given_up(bench: Bench, scheme: str) -> None:
    if scheme == "ssh" and shutil.which("ssh") is None:
        pytest.skip("there is no ssh")
    async with silent_server() as port:
        async with asyncio.timeout(60):
            with pytest.raises(Timeout, match="took longer than 1 seconds"):
                await bench.git(GitLimits(probe=1)).clone(f"{scheme}://127.0.0.1:{port}/x", bench.target)
        bench.nothing_happened()


async def test_a_clone_over_tls_needs_a_certificate_that_is_trusted(
    bench: Bench, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with served(GitServer(bench.root), authority) as url:
        await bench.git().clone(f"{url}/upstream", bench.target)
        assert (bench.target / "one" / "config.yaml").exists()
        monkeypatch.delenv("SSL_CERT_FILE")
        with pytest.raises(Unavailable, match="certificate"):
            await bench.git().pull(bench.target, f"{url}/upstream")
    bench.nothing_happened()


def ssh_stage(folder: Path) -> tuple[int, Path]:
    """Write down all that an sshd needs; return its port and the private key that will open it."""
    folder.mkdir()
    host, key = folder / "host", folder / "key"
    for file in (host, key):
        subprocess.run(("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(file)), check=True)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
    lines = (
        f"Port {port}", "ListenAddress 127.0.0.1", f"HostKey {host}", f"AuthorizedKeysFile {key}.pub", "PidFile none",
        "StrictModes no", "UsePAM no", "PasswordAuthentication no", "PermitRootLogin prohibit-password",
    )  # fmt: skip
    (folder / "config").write_text("\n".join(lines))
    Path("/run/sshd").mkdir(exist_ok=True)
    return port, key


@asynccontextmanager
async def ssh_server(folder: Path) -> AsyncIterator[tuple[int, Path]]:
    """Run a real sshd for ourselves; yields its port and the private key that opens it."""
    port, key = await asyncio.to_thread(ssh_stage, folder)
    process = await asyncio.create_subprocess_exec(
        "/usr/sbin/sshd", "-D", "-e", "-f", str(folder / "config"), stderr=asyncio.subprocess.PIPE
    )
    try:
        assert process.stderr is not None
        while b"Server listening" not in (line := await asyncio.wait_for(process.stderr.readline(), 20)):
            assert line, "sshd did not start"
        yield port, key
    finally:
        process.terminate()
        await process.communicate()


@as_root
@pytest.mark.skipif(not Path("/usr/sbin/sshd").exists(), reason="there is no sshd")
async def test_ssh_uses_the_key_in_our_folder_and_remembers_hosts(bench: Bench) -> None:
    async with ssh_server(bench.root / "ssh") as (port, key):
        url = f"ssh://root@127.0.0.1:{port}{bench.upstream.folder}"
        with pytest.raises(Invalid, match="Permission denied"):
            await bench.git().clone(url, bench.target)
        (bench.home / "id").write_bytes(key.read_bytes())
        (bench.home / "id").chmod(0o600)
        await bench.git().clone(url, bench.target)
        assert (bench.target / "one" / "config.yaml").exists()
        known = bench.home / "known_hosts"
        assert len(known.read_text().splitlines()) == 1
        other = f"{known.read_text().rsplit(' ', 1)[0]} {(bench.root / 'ssh' / 'key.pub').read_text().split()[1]}\n"
        known.write_text(other)
        with pytest.raises(Invalid, match="verification failed"):
            await bench.git().pull(bench.target, url)
    bench.nothing_happened()


@pytest.mark.parametrize("manner", ["hangs", "stalls in the pack", "drips"])
async def test_a_server_that_keeps_us_waiting_in_the_transfer_is_given_up(
    bench: Bench, authority: Authority, manner: str
) -> None:
    bench.upstream.commit({"much": os.urandom(200_000)})
    manners = {
        "hangs": GitServer(bench.root, hang_on=b"command=fetch"),
        "stalls in the pack": GitServer(bench.root, stall_after=60_000),
        "drips": GitServer(bench.root, drip=20),
    }
    limits = GitLimits(transfer=200, slowest=1000, patience=2)
    async with served(manners[manner], authority) as url, asyncio.timeout(100):
        with pytest.raises(Unavailable, match=r"can't be cloned: .*(too slow|RPC failed)"):
            await bench.git(limits).clone(f"{url}/upstream", bench.target)
        bench.nothing_happened()
    assert not bench.target.exists()


@pytest.mark.parametrize("where", ["http://127.0.0.1:{port}/x", "file://{root}/upstream", "ext::touch {canary}"])
async def test_a_server_can_not_send_us_to_another_transport(bench: Bench, authority: Authority, where: str) -> None:
    async with silent_server() as port:
        location = where.format(port=port, root=bench.root, canary=bench.canary)
        server = GitServer(bench.root, redirect=f"{location}/info/refs?service=git-upload-pack")
        async with served(server, authority) as url:
            with pytest.raises((Invalid, Unavailable)):
                await bench.git(GitLimits(probe=10)).clone(f"{url}/upstream", bench.target)
    bench.nothing_happened()
    assert not bench.target.exists()


async def test_an_answer_of_nonsense_is_an_error(bench: Bench) -> None:
    bad = bench.root / "bad"
    bad.mkdir()
    with pytest.raises(Invalid):
        await bench.git().clone(f"file://{bad}", bench.target)
    packs = bench.upstream.folder / ".git" / "objects"
    for file in packs.rglob("*"):
        if file.is_file():
            file.chmod(0o644)
            file.write_bytes(b"nonsense")
    with pytest.raises((Invalid, Unavailable, Internal)):
        await bench.git().clone(bench.upstream.url, bench.target)
    bench.nothing_happened()
