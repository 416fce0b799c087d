"""`supervisor completion`: prints the script that makes a shell complete commands and live slugs."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from supervisor.cli.command import Command

COMPLETE_VARIABLE = "_SUPERVISOR_COMPLETE"


@click.command(
    cls=Command,
    examples=(
        'eval "$(supervisor completion bash)"       # in ~/.bashrc',
        'eval "$(supervisor completion zsh)"        # in ~/.zshrc',
        "supervisor completion fish > ~/.config/fish/completions/supervisor.fish",
    ),
)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Print the completion script for a shell."""
    kind = get_completion_class(shell)
    if kind is None:
        raise click.UsageError(f"no completion for {shell}")
    click.echo(kind(context.find_root().command, {}, "supervisor", COMPLETE_VARIABLE).source())
