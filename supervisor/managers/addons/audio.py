"""The files through which an add-on finds the sound service (add-on contract §4.6)."""

from __future__ import annotations

from pathlib import Path

from supervisor.paths import DataPaths
from supervisor.state import write_atomic

from .spec import AUDIO_TARGET, asound_file, pulse_client_file

ASOUND = """pcm.!default {
    type pulse
}
ctl.!default {
    type pulse
}
"""


# Where a server for the whole machine keeps what clients prove themselves with, seen from its socket.
COOKIE = Path(".config/pulse/cookie")


def write_audio_files(
    paths: DataPaths, slug: str, sink: str | None, source: str | None, *, server: Path | None = None
) -> None:
    """Write the client files for one start.

    `sink` and `source` are the user's choice of devices, `server` is the socket of the machine's own server where that
    is the one to use. Blocking.
    """
    lines = [f"default-server = unix:/{AUDIO_TARGET}/{server.name if server else 'pulse.sock'}", "autospawn = no"]
    if server is not None and (server.parent / COOKIE).is_file():
        lines.append(f"cookie-file = {AUDIO_TARGET}/{COOKIE}")
    if source:
        lines.insert(0, f"default-source = {_one_line(source)}")
    if sink:
        lines.insert(0, f"default-sink = {_one_line(sink)}")
    write_atomic(pulse_client_file(paths, slug), "\n".join([*lines, ""]).encode(), 0o644)
    asound = asound_file(paths)
    if not asound.exists():
        write_atomic(asound, ASOUND.encode(), 0o644)


def _one_line(text: str) -> str:
    return "".join(char for char in text if char.isprintable())
