"""How much an add-on is to be trusted with, from 1 (nearly everything is open to it) to 8 (add-on contract §2.8)."""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from supervisor.model.manifest import HassioRole, Manifest


class AppArmorState(StrEnum):
    """`profile` counts only once the add-on's own profile is stored, so after its installation."""

    DISABLE = "disable"
    DEFAULT = "default"
    PROFILE = "profile"


_POWERFUL: Final = frozenset(
    {
        "BPF",
        "CHECKPOINT_RESTORE",
        "DAC_READ_SEARCH",
        "NET_ADMIN",
        "NET_RAW",
        "PERFMON",
        "SYS_ADMIN",
        "SYS_MODULE",
        "SYS_PTRACE",
        "SYS_RAWIO",
    }
)
_APPARMOR: Final = {AppArmorState.DISABLE: -1, AppArmorState.DEFAULT: 0, AppArmorState.PROFILE: 1}
_ROLES: Final = {HassioRole.MANAGER: -1, HassioRole.ADMIN: -2}


def apparmor_state(manifest: Manifest, *, has_profile: bool) -> AppArmorState:
    if not manifest.apparmor:
        return AppArmorState.DISABLE
    return AppArmorState.PROFILE if has_profile else AppArmorState.DEFAULT


def rating(manifest: Manifest, apparmor: AppArmorState) -> int:
    if manifest.docker_api or manifest.full_access:
        return 1
    points = 5 + _APPARMOR[apparmor] + _ROLES.get(manifest.hassio_role, 0)
    if manifest.ingress:
        points += 2
    elif manifest.auth_api:
        points += 1
    if manifest.kernel_modules or not _POWERFUL.isdisjoint(manifest.privileged):
        points -= 1
    if manifest.host_network:
        points -= 1
    if manifest.host_pid:
        points -= 2
    if manifest.host_uts and "SYS_ADMIN" in manifest.privileged:
        points -= 1
    return max(1, min(8, points))
