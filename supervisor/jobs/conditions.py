"""What must hold before a job may start (API contract §8.2)."""

from __future__ import annotations

from enum import StrEnum


class JobCondition(StrEnum):
    """In the order of evaluation."""

    HEALTHY = "healthy"
    RUNNING = "running"
    FROZEN = "frozen"
    FREE_SPACE = "free_space"
    INTERNET_SYSTEM = "internet_system"
    INTERNET_HOST = "internet_host"
    HAOS = "haos"
    OS_AGENT = "os_agent"
    OS_SUPPORTED = "os_supported"
    HOME_ASSISTANT_CORE_SUPPORTED = "home_assistant_core_supported"
    HOST_NETWORK = "host_network"
    AUTO_UPDATE = "auto_update"
    SUPERVISOR_UPDATED = "supervisor_updated"
    ARCHITECTURE_SUPPORTED = "architecture_supported"
    PLUGINS_UPDATED = "plugins_updated"
    MOUNT_AVAILABLE = "mount_available"


ORDER = {condition: position for position, condition in enumerate(JobCondition)}
