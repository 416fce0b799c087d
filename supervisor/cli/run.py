"""`supervisor run`: reads the command line and the environment into `Settings` and hands over to the daemon."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from supervisor.cli.command import examples_text

if TYPE_CHECKING:
    from supervisor.settings import Settings

Daemon = Callable[["Settings"], int]
_LEVELS = click.Choice(["debug", "info", "warning", "error", "critical"])
_FOLDER: click.Path = click.Path(file_okay=False, path_type=Path)
_FILE: click.Path = click.Path(dir_okay=False, path_type=Path)


def _option(names: str, variable: str, text: str, **more: Any) -> click.Option:
    return click.Option(names.split(), envvar=variable, show_envvar=True, help=text, default=None, **more)


def _options() -> list[click.Parameter]:
    return [
        _option("--data", "SUPERVISOR_DATA", "Folder of everything kept. [/var/lib/supervisor]", type=_FOLDER),
        _option(
            "--host-data",
            "SUPERVISOR_SHARE",
            "That folder as the engine sees it. [same as --data]",
            type=_FOLDER,
        ),
        _option(
            "--socket", "SUPERVISOR_SOCKET", "Socket for administrators. [/run/supervisor/supervisor.sock]", type=_FILE
        ),
        _option("--docker docker_url", "DOCKER_HOST", "The Docker engine. [unix:///run/docker.sock]", metavar="URL"),
        _option(
            "--system-bus",
            "DBUS_SYSTEM_BUS_ADDRESS",
            "The host's D-Bus. [unix:path=/run/dbus/system_bus_socket]",
            metavar="ADDRESS",
        ),
        _option("--container-name", "SUPERVISOR_NAME", "Our own container, when we run in one.", metavar="NAME"),
        _option("--machine", "SUPERVISOR_MACHINE", "Machine type, such as qemux86-64. [found out]", metavar="NAME"),
        _option(
            "--api-address",
            "SUPERVISOR_API_ADDRESS",
            "Where add-ons reach the API. [our address on the internal network]",
            metavar="ADDR",
        ),
        _option(
            "--api-port",
            "SUPERVISOR_API_PORT",
            "The port there; 0: any free one. [80]",
            type=click.IntRange(0, 65535),
        ),
        _option("--log-level", "SUPERVISOR_LOG_LEVEL", "Overrules the stored log level.", type=_LEVELS),
        _option(
            "--log-format",
            "SUPERVISOR_LOG_FORMAT",
            "Where the log goes; auto is the journal under systemd, else the console. [auto]",
            type=click.Choice(["auto", "console", "journal"]),
        ),
        _option("--dev", "SUPERVISOR_DEV", "Development mode.", is_flag=True),
        _option(
            "--cpu-rt",
            "SUPERVISOR_CPU_RT",
            "Give add-ons that work in real time a part of the CPU budget that the host has set aside for that.",
            is_flag=True,
        ),
        _option(
            "--builtin-remotes/--no-builtin-remotes",
            "SUPERVISOR_BUILTIN_REMOTES",
            "Fetch the well-known repositories from the internet. [yes]",
        ),
        _option(
            "--journal-gateway-url",
            "SUPERVISOR_SYSTEMD_JOURNAL_GATEWAYD_URL",
            "The journal's HTTP gateway. [its usual socket]",
            metavar="URL",
        ),
        _option(
            "--connectivity-url", "SUPERVISOR_CONNECTIVITY_URL", "Asked to see if the internet is there.", metavar="URL"
        ),
        _option("--whoami-url", "SUPERVISOR_WHOAMI_URL", "Asked for our time zone and the time.", metavar="URL"),
        _option("--version-url", "SUPERVISOR_VERSION_URL", "Where newer versions are announced.", metavar="URL"),
        _option(
            "--update-window",
            "SUPERVISOR_UPDATE_WINDOW",
            "Seconds that an updated add-on must run well before its old version is given up. [600]",
            type=click.FloatRange(0),
        ),
        _option("--leak-url", "SUPERVISOR_LEAK_URL", "Where leaked passwords are looked up.", metavar="URL"),
    ]


def run_command(daemon: Daemon) -> click.Command:
    """Make the command; `daemon` runs with the settings until it is told to stop, and returns the exit code."""

    @click.pass_context
    def run(context: click.Context, /, **given: Any) -> None:
        above = context.find_root().params.get("socket")
        if given["socket"] is None and above:
            given["socket"] = Path(above)
        context.exit(daemon(read_settings(given)))

    return click.Command(
        "run",
        callback=run,
        params=_options(),
        help="Run the daemon in the foreground until SIGTERM or Ctrl-C.",
        epilog=examples_text(
            ["supervisor run", "supervisor run --data ./data --socket ./data/supervisor.sock --log-level debug"]
        ),
    )


def read_settings(given: dict[str, Any]) -> Settings:
    """Fill in what was given; all else keeps the defaults of `Settings`. Paths become absolute."""
    from supervisor.settings import Settings  # noqa: PLC0415 - only the daemon needs it

    chosen = {key: value for key, value in given.items() if value is not None and value != ""}
    for key in ("data", "host_data", "socket"):
        if key in chosen:
            chosen[key] = chosen[key].absolute()
    if "data" in chosen:
        chosen.setdefault("host_data", chosen["data"])
    return Settings(**chosen)
