"""What every command shares: the options `-o` and `--no-color`, groups with a default command, and the session."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any

import attrs
import click

from supervisor.cli import text
from supervisor.cli.client import DEFAULT_SOCKET, DEFAULT_URL, Client, Target
from supervisor.cli.output import FORMATS, Output, is_terminal

_FORMAT = "supervisor.output_format"
_LONGEST_SUMMARY = 300


def _remember_format(context: click.Context, _option: click.Parameter, value: str | None) -> None:
    if value is not None:
        context.meta[_FORMAT] = value


def _forbid_colours(context: click.Context, _option: click.Parameter, value: bool | None) -> None:  # noqa: FBT001 - click's signature
    if value or os.environ.get("NO_COLOR"):
        context.color = False


def shared_options() -> list[click.Parameter]:
    return [
        click.Option(
            ["-o", "--output"],
            type=click.Choice(FORMATS),
            help="How to print: a table, JSON, YAML or bare names.",
            expose_value=False,
            callback=_remember_format,
        ),
        click.Option(
            ["--no-color"],
            is_flag=True,
            default=None,
            help="No colours (also: the environment variable NO_COLOR).",
            expose_value=False,
            callback=_forbid_colours,
        ),
    ]


def examples_text(examples: Sequence[str]) -> str:
    """Return examples as a paragraph that click leaves as it is (its first line says so)."""
    return "\b\nExamples:\n" + "\n".join(f"  {example}" for example in examples)


class Command(click.Command):
    """A command of the client: it takes the shared options as well, so they work before and after its name."""

    def __init__(self, *args: Any, examples: Sequence[str] = (), **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.params.extend(shared_options())
        if examples:
            self.epilog = examples_text(examples)


class Group(click.Group):
    """A group of commands; `default` names the one that runs when the group is typed alone.

    `aliases` are other names that people try for a command; they work, and the help leaves them to that command.
    """

    def __init__(
        self,
        *args: Any,
        default: str | None = None,
        aliases: Mapping[str, str] | None = None,
        examples: Sequence[str] = (),
        **kwargs: Any,
    ) -> None:
        kwargs.setdefault("invoke_without_command", default is not None)
        super().__init__(*args, **kwargs)
        self.default = default
        self._aliases = aliases or {}
        self.params.extend(shared_options())
        if examples:
            self.epilog = examples_text(examples)

    def invoke(self, ctx: click.Context) -> Any:
        result = super().invoke(ctx)
        if ctx.invoked_subcommand is None and self.default is not None:
            return ctx.invoke(self.commands[self.default])
        return result

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        return super().get_command(ctx, self._aliases.get(cmd_name, cmd_name))

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the commands with the whole first sentence of each; click would cut it to one line."""
        found = ((name, self.get_command(ctx, name)) for name in self.list_commands(ctx))
        rows = [(name, command.get_short_help_str(_LONGEST_SUMMARY)) for name, command in found if command is not None]
        with formatter.section("Commands"):
            formatter.write_dl(rows)

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Keep the order in which the commands were given: reading first, then doing."""
        del ctx
        return list(self.commands)


@attrs.frozen
class Session:
    """What a command works with: the client, and where and how it may write."""

    client: Client

    @property
    def output(self) -> Output:
        context = click.get_current_context()
        terminal = is_terminal(sys.stdout)
        return Output(
            format=context.meta.get(_FORMAT, "table"),
            terminal=terminal,
            colours=terminal and context.color is not False,
        )

    @property
    def stderr_terminal(self) -> bool:
        """Whether progress may be drawn: it goes to stderr, so that stdout holds nothing but the result."""
        return is_terminal(sys.stderr)

    @property
    def stderr_colours(self) -> bool:
        return self.stderr_terminal and click.get_current_context().color is not False

    @contextmanager
    def busy(self, message: str, *, reads: bool = False) -> Iterator[None]:
        """Show a spinner while something runs that reports no progress.

        At Ctrl-C say that the daemon goes on, unless it only `reads`.
        """
        try:
            with self._spinner(message):
                yield
        except KeyboardInterrupt:
            if not reads:
                click.echo("The daemon goes on with it. Look at it with: supervisor jobs", err=True)
            raise

    def post(
        self, path: str, body: Mapping[str, Any] | None = None, *, doing: str, done: str, name: str | None = None
    ) -> None:
        """Have the daemon do something that takes a while and reports no progress, and say when it is done."""
        with self.busy(doing):
            data = self.client.post(path, body)
        self.output.done(done, name=name, data=data)

    def _spinner(self, message: str) -> AbstractContextManager[object]:
        if not self.stderr_terminal:
            return nullcontext()
        from supervisor.cli import progress_bar  # noqa: PLC0415 - rich costs 80 ms that pipes need not pay

        return progress_bar.spinner(text.line(message), colours=self.stderr_colours)


pass_session = click.make_pass_decorator(Session)


def find_target(socket: str | None, url: str | None, token: str | None) -> Target:
    """Decide where the daemon is: what was asked for, else the usual socket, else (inside an add-on) the usual URL."""
    if socket:
        return Target(socket=socket)
    if url:
        return Target(url=url, token=token)
    if token and not Path(DEFAULT_SOCKET).exists():
        return Target(url=DEFAULT_URL, token=token)
    return Target(socket=DEFAULT_SOCKET)


def confirm(question: str, *, yes: bool) -> None:
    """Ask before something is lost; without a terminal to ask on, `--yes` is needed.

    Raises:
        click.Abort: the answer was no.
    """
    if yes:
        return
    if not sys.stdin.isatty():
        raise click.UsageError("nobody can be asked here: add --yes to do it")
    click.confirm(text.line(question), abort=True, err=True)
