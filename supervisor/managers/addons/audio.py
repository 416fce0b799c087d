"""The files through which an add-on finds the sound service (add-on contract §4.6)."""

from __future__ import annotations

from supervisor.paths import DataPaths
from supervisor.state import write_atomic

from .spec import asound_file, pulse_client_file

ASOUND = """pcm.!default {
    type pulse
}
ctl.!default {
    type pulse
}
"""


def write_audio_files(paths: DataPaths, slug: str, sink: str | None, source: str | None) -> None:
    """Write the client files for one start; `sink` and `source` are the user's choice of devices. Blocking."""
    lines = ["default-server = unix://run/audio/pulse.sock", "autospawn = no"]
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
