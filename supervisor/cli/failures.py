"""How the command ends when something went wrong: exit codes, and hints at what to type next."""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum
from string import Formatter
from typing import IO, Any

import click

from supervisor.cli import text


class ExitCode(IntEnum):
    """The numbers that scripts may rely on; `supervisor --help` shows them."""

    OK = 0
    GENERAL = 1
    USAGE = 2
    UNREACHABLE = 3
    NOT_FOUND = 4
    NOT_ALLOWED = 5
    INVALID = 6
    BUSY = 7
    SERVER = 8
    INTERRUPTED = 130


EXIT_CODES_HELP = """\b
Exit codes:
  0    done
  1    failed
  2    wrong usage of this command
  3    the daemon can't be reached
  4    no such add-on, job, repository ...
  5    not allowed (401, 403)
  6    invalid request, or not possible in the present state (400)
  7    exists already, or busy: try again later (409, 429)
  8    the daemon failed (5xx): see its logs
  130  interrupted (Ctrl-C)
"""

# What to type next, for errors where that helps. Filled with the error's own fields; a hint whose field is missing is
# left out.
_HINTS = {
    "app_not_found_error": "look for it with: supervisor store search {slug}",
    "store_app_not_found_error": "look for it with: supervisor store search {app}",
    "app_not_installed_error": "install it with: supervisor addons install {slug}",
    "app_already_installed_error": "see it with: supervisor addons info {slug}",
    "app_no_update_available_error": "look for newer versions with: supervisor store reload",
    "app_not_in_store_error": "see your repositories with: supervisor store repositories",
    "app_rebuild_version_changed_error": "update it with: supervisor addons update {slug}",
    "app_rebuild_image_based_error": "fetch its image again with: supervisor addons rebuild {slug} --force",
    "app_configuration_invalid_error": "change the options with: supervisor addons options {app} --edit",
    "app_not_running_error": "start it with: supervisor addons start {app}",
    "app_port_conflict": "choose another port with: supervisor addons network {name} --port CONTAINER=HOST",
    "app_build_dockerfile_missing_error": "fetch the repository again with: supervisor store repair REPOSITORY",
    "app_build_failed_unknown_error": "read all of it with: supervisor addons logs {app} --build",
    "app_unknown_error": "read why with: supervisor supervisor logs",
    "supervisor_unknown_error": "read why with: supervisor supervisor logs",
    "store_repository_unknown_error": "read why with: supervisor supervisor logs",
    "store_repository_already_added_error": "see it with: supervisor store repositories",
    "docker_registry_auth_error": "log in with: supervisor docker login {registry} -u USER",
    "dockerhub_rate_limit_exceeded": "log in to raise the limit: supervisor docker login hub.docker.com -u USER",
    "backup_path_not_found_error": "see what there is with: supervisor backups browse {slug}",
    "backup_part_not_found_error": "see what there is with: supervisor backups browse {slug}",
    "backup_repository_exists": "adopt it with: supervisor backups repository add {repository} PLACE --adopt",
    "resolution_issue_not_found_error": "see what is open with: supervisor resolution info",
    "resolution_suggestion_not_found_error": "see what is open with: supervisor resolution info",
}
_PATH_HINTS = (
    ("/addons/", "see what is installed with: supervisor addons"),
    ("/store/repositories/", "see your repositories with: supervisor store repositories"),
    ("/store/addons/", "see what there is with: supervisor store"),
    ("/jobs/", "a finished job is forgotten; see the others with: supervisor jobs"),
    (
        "/backups/repositories/",
        "see repositories with: supervisor backups repository, and what is in a backup with: supervisor backups browse",
    ),
    ("/backups/schedules/", "see the schedules with: supervisor backups schedule"),
    ("/backups/new/", "a place is local, the name of a mount for backups, or repository:NAME"),
    ("/backups/", "see what there is with: supervisor backups"),
    ("/docker/registries/", "see the stored logins with: supervisor docker registries"),
    ("/docker/mirrors/", "see which registries have mirrors with: supervisor docker mirrors"),
)
# How the daemon says that a job may not run as things are, and where to read about the thing that is in the way.
_CONDITION = "' blocked from execution, "
_CONDITION_HINTS = (
    ("system is not healthy", "see why with: supervisor resolution"),
    ("internet connection", "see what this host lacks with: supervisor doctor"),
    (" available", "see what this host lacks with: supervisor doctor"),
    ("not supported on system", "see what this host lacks with: supervisor doctor"),
)


class Failure(click.ClickException):
    """Ends the command with a message on stderr, perhaps a hint below it, and an exit code; `key` is the API's."""

    def __init__(
        self, message: str, code: ExitCode = ExitCode.GENERAL, *, hint: str | None = None, key: str | None = None
    ) -> None:
        super().__init__(text.block(message).strip())
        self.key = key
        self.exit_code = int(code)  # type: ignore[misc] # click reads it here, yet declares it for the class
        self.hint = None if hint is None else text.line(hint)

    def show(self, file: IO[Any] | None = None) -> None:
        label = click.style("Error:", fg="red", bold=True)
        click.echo(f"{label} {self.message}", file=file, err=file is None, color=self.show_color)
        if self.hint:
            label = click.style("Hint:", fg="cyan")
            click.echo(f"{label} {self.hint}", file=file, err=file is None, color=self.show_color)


def exit_code_for(status: int, key: str | None = None) -> ExitCode:
    """Return the exit code for an HTTP status; a "no such thing" that the API sends as 400 counts as not found."""
    if status == 404 or (key is not None and key.endswith("_not_found_error")):
        return ExitCode.NOT_FOUND
    if status in (401, 403):
        return ExitCode.NOT_ALLOWED
    if status in (409, 429):
        return ExitCode.BUSY
    if 400 <= status < 500:
        return ExitCode.INVALID
    return ExitCode.SERVER if status >= 500 else ExitCode.GENERAL


def hint_for(key: str | None, fields: Mapping[str, Any] | None = None) -> str | None:
    template = _HINTS.get(key or "")
    if template is None:
        return None
    try:
        # Fields are words of a command that people may paste: anything but a plain word is not offered.
        wanted = [name for _, name, _, _ in Formatter().parse(template) if name]
        return template.format_map({name: _word((fields or {})[name]) for name in wanted})
    except (KeyError, ValueError):
        return None


def _word(value: object) -> str:
    word = str(value)
    if not word or not all(part.isascii() and (part.isalnum() or part in "-_.:") for part in word):
        raise ValueError
    return word


def failure_from_reply(status: int, path: str, body: object, plain: str, *, over_socket: bool) -> Failure:
    """Make the failure for an answer with status >= 400: an error envelope, or else plain text."""
    message, key, hint = "", None, None
    if isinstance(body, dict):
        said, named, fields = body.get("message"), body.get("error_key"), body.get("extra_fields")
        message = said if isinstance(said, str) else ""
        key = named if isinstance(named, str) else None
        hint = hint_for(key, fields if isinstance(fields, dict) else None)
    elif plain.strip():
        # Refusals before any route is reached are text, as in "404: Not Found".
        message = plain.strip()[:2000]
        if message.startswith(f"{status}: "):
            message = f"{message.removeprefix(f'{status}: ')}: {path}"
    if status in (401, 403) and not (over_socket and isinstance(body, dict) and message):
        # Who may use the socket may do everything: what is refused there with a reason is refused to everybody.
        message = message or "not allowed"
        hint = hint or (
            "be root or a member of the group supervisor"
            if over_socket
            else "is SUPERVISOR_TOKEN right, and allowed this?"
        )
    elif status == 404 and hint is None:
        hint = next((words for prefix, words in _PATH_HINTS if path.startswith(prefix)), None)
    elif hint is None:
        reason = message.partition(_CONDITION)[2]
        hint = next((words for part, words in _CONDITION_HINTS if part in reason), None)
    message = message or f"the daemon answered with status {status}"
    return Failure(message, exit_code_for(status, key), hint=hint, key=key)
