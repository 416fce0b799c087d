"""The sound server: PulseAudio, or what speaks its protocol."""

from __future__ import annotations

from supervisor.drivers.pulse.model import Application, Card, Direction, Door, Profile, Sound, Stream
from supervisor.drivers.pulse.server import SoundServer

__all__ = ["Application", "Card", "Direction", "Door", "Profile", "Sound", "SoundServer", "Stream"]
