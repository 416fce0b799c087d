"""An SSH key of ours, made by ssh-keygen when it is first needed."""

from __future__ import annotations

import asyncio
from pathlib import Path

from supervisor.errors import Internal, Unsupported


async def ensure_key(path: Path, comment: str) -> str:
    """Return the public half of the key at `path`; make the key when it is missing, readable by root alone.

    Raises:
        Internal: the disk refused.
        Unsupported: ssh-keygen is not installed.
    """
    public = path.with_name(f"{path.name}.pub")
    try:
        return (await asyncio.to_thread(public.read_text)).strip()
    except FileNotFoundError:
        pass
    await asyncio.to_thread(_make_room, path)
    command = ("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", comment, "-f", str(path))
    try:
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
    except OSError as err:
        raise Unsupported("The program ssh-keygen is missing; install the package openssh-client") from err
    said, _ = await process.communicate()
    if process.returncode:
        raise Internal(f"The SSH key can't be made: {said.decode(errors='replace').strip()[:300]}")
    return (await asyncio.to_thread(public.read_text)).strip()


def _make_room(path: Path) -> None:
    """Make the folder; half a key that a crash left would keep ssh-keygen waiting for an answer."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
