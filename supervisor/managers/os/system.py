"""What the operating system says of itself (host contract §28, §29)."""

from __future__ import annotations

import attrs

from supervisor.managers.host import SystemServices
from supervisor.model.cpe import Cpe

from .disk import used_disk

NO_BOARD = "supervised"


@attrs.frozen
class OperatingSystem:
    """All of it is None on a system that is not the Home Assistant Operating System and has no agent."""

    _services: SystemServices

    @property
    def is_haos(self) -> bool:
        return self._services.is_haos

    @property
    def version(self) -> str | None:
        """The version of the Home Assistant Operating System."""
        cpe = self._cpe
        return cpe.version or None if cpe is not None and cpe.is_haos else None

    @property
    def board(self) -> str | None:
        """What that system was made for; another system that can name itself is `supervised`."""
        cpe = self._cpe
        if cpe is None:
            return None
        return cpe.target_hardware or None if cpe.is_haos else NO_BOARD

    @property
    def data_disk(self) -> str | None:
        """The id of the disk that the data is on, or the path of what is no disk."""
        device = self._services.data_disk.current_device
        if not device:
            return None
        disks = self._services.disks
        return used_disk(device, disks.block(device), disks.drives()).id

    @property
    def _cpe(self) -> Cpe | None:
        return Cpe.parse(self._services.hostname.operating_system_cpe)
