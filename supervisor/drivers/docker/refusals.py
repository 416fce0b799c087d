"""Why the engine would not give a container what it asks for, in words that say what to change."""

from __future__ import annotations

import re
from collections.abc import Callable

from supervisor.drivers.docker.spec import ContainerSpec
from supervisor.errors import SupervisorError, Unsupported

_UNKNOWN_CAPABILITY = re.compile(r'unknown capability: "(?:CAP_)?(\w+)"')
_UNKNOWN_LIMIT = re.compile(r"(?:wrong rlimit value: RLIMIT_|invalid ulimit type: )(\w+)")


def refused_wish(spec: ContainerSpec, text: str) -> SupervisorError | None:
    """Read the engine's refusal to create or start `spec`; None when it is not about a wish of the container's."""
    for recognised, reason in _REASONS:
        if recognised in text:
            return Unsupported(f"{spec.name} can't start: {reason(spec, text)}")
    return None


def _unknown_capability(_spec: ContainerSpec, text: str) -> str:
    found = _UNKNOWN_CAPABILITY.search(text)
    return f"this Docker engine does not know the capability {found[1] if found else 'it asks for'}; a newer one may"


def _capabilities(spec: ContainerSpec, _text: str) -> str:
    asked = "all capabilities" if spec.privileged else ", ".join(spec.capabilities) or "what the engine always gives"
    return f"this machine does not let the Docker engine give the capabilities asked for ({asked})"


def _ulimits(spec: ContainerSpec, _text: str) -> str:
    asked = ", ".join(limit.name for limit in spec.ulimits)
    return f"this machine does not let the Docker engine set the limits (ulimits) asked for ({asked})"


def _unknown_limit(_spec: ContainerSpec, text: str) -> str:
    found = _UNKNOWN_LIMIT.search(text)
    return f"there is no limit (ulimits) called {found[1].lower() if found else 'so'}"


def _real_time(_spec: ContainerSpec, _text: str) -> str:
    return "this machine has no real-time budget for containers"


def _apparmor(spec: ContainerSpec, _text: str) -> str:
    profile = next((entry.partition("=")[2] for entry in spec.security_opt if entry.startswith("apparmor=")), "")
    return f"its AppArmor profile {profile or 'docker-default'} is not loaded"


def _memory(spec: ContainerSpec, _text: str) -> str:
    return f"its memory limit of {spec.memory} bytes is too small to begin with"


_REASONS: tuple[tuple[str, Callable[[ContainerSpec, str], str]], ...] = (
    ("unknown capability", _unknown_capability),
    ("apply caps", _capabilities),
    ("setting rlimit", _ulimits),
    ("wrong rlimit value", _unknown_limit),
    ("invalid ulimit type", _unknown_limit),
    ("rt_runtime", _real_time),
    ("apparmor profile", _apparmor),
    ("OOM-killed", _memory),
)
