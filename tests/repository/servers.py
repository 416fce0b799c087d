"""Real servers on loopback for repositories that lie elsewhere: OpenSSH's, and one that speaks S3."""

from __future__ import annotations

import asyncio
import contextlib
import getpass
import socket
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import attrs

from daemon import until

_PRIVILEGE_SEPARATION = Path("/run/sshd")
_SSHD = """\
Port {port}
ListenAddress 127.0.0.1
HostKey {folder}/host_key
AuthorizedKeysFile {folder}/authorized_keys
PidFile none
PasswordAuthentication no
KbdInteractiveAuthentication no
UsePAM no
StrictModes no
Subsystem sftp internal-sftp
PermitRootLogin prohibit-password
"""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


async def keygen(path: Path) -> str:
    """Make a key; return its public half."""
    process = await asyncio.create_subprocess_exec("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(path))
    assert await process.wait() == 0
    return path.with_name(f"{path.name}.pub").read_text().strip()


@attrs.define(eq=False)
class SshServer:
    folder: Path
    port: int
    host_key: str

    @property
    def user(self) -> str:
        return getpass.getuser()

    def url(self, path: Path) -> str:
        return f"sftp://{self.user}@127.0.0.1:{self.port}{path}"

    def allow(self, public_key: str) -> None:
        (self.folder / "authorized_keys").write_text(public_key + "\n")

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        (self.folder / "sshd_config").write_text(_SSHD.format(port=self.port, folder=self.folder))
        _PRIVILEGE_SEPARATION.mkdir(exist_ok=True)  # noqa: ASYNC240 - nobody waits
        with (self.folder / "log").open("ab") as log:
            process = await asyncio.create_subprocess_exec(
                "/usr/sbin/sshd", "-D", "-e", "-f", str(self.folder / "sshd_config"), stdout=log, stderr=log
            )
        try:
            await until(lambda: _answers(self.port), 60, (self.folder / "log").read_text)
            yield
        finally:
            process.terminate()
            await process.wait()


async def ssh_server(folder: Path) -> SshServer:
    folder.mkdir()  # noqa: ASYNC240 - nobody waits
    public = await keygen(folder / "host_key")
    return SshServer(folder, free_port(), " ".join(public.split()[:2]))


async def _answers(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()
    return True


@contextlib.asynccontextmanager
async def s3_server(folder: Path) -> AsyncIterator[str]:
    """Run an S3 server with an empty bucket `backups`; give its host and port."""
    port = free_port()
    with (folder / "s3.log").open("ab") as log:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port), stdout=log, stderr=log
        )
    try:
        await until(lambda: _answers(port), 60, (folder / "s3.log").read_text)
        async with aiohttp.ClientSession() as session, session.put(f"http://127.0.0.1:{port}/backups") as made:
            assert made.status == 200, await made.text()
        yield f"127.0.0.1:{port}"
    finally:
        process.terminate()
        await process.wait()
