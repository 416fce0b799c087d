"""Running the git program: its arguments, its environment made from nothing, its end."""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import shutil
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Final, TypeVar

from supervisor.errors import Unsupported
from supervisor.tasks import end, finish

from .git_confinement import Confinement, confinement

T = TypeVar("T")

_KEPT_OUTPUT: Final = 64 * 1024
_END_SECONDS: Final = 10.0
_SETTINGS: Final = (
    "core.hooksPath=/dev/null",
    "core.fsmonitor=false",
    "core.untrackedCache=false",
    "core.attributesFile=/dev/null",
    "core.excludesFile=/dev/null",
    "core.logAllRefUpdates=false",
    "core.protectHFS=true",
    "core.protectNTFS=true",
    "core.bigFileThreshold=8m",
    # A clone changes its owner before and after git works in it; that alone makes no file a changed one.
    "core.checkStat=minimal",
    "core.trustctime=false",
    "core.quotePath=true",
    "submodule.recurse=false",
    "fetch.recurseSubmodules=false",
    "fetch.writeCommitGraph=false",
    "transfer.fsckObjects=true",
    "transfer.unpackLimit=1",
    "gc.auto=0",
    "maintenance.auto=false",
    "pack.threads=1",
    "pack.windowMemory=64m",
    "init.defaultBranch=main",
    "http.sslVerify=true",
    "advice.detachedHead=false",
    "safe.directory=*",
    "protocol.allow=never",
)
# The files that a transport by ssh may need lie in our folder, not in the home of whoever git runs as.
_KNOWN_HOSTS: Final = "known_hosts"
_KEY: Final = "id"
_SSH: Final = (
    "ssh -o BatchMode=yes -o ConnectTimeout=15 -o ServerAliveInterval=15 -o ServerAliveCountMax=2"
    " -o StrictHostKeyChecking=accept-new -o ClearAllForwardings=yes -o ForwardAgent=no -o PermitLocalCommand=no"
    " -o 'UserKnownHostsFile=${HOME}/known_hosts'"
)
_SSH_KEY: Final = " -o 'IdentityFile=${HOME}/id'"
# What of our own environment a transport may need: the way out of the network, authorities, the admin's ssh agent.
_PROXIES: Final = ("http_proxy", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY", "no_proxy", "NO_PROXY")
_INHERITED: Final = ("PATH", *_PROXIES, "SSL_CERT_FILE", "SSL_CERT_DIR", "SSH_AUTH_SOCK")


class Failed(Exception):
    """The program ended with an error; `text` is what it said. Never leaves the drivers."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text


class GitProgram:
    """Runs the program. `home` stands in for every home and every configuration; git itself can't write there.

    `settings` are further `key=value` pairs of git's configuration.
    """

    def __init__(
        self, program: str, home: Path, transports: Sequence[str], settings: Sequence[str], *, max_file_bytes: int
    ) -> None:
        self._program = program
        self._home = home
        self._transports = transports
        self._settings = (*_SETTINGS, *settings, *(f"protocol.{name}.allow=always" for name in transports))
        self._max_file_bytes = max_file_bytes

    async def run(
        self, *arguments: str, folder: Path | None = None, environment: dict[str, str] | None = None, network: bool
    ) -> str:
        """Return what git wrote; it and all its children are gone when this ends, however it ends.

        `folder` is the clone that it works in.

        Raises:
            Failed: it ended with an error.
            Unsupported: it can't be started.
        """
        options = [option for setting in self._settings for option in ("-c", setting)]
        if await asyncio.to_thread(shutil.which, self._program) is None:
            raise Unsupported(f"The git program can't be started: there is no {self._program}")
        confined = await asyncio.to_thread(confinement)
        has_key = await asyncio.to_thread(self._prepare_home, confined)
        command = await asyncio.to_thread(
            confined.command,
            [self._program, *options, *arguments],
            folders=[self._home] if folder is None else [self._home, folder],
            network=network,
            max_file_bytes=self._max_file_bytes,
        )
        try:
            process = await asyncio.create_subprocess_exec(
                *command,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                env={**self._environment(with_key=has_key), **(environment or {})},
                cwd=self._home,
                start_new_session=True,
            )
        except OSError as err:
            raise Unsupported(f"The git program can't be started: {err.strerror}") from err
        said = asyncio.ensure_future(asyncio.gather(_read(process.stdout), _read(process.stderr)))
        try:
            output, errors = await asyncio.shield(said)
            code = await process.wait()
        except BaseException:
            # A helper may outlive git and keep its pipes: the whole group goes. Nobody else waits for the end of those
            # that are not our own children; they are gone when nothing holds the pipes any more.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await finish(_gone(process, said))
            raise
        if code < 0:
            raise Failed(f"{errors}\nfatal: git died of signal {-code}")
        if code:
            raise Failed(errors)
        return output

    async def account(self) -> str | None:
        """Return the name of the user that git runs as; None when that is our own."""
        account = (await asyncio.to_thread(confinement)).account
        return None if account is None else account.name

    async def give(self, folder: Path) -> None:
        """Let git write into a folder, until it is taken back."""
        await finish(asyncio.to_thread(lambda: confinement().give(folder)))

    async def take_back(self, folder: Path) -> None:
        await finish(asyncio.to_thread(lambda: confinement().take_back(folder)))

    def _environment(self, *, with_key: bool) -> dict[str, str]:
        inherited = {name: os.environ[name] for name in _INHERITED if name in os.environ}
        if "SSL_CERT_FILE" in inherited:
            inherited["GIT_SSL_CAINFO"] = inherited["SSL_CERT_FILE"]
        return {
            **inherited,
            "HOME": str(self._home),
            "XDG_CONFIG_HOME": str(self._home),
            "LC_ALL": "C",
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_CONFIG_GLOBAL": str(self._home / "gitconfig"),
            "GIT_ATTR_NOSYSTEM": "1",
            "GIT_TERMINAL_PROMPT": "0",
            "GIT_ALLOW_PROTOCOL": ":".join(self._transports),
            "GIT_SSH_COMMAND": _SSH + _SSH_KEY if with_key else _SSH,
            "GIT_SSH_VARIANT": "ssh",
            "GIT_OPTIONAL_LOCKS": "0",
            "GIT_NO_REPLACE_OBJECTS": "1",
        }

    def _prepare_home(self, confined: Confinement) -> bool:
        """Make the folder; tell whether an administrator put a key for ssh into it.

        The far end of a `file` transport is a git of its own that hears of nothing but this configuration.
        """
        configuration = self._home / "gitconfig"
        if not configuration.exists():
            self._home.mkdir(parents=True, exist_ok=True)
            self._home.chmod(0o755)
            # Several repositories are fetched at the same time: none may see half of it.
            new = configuration.with_name(f".gitconfig.{secrets.token_hex(4)}")
            new.write_text("[safe]\n\tdirectory = *\n[core]\n\thooksPath = /dev/null\n", encoding="ascii")
            new.replace(configuration)
        hosts, key = self._home / _KNOWN_HOSTS, self._home / _KEY
        hosts.touch(mode=0o600)
        # Ssh wants to write the one, and takes the other only when it is private.
        for file in (hosts, key):
            if confined.account is not None and file.exists() and file.stat().st_uid != confined.account.uid:
                file.chmod(0o600)
                os.chown(file, confined.account.uid, confined.account.gid, follow_symlinks=False)
        return key.exists()


async def _gone(process: asyncio.subprocess.Process, said: asyncio.Future[tuple[str, str]]) -> None:
    """Wait for the end of a group that was killed, but not for ever for one of it that had left the group."""
    await process.wait()
    await asyncio.wait({said}, timeout=_END_SECONDS)
    await end([said])


async def _read(stream: asyncio.StreamReader | None) -> str:
    """Read to the end, keep the first part: a remote may send more than memory holds."""
    kept = bytearray()
    while stream is not None and (block := await stream.read(_KEPT_OUTPUT)):
        kept += block[: _KEPT_OUTPUT - len(kept)]
    return kept.decode(errors="replace")
