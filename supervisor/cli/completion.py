"""`supervisor completion`: prints the script that makes a shell complete commands and live slugs."""

from __future__ import annotations

import os
from typing import Final

import click
from click.shell_completion import (
    BashComplete,
    CompletionItem,
    add_completion_class,
    get_completion_class,
    split_arg_string,
)

from supervisor.cli.command import Command

COMPLETE_VARIABLE = "_SUPERVISOR_COMPLETE"
_QUOTES: Final = ("'", '"')
# The line and the word go as bash has them: it takes `repository:na` for three words, and replaces the last one.
_BASH: Final = """\
%(complete_func)s() {
    local IFS=$'\\n' response completion type value
    response=$(env COMP_LINE="${COMP_LINE:0:COMP_POINT}" COMP_WORD="${COMP_WORDS[COMP_CWORD]}" \\
        COMP_WORDBREAKS="$COMP_WORDBREAKS" %(complete_var)s=bash_complete "$1")
    for completion in $response; do
        IFS=',' read -r type value <<< "$completion"
        case $type in
            dir) COMPREPLY=() && compopt -o dirnames ;;
            file) COMPREPLY=() && compopt -o default ;;
            plain) COMPREPLY+=("$value") ;;
        esac
    done
}
complete -o nosort -F %(complete_func)s %(prog_name)s
"""


class Bash(BashComplete):
    """Completes words with a colon, too."""

    source_template = _BASH

    def get_completion_args(self) -> tuple[list[str], str]:
        if "COMP_LINE" not in os.environ:
            return super().get_completion_args()  # a shell that read the script of an older version
        # With one more character the last word is the one that is being typed, even where nothing of it is there yet.
        words = split_arg_string(f"{os.environ['COMP_LINE']}x")
        return words[1:-1], words[-1][:-1]

    def get_completions(self, args: list[str], incomplete: str) -> list[CompletionItem]:
        items = super().get_completions(args, incomplete)
        if ":" not in os.environ.get("COMP_WORDBREAKS", "") or os.environ.get("COMP_WORD", "").startswith(_QUOTES):
            return items
        there = incomplete.partition("=")[2] if incomplete.startswith("-") else incomplete
        there = there[: there.rfind(":") + 1]
        for item in items:
            item.value = item.value.removeprefix(there)
        return items


def set_up_completion() -> None:
    """Have our own completion for bash used; before anything is completed."""
    add_completion_class(Bash)


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
