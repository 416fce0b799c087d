"""Sound: the server's devices, volumes and profiles, and the plugin in which a server may run."""

from __future__ import annotations

from supervisor.managers.audio.container import ADDRESS, MACHINE_ID, PluginPlace
from supervisor.managers.audio.manager import AudioManager, sound_sockets
from supervisor.managers.audio.plugin import AudioPlugin

__all__ = ["ADDRESS", "MACHINE_ID", "AudioManager", "AudioPlugin", "PluginPlace", "sound_sockets"]
