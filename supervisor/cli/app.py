"""Puts the commands together, and turns however they end into an exit code."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Final, TextIO

import click
from click.core import ParameterSource

from supervisor import __version__
from supervisor.cli import text
from supervisor.cli.client import Client
from supervisor.cli.command import Group, Session, find_target
from supervisor.cli.completion import COMPLETE_VARIABLE, set_up_completion
from supervisor.cli.failures import EXIT_CODES_HELP, ExitCode
from supervisor.cli.run import Daemon, run_command

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


# In the order of the help: where each command is found, below supervisor.cli.
_COMMANDS: Final[Mapping[str, str]] = {
    "info": "daemon:info",
    "updates": "daemon:updates",
    "addons": "addons:addons",
    "store": "store:store",
    "backups": "backups:backups",
    "jobs": "jobs:jobs",
    "logs": "logs:logs",
    "top": "top:top",
    "supervisor": "daemon:supervisor",
    "host": "host:host",
    "doctor": "host:doctor",
    "docker": "docker:docker",
    "audio": "audio:audio",
    "hardware": "hardware:hardware",
    "mounts": "mounts:mounts",
    "network": "network:network",
    "os": "operating_system:operating_system",
    "resolution": "resolution:resolution",
    "api": "raw:api",
    "completion": "completion:completion",
}


class _Root(Group):
    """Imports a command when it is asked for: a client runs one of them, and the daemon none."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [*_COMMANDS, *super().list_commands(ctx)]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        place = _COMMANDS.get(cmd_name)
        if place is None:
            return super().get_command(ctx, cmd_name)
        module, _, attribute = place.partition(":")
        command: click.Command = getattr(import_module(f"supervisor.cli.{module}"), attribute)
        return command


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

    return _Root(
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
        commands=[run_command(daemon)],
    )


def _print_version(context: click.Context, _option: click.Parameter, value: bool) -> None:  # noqa: FBT001 - click's signature
    if value and not context.resilient_parsing:
        click.echo(f"supervisor {__version__}")
        context.exit()


def main(daemon: Daemon, arguments: Sequence[str] | None = None) -> int:
    """Run the command and return the exit code."""
    set_up_completion()
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
    except UnicodeEncodeError as error:
        # An argument of other bytes than UTF-8, which nothing that goes over the wire can hold.
        click.echo(f"Error: {text.line(str(error.object))!r} is not written in UTF-8", err=True)
        return ExitCode.USAGE
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
