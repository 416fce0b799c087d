"""Network storage: mounted by systemd, watched, and given to backups and add-ons (host contract §41-§43)."""

from .fixups import MountFixups
from .manager import MOUNTS_SCHEMA, MountManager
from .mounting import HELPERS, Mounting, MountStatus
from .units import MountUnits

__all__ = ["HELPERS", "MOUNTS_SCHEMA", "MountFixups", "MountManager", "MountStatus", "MountUnits", "Mounting"]
