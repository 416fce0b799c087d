"""Add-ons: installs them, runs them, watches them, removes them (add-on contract §3).

`AddonManager` is the face: its registry knows what is installed, its runner starts and stops, its installer changes
what is installed.
"""

from .addon import Addon
from .manager import AddonManager, OptionsVerdict
from .runner import LogKeeper
from .spec import OPTIONAL_HOST_PATHS, Surroundings, container_name

__all__ = [
    "OPTIONAL_HOST_PATHS",
    "Addon",
    "AddonManager",
    "LogKeeper",
    "OptionsVerdict",
    "Surroundings",
    "container_name",
]
