"""Work on whole folders that the system's own tools do best."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from pathlib import Path

from supervisor.errors import Internal


async def copy_tree(source: Path, target: Path) -> None:
    """Copy a folder with owners, modes, times, links and extended attributes; blocks are shared where the disk can.

    A copy that is cut off leaves a partial `target`. A missing `source` makes an empty `target`.

    Raises:
        Internal: something could not be copied.
    """
    if not await asyncio.to_thread(source.exists):
        await asyncio.to_thread(target.mkdir, parents=True)
        return
    await asyncio.to_thread(target.parent.mkdir, parents=True, exist_ok=True)
    process = await asyncio.create_subprocess_exec(
        "cp",
        "--archive",
        "--reflink=auto",
        "--no-target-directory",
        "--",
        str(source),
        str(target),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        _, problems = await process.communicate()
    except BaseException:
        with suppress(ProcessLookupError):
            process.kill()
        await asyncio.shield(process.wait())
        raise
    if process.returncode != 0:
        first = problems.decode(errors="replace").strip().split("\n", 1)[0]
        raise Internal(f"{source.name} can't be copied: {first}")
