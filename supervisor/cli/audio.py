"""`supervisor audio`: sound devices, their volumes, and who plays."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import click

from supervisor.cli.addon_reading import STATS_FIELDS
from supervisor.cli.answers import mapping, mappings
from supervisor.cli.client import route
from supervisor.cli.columns import Column
from supervisor.cli.command import Command, Group, Session, pass_session
from supervisor.cli.logs import log_options, show_logs

_DIRECTION = click.Choice(["input", "output"])
_COLUMNS = (
    Column("KIND", "kind"),
    Column("INDEX", "index", right=True),
    Column("NAME", "name"),
    Column("DESCRIPTION", "description", flexible=True),
    Column("VOLUME", lambda row: _percent(row.get("volume")), right=True),
    Column("MUTE", "mute"),
    Column("DEFAULT", lambda row: "*" if row.get("default") else ""),
)


class _Volume(click.ParamType[float]):
    name = "volume"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        if isinstance(value, float):
            return value
        number = str(value).removesuffix("%")
        if not (number.isascii() and number.isdigit() and len(number) <= 3 and int(number) <= 150):
            self.fail(f"{value!r} is no volume from 0% to 150%", param, ctx)
        return int(number) / 100


def _percent(volume: object) -> str:
    return f"{volume * 100:.0f}%" if isinstance(volume, int | float) else ""


def _rows(audio: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    for kind in ("output", "input"):
        for device in mappings(audio, kind):
            yield {**device, "kind": kind}
            for application in mappings(device, "applications"):
                description = f"application, {kind} {device.get('index')}"
                yield {**application, "kind": f"  {kind}", "description": description}
    for card in mappings(audio, "card"):
        active = next((one.get("name") for one in mappings(card, "profiles") if one.get("active")), None)
        yield {**card, "kind": "card", "description": f"profile {active}" if active else card.get("driver")}


@click.command(cls=Command)
@pass_session
def info(session: Session) -> None:
    """List devices, cards and the applications that use them."""
    data = mapping(session.client.get("/audio/info"))
    rows = list(_rows(mapping(data.get("audio"))))
    empty = "There is no device." if data.get("available") else "There is no sound server on this machine."
    session.output.rows(rows, _COLUMNS, name="name", empty=empty, data=data)


def _index(session: Session, direction: str, device: str, *, application: bool) -> int:
    """Return the index of what was named by its index or its name."""
    if device.isascii() and device.isdigit():
        return int(device)
    audio = mapping(mapping(session.client.get("/audio/info")).get("audio"))
    if application:
        found = [one for one in mappings(audio, "application") if one.get("stream_type") == direction]
    else:
        found = list(mappings(audio, direction))
    indexes = [int(one["index"]) for one in found if one.get("name") == device]
    if len(indexes) != 1:
        what = "application" if application else "device"
        many = f"more than one {what}" if indexes else f"no {what}"
        raise click.UsageError(
            f"there is {many} {device!r} for {direction}: give the index that supervisor audio shows"
        )
    return indexes[0]


@click.command(
    cls=Command,
    examples=("supervisor audio volume output speaker 40%", "supervisor audio volume output 7 100% --application"),
)
@click.argument("direction", type=_DIRECTION)
@click.argument("device")
@click.argument("volume", type=_Volume())
@click.option("--application", is_flag=True, help="DEVICE is an application.")
@pass_session
def volume(session: Session, direction: str, device: str, volume: float, *, application: bool) -> None:
    """Set the volume of DEVICE, a name or an index."""
    index = _index(session, direction, device, application=application)
    path = route("audio", "volume", direction, *(["application"] if application else []))
    data = session.client.post(path, {"index": index, "volume": volume})
    session.output.done(f"Set the volume of {device} to {_percent(volume)}", name=device, data=data)


def _mute(session: Session, direction: str, device: str, *, application: bool, active: bool) -> None:
    index = _index(session, direction, device, application=application)
    path = route("audio", "mute", direction, *(["application"] if application else []))
    data = session.client.post(path, {"index": index, "active": active})
    session.output.done(f"{device} is {'muted' if active else 'no longer muted'}", name=device, data=data)


@click.command(cls=Command)
@click.argument("direction", type=_DIRECTION)
@click.argument("device")
@click.option("--application", is_flag=True, help="DEVICE is an application.")
@pass_session
def mute(session: Session, direction: str, device: str, *, application: bool) -> None:
    """Mute DEVICE, a name or an index."""
    _mute(session, direction, device, application=application, active=True)


@click.command(cls=Command)
@click.argument("direction", type=_DIRECTION)
@click.argument("device")
@click.option("--application", is_flag=True, help="DEVICE is an application.")
@pass_session
def unmute(session: Session, direction: str, device: str, *, application: bool) -> None:
    """Let DEVICE be heard again."""
    _mute(session, direction, device, application=application, active=False)


@click.command(cls=Command)
@click.argument("direction", type=_DIRECTION)
@click.argument("name")
@pass_session
def default(session: Session, direction: str, name: str) -> None:
    """Choose the device for those who name none."""
    data = session.client.post(route("audio", "default", direction), {"name": name})
    session.output.done(f"The default {direction} is {name}", name=name, data=data)


@click.command(cls=Command)
@click.argument("card")
@click.argument("name")
@pass_session
def profile(session: Session, card: str, name: str) -> None:
    """Choose what a sound card is used for."""
    data = session.client.post("/audio/profile", {"card": card, "name": name})
    session.output.done(f"The profile of {card} is {name}", name=name, data=data)


@click.command(cls=Command)
@pass_session
def reload(session: Session) -> None:
    """Look at the sound server again."""
    session.output.done("Looked at the sound server", data=session.client.post("/audio/reload"))


@click.command(cls=Command)
@pass_session
def restart(session: Session) -> None:
    """Restart the audio plugin."""
    session.post("/audio/restart", doing="Restarting the audio plugin", done="Restarted the audio plugin")


@click.command(cls=Command)
@click.option("--version", metavar="VERSION", help="Another one than the newest.")
@pass_session
def update(session: Session, version: str | None) -> None:
    """Update the audio plugin."""
    session.post(
        "/audio/update",
        {} if version is None else {"version": version},
        doing="Updating the audio plugin",
        done="Updated the audio plugin",
    )


@click.command(cls=Command)
@pass_session
def stats(session: Session) -> None:
    """Show what the audio plugin uses."""
    session.output.record(mapping(session.client.get("/audio/stats")), STATS_FIELDS, name="audio")


@click.command(cls=Command)
@log_options
@pass_session
def logs(session: Session, /, **options: Any) -> None:
    """Print the log of the audio plugin."""
    show_logs(session, "/audio", **options)


audio = Group(
    "audio",
    default="info",
    help="Look after sound: devices, volumes, who plays.",
    commands=[info, volume, mute, unmute, default, profile, reload, stats, restart, update, logs],
)
