"""The words of the resolution centre (host contract §2) and its two records."""

from __future__ import annotations

import secrets
from enum import StrEnum
from typing import Any

import attrs


class ContextType(StrEnum):
    ADDON = "addon"
    CORE = "core"
    DNS_SERVER = "dns_server"
    MOUNT = "mount"
    OS = "os"
    PLUGIN = "plugin"
    STORE = "store"
    SUPERVISOR = "supervisor"
    SYSTEM = "system"


class IssueType(StrEnum):
    """Internal names; the first API version shows some under their older name."""

    APP_PORT_CONFLICT = "app_port_conflict"
    BOOT_FAIL = "boot_fail"
    CORRUPT_DOCKER = "corrupt_docker"
    CORRUPT_FILESYSTEM = "corrupt_filesystem"
    CORRUPT_REPOSITORY = "corrupt_repository"
    DEPRECATED_ADDON = "deprecated_app"
    DEPRECATED_ARCH_ADDON = "deprecated_arch_app"
    DETACHED_ADDON_MISSING = "detached_app_missing"
    DETACHED_ADDON_REMOVED = "detached_app_removed"
    DEVICE_ACCESS_MISSING = "device_access_missing"
    DISABLED_DATA_DISK = "disabled_data_disk"
    DISK_LIFETIME = "disk_lifetime"
    DNS_LOOP = "dns_loop"
    DNS_SERVER_FAILED = "dns_server_failed"
    DNS_SERVER_IPV6_ERROR = "dns_server_ipv6_error"
    DOCKER_CONFIG = "docker_config"
    DOCKER_RATELIMIT = "docker_ratelimit"
    DUPLICATE_OS_INSTALLATION = "duplicate_os_installation"
    FATAL_ERROR = "fatal_error"
    FREE_SPACE = "free_space"
    IPV4_CONNECTION_PROBLEM = "ipv4_connection_problem"
    MISSING_IMAGE = "missing_image"
    MOUNT_FAILED = "mount_failed"
    MULTIPLE_DATA_DISKS = "multiple_data_disks"
    NO_CURRENT_BACKUP = "no_current_backup"
    NTP_SYNC_FAILED = "ntp_sync_failed"
    PWNED = "pwned"
    REBOOT_REQUIRED = "reboot_required"
    RPI_FIRMWARE_UPDATE_BLOCKED = "rpi_firmware_update_blocked"
    SECURITY = "security"
    SYSTEMD_UNIT_FAILED = "systemd_unit_failed"
    UPDATE_FAILED = "update_failed"
    UPDATE_ROLLBACK = "update_rollback"
    # Ours, beyond the contract's list: clients take any value here.
    ADDON_CRASH_LOOP = "addon_crash_loop"
    ADDON_OUT_OF_MEMORY = "addon_out_of_memory"
    CORRUPT_STATE_FILE = "corrupt_state_file"
    BACKUP_SCHEDULE_FAILED = "backup_schedule_failed"
    BACKUP_VERIFICATION_FAILED = "backup_verification_failed"


class SuggestionType(StrEnum):
    ADOPT_DATA_DISK = "adopt_data_disk"
    CLEAR_FULL_BACKUP = "clear_full_backup"
    CLEAR_PORT_CONFIG = "clear_port_config"
    CREATE_FULL_BACKUP = "create_full_backup"
    DISABLE_BOOT = "disable_boot"
    ENABLE_NTP = "enable_ntp"
    EXECUTE_REBOOT = "execute_reboot"
    EXECUTE_REBUILD = "execute_rebuild"
    EXECUTE_RELOAD = "execute_reload"
    EXECUTE_REMOVE = "execute_remove"
    EXECUTE_REPAIR = "execute_repair"
    EXECUTE_RESET = "execute_reset"
    EXECUTE_RESTART = "execute_restart"
    EXECUTE_START = "execute_start"
    EXECUTE_STOP = "execute_stop"
    EXECUTE_UPDATE = "execute_update"
    MOVE_LOCAL_DATA = "move_local_data"
    REGISTRY_LOGIN = "registry_login"
    RENAME_DATA_DISK = "rename_data_disk"


class UnsupportedReason(StrEnum):
    APPARMOR = "apparmor"
    CGROUP_VERSION = "cgroup_version"
    CONNECTIVITY_CHECK = "connectivity_check"
    DBUS = "dbus"
    DNS_SERVER = "dns_server"
    DOCKER_CONFIGURATION = "docker_configuration"
    DOCKER_VERSION = "docker_version"
    HOME_ASSISTANT_CORE_CUSTOM_IMAGE = "home_assistant_core_custom_image"
    HOME_ASSISTANT_CORE_VERSION = "home_assistant_core_version"
    JOB_CONDITIONS = "job_conditions"
    LXC = "lxc"
    NETWORK_MANAGER = "network_manager"
    OS = "os"
    OS_AGENT = "os_agent"
    OS_VERSION = "os_version"
    PRIVILEGED = "privileged"
    RESTART_POLICY = "restart_policy"
    SOFTWARE = "software"
    SUPERVISOR_VERSION = "supervisor_version"
    SYSTEM_ARCHITECTURE = "system_architecture"
    SYSTEMD = "systemd"
    SYSTEMD_JOURNAL = "systemd_journal"
    SYSTEMD_RESOLVED = "systemd_resolved"
    VIRTUALIZATION_IMAGE = "virtualization_image"


class UnhealthyReason(StrEnum):
    DATA_FILESYSTEM_CHECK_ERROR = "data_filesystem_check_error"
    DOCKER = "docker"
    DOCKER_GATEWAY_UNPROTECTED = "docker_gateway_unprotected"
    DUPLICATE_OS_INSTALLATION = "duplicate_os_installation"
    OSERROR_BAD_MESSAGE = "oserror_bad_message"
    OS_FILESYSTEM_CHECK_ERROR = "os_filesystem_check_error"
    PRIVILEGED = "privileged"
    SETUP = "setup"
    SUPERVISOR = "supervisor"
    UNTRUSTED = "untrusted"


@attrs.frozen
class Issue:
    """Two issues are the same when all but the uuid and the reason is; `reason` tells people why this one is open."""

    type: IssueType
    context: ContextType
    reference: str | None = None
    reference_extra: dict[str, Any] | None = attrs.field(default=None, hash=False)
    reason: str | None = attrs.field(default=None, eq=False)
    uuid: str = attrs.field(factory=lambda: secrets.token_hex(16), eq=False)

    def as_wire(self) -> dict[str, Any]:
        return attrs.asdict(self)


@attrs.frozen
class Suggestion:
    """Two suggestions are the same when all but the uuid is."""

    type: SuggestionType
    context: ContextType
    reference: str | None = None
    reference_extra: dict[str, Any] | None = attrs.field(default=None, hash=False)
    uuid: str = attrs.field(factory=lambda: secrets.token_hex(16), eq=False)

    def as_wire(self) -> dict[str, Any]:
        return attrs.asdict(self)


# Which suggestion helps against which issues, by context (API contract §3.17).
REMEDIES: dict[tuple[ContextType, SuggestionType], frozenset[IssueType]] = {
    (ContextType.ADDON, SuggestionType.CLEAR_PORT_CONFIG): frozenset({IssueType.APP_PORT_CONFLICT}),
    (ContextType.ADDON, SuggestionType.DISABLE_BOOT): frozenset({IssueType.BOOT_FAIL}),
    (ContextType.ADDON, SuggestionType.EXECUTE_START): frozenset(
        {IssueType.BOOT_FAIL, IssueType.APP_PORT_CONFLICT, IssueType.ADDON_CRASH_LOOP}
    ),
    (ContextType.ADDON, SuggestionType.EXECUTE_REBUILD): frozenset({IssueType.DOCKER_CONFIG}),
    (ContextType.ADDON, SuggestionType.EXECUTE_REMOVE): frozenset(
        {IssueType.DETACHED_ADDON_REMOVED, IssueType.DEPRECATED_ADDON, IssueType.DEPRECATED_ARCH_ADDON}
    ),
    (ContextType.ADDON, SuggestionType.EXECUTE_REPAIR): frozenset({IssueType.MISSING_IMAGE}),
    (ContextType.ADDON, SuggestionType.EXECUTE_RESTART): frozenset(
        {IssueType.DEVICE_ACCESS_MISSING, IssueType.ADDON_CRASH_LOOP, IssueType.ADDON_OUT_OF_MEMORY}
    ),
    (ContextType.MOUNT, SuggestionType.EXECUTE_RELOAD): frozenset({IssueType.MOUNT_FAILED}),
    (ContextType.MOUNT, SuggestionType.EXECUTE_REMOVE): frozenset({IssueType.MOUNT_FAILED}),
    (ContextType.MOUNT, SuggestionType.MOVE_LOCAL_DATA): frozenset({IssueType.MOUNT_FAILED}),
    (ContextType.STORE, SuggestionType.EXECUTE_RELOAD): frozenset({IssueType.FATAL_ERROR}),
    (ContextType.STORE, SuggestionType.EXECUTE_RESET): frozenset({IssueType.CORRUPT_REPOSITORY, IssueType.FATAL_ERROR}),
    (ContextType.STORE, SuggestionType.EXECUTE_REMOVE): frozenset(
        {IssueType.CORRUPT_REPOSITORY, IssueType.FATAL_ERROR}
    ),
    (ContextType.SYSTEM, SuggestionType.ADOPT_DATA_DISK): frozenset(
        {IssueType.DISABLED_DATA_DISK, IssueType.MULTIPLE_DATA_DISKS}
    ),
    (ContextType.SYSTEM, SuggestionType.RENAME_DATA_DISK): frozenset(
        {IssueType.DISABLED_DATA_DISK, IssueType.MULTIPLE_DATA_DISKS}
    ),
    (ContextType.SYSTEM, SuggestionType.CLEAR_FULL_BACKUP): frozenset({IssueType.FREE_SPACE}),
    (ContextType.SYSTEM, SuggestionType.CREATE_FULL_BACKUP): frozenset({IssueType.NO_CURRENT_BACKUP}),
    (ContextType.SYSTEM, SuggestionType.ENABLE_NTP): frozenset({IssueType.NTP_SYNC_FAILED}),
    (ContextType.SYSTEM, SuggestionType.EXECUTE_REBUILD): frozenset({IssueType.DOCKER_CONFIG}),
    (ContextType.SYSTEM, SuggestionType.EXECUTE_REBOOT): frozenset({IssueType.REBOOT_REQUIRED}),
    (ContextType.SYSTEM, SuggestionType.EXECUTE_RESET): frozenset({IssueType.SYSTEMD_UNIT_FAILED}),
    (ContextType.SYSTEM, SuggestionType.EXECUTE_RESTART): frozenset({IssueType.SYSTEMD_UNIT_FAILED}),
    (ContextType.SYSTEM, SuggestionType.REGISTRY_LOGIN): frozenset({IssueType.DOCKER_RATELIMIT}),
}
