"""The files through which an add-on finds the sound service (add-on contract §4.6)."""

from __future__ import annotations

from supervisor.drivers.pulse import Door
from supervisor.paths import DataPaths
from supervisor.state import write_atomic

from .spec import AUDIO_TARGET, COOKIE_TARGET, asound_file, pulse_client_file, pulse_cookie_file

ASOUND = """pcm.!default {
    type pulse
}
ctl.!default {
    type pulse
}
"""


def write_audio_files(
    paths: DataPaths, slug: str, sink: str | None, source: str | None, *, server: Door | None = None
) -> None:
    """Write the client files for one start.

    `sink` and `source` are the user's choice of devices, `server` is the machine's own server where that is the one to
    use. The add-on gets a copy of its cookie: libpulse reads none that it could not write. Blocking.
    """
    socket = server.socket.name if server else "pulse.sock"
    lines = [f"default-server = unix:/{AUDIO_TARGET}/{socket}", "autospawn = no"]
    if server is not None and server.cookie is not None:
        write_atomic(pulse_cookie_file(paths, slug), server.cookie.read_bytes())
        lines.append(f"cookie-file = {COOKIE_TARGET}")
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
