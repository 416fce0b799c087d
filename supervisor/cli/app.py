"""Puts the commands together, and turns however they end into an exit code."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import TextIO

import click
from click.core import ParameterSource

from supervisor import __version__
from supervisor.cli.addons import addons
from supervisor.cli.audio import audio
from supervisor.cli.backups import backups
from supervisor.cli.client import Client
from supervisor.cli.command import Group, Session, find_target
from supervisor.cli.completion import COMPLETE_VARIABLE, completion
from supervisor.cli.daemon import info, supervisor, updates
from supervisor.cli.docker import docker
from supervisor.cli.failures import EXIT_CODES_HELP, ExitCode
from supervisor.cli.hardware import hardware
from supervisor.cli.host import doctor, host
from supervisor.cli.jobs import jobs
from supervisor.cli.logs import logs
from supervisor.cli.mounts import mounts
from supervisor.cli.network import network
from supervisor.cli.operating_system import operating_system
from supervisor.cli.raw import api
from supervisor.cli.resolution import resolution
from supervisor.cli.run import Daemon, run_command
from supervisor.cli.store import store
from supervisor.cli.top import top

_HELP = """Turn this machine into a home server: install, run and look after add-ons.

`supervisor run` is the daemon; every other command asks the daemon, over its Unix socket, or inside an add-on over
http://supervisor with SUPERVISOR_TOKEN.

\b
Examples:
  supervisor info
  supervisor store search ssh
  supervisor addons install core_ssh
  supervisor addons -o json
"""


def build(daemon: Daemon) -> Group:
    """Return the whole command; `daemon` is what `supervisor run` runs."""

    @click.pass_context
    def root(context: click.Context, socket: str | None, url: str | None, token: str | None) -> None:
        typed = [
            name for name in ("socket", "url") if context.get_parameter_source(name) is ParameterSource.COMMANDLINE
        ]
        if len(typed) > 1:
            raise click.UsageError("--socket and --url exclude each other")
        if typed == ["url"]:
            socket = None  # what is typed beats what the environment says
        if context.invoked_subcommand not in ("run", "completion"):
            context.obj = Session(Client(find_target(socket, url, token)))

    return Group(
        "supervisor",
        callback=root,
        help=_HELP,
        epilog=EXIT_CODES_HELP,
        context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
        params=[
            click.Option(
                ["--socket"],
                envvar="SUPERVISOR_SOCKET",
                show_envvar=True,
                metavar="PATH",
                help="The daemon's Unix socket. [/run/supervisor/supervisor.sock]",
            ),
            click.Option(
                ["--url"],
                envvar="SUPERVISOR_API",
                show_envvar=True,
                metavar="URL",
                help="Ask over TCP instead, such as http://supervisor.",
            ),
            click.Option(
                ["--token"],
                envvar="SUPERVISOR_TOKEN",
                show_envvar=True,
                metavar="TOKEN",
                help="Token for TCP; better given by the environment: arguments are visible to all users.",
            ),
            click.Option(
                ["--version"],
                is_flag=True,
                is_eager=True,
                expose_value=False,
                callback=_print_version,
                help="Print the version and exit.",
            ),
        ],
        commands=[
            info,
            updates,
            addons,
            store,
            backups,
            jobs,
            logs,
            top,
            supervisor,
            host,
            doctor,
            docker,
            audio,
            hardware,
            mounts,
            network,
            operating_system,
            resolution,
            api,
            completion,
            run_command(daemon),
        ],
    )


def _print_version(context: click.Context, _option: click.Parameter, value: bool) -> None:  # noqa: FBT001 - click's signature
    if value and not context.resilient_parsing:
        click.echo(f"supervisor {__version__}")
        context.exit()


def main(daemon: Daemon, arguments: Sequence[str] | None = None) -> int:
    """Run the command and return the exit code."""
    for stream in (sys.stdout, sys.stderr):
        _never_fail_on_characters(stream)
    try:
        result = build(daemon).main(
            None if arguments is None else list(arguments),
            prog_name="supervisor",
            complete_var=COMPLETE_VARIABLE,
            standalone_mode=False,
        )
        sys.stdout.flush()
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except click.Abort as abort:
        # A Ctrl-C, at a question or anywhere else; "no" and the end of input at a question have no cause.
        if isinstance(abort.__cause__ or abort.__context__, KeyboardInterrupt):
            return ExitCode.INTERRUPTED
        click.echo("Nothing was changed.", err=True)
        return ExitCode.GENERAL
    except BrokenPipeError:
        # Whoever read our output has gone (`| head`): what is still buffered has nowhere to go.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return ExitCode.GENERAL
    return result if isinstance(result, int) else ExitCode.OK


def _never_fail_on_characters(stream: TextIO) -> None:
    """Have characters that the terminal's encoding lacks printed as escapes, not end in an error."""
    reconfigure = getattr(stream, "reconfigure", None)
    if reconfigure is not None:
        reconfigure(errors="backslashreplace")
