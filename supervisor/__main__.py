"""The door of the `supervisor` command: `supervisor run` is the daemon, everything else its client."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from supervisor.cli.app import main as run_command

if TYPE_CHECKING:
    from supervisor.settings import Settings


def daemon(settings: Settings) -> int:
    from supervisor.assembly import run_daemon  # noqa: PLC0415 - a client command must not import the whole daemon

    return run_daemon(settings)


def main() -> None:
    sys.exit(run_command(daemon))


if __name__ == "__main__":
    main()
