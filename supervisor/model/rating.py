"""How much an add-on is to be trusted with, from 1 (nearly everything is open to it) to 8 (add-on contract §2.8)."""

from __future__ import annotations

from enum import StrEnum
from typing import Final

import attrs

from supervisor.model.manifest import HassioRole, Manifest

LOWEST: Final = 1
HIGHEST: Final = 8
_START: Final = 5


class AppArmorState(StrEnum):
    """`profile` counts only once the add-on's own profile is stored, so after its installation."""

    DISABLE = "disable"
    DEFAULT = "default"
    PROFILE = "profile"


POWERFUL: Final = frozenset(
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
        return LOWEST
    points = _START + sum(effect.change for effect in effects(manifest, apparmor))
    return max(LOWEST, min(HIGHEST, points))


@attrs.frozen
class Effect:
    """What a key of the manifest does to the rating."""

    key: str
    change: int


def effects(manifest: Manifest, apparmor: AppArmorState) -> list[Effect]:
    """Return everything that counts, apart from what makes the rating 1 whatever else there is."""
    powerful = not POWERFUL.isdisjoint(manifest.privileged)
    counted = (
        Effect("apparmor", _APPARMOR[apparmor]),
        Effect("ingress", 2 if manifest.ingress else 0),
        Effect("auth_api", 1 if manifest.auth_api and not manifest.ingress else 0),
        Effect("privileged" if powerful else "kernel_modules", -1 if powerful or manifest.kernel_modules else 0),
        Effect("hassio_role", _ROLES.get(manifest.hassio_role, 0)),
        Effect("host_network", -1 if manifest.host_network else 0),
        Effect("host_pid", -2 if manifest.host_pid else 0),
        Effect("host_uts", -1 if manifest.host_uts and "SYS_ADMIN" in manifest.privileged else 0),
    )
    return [effect for effect in counted if effect.change]
