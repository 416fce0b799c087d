"""Boards, their firmware and swap on the wire (API contract §2.20, §3.16)."""

from __future__ import annotations

import attrs


@attrs.frozen(kw_only=True)
class GreenLeds:
    activity_led: bool
    power_led: bool
    system_health_led: bool


@attrs.frozen(kw_only=True)
class YellowLeds:
    disk_led: bool
    heartbeat_led: bool
    power_led: bool


@attrs.frozen(kw_only=True)
class RpiFirmware:
    """`blocked_reason` is None unless `update_blocked`, and when nobody says why."""

    current_version: str | None
    latest_version: str | None
    update_available: bool
    update_blocked: bool
    update_pending: bool
    blocked_reason: str | None


@attrs.frozen(kw_only=True)
class Swap:
    """None while the OS agent is away."""

    swap_size: str | None
    swappiness: int | None
