"""What issues and suggestions mean, for people: the API tells types only."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from supervisor.cli.answers import mapping
from supervisor.cli.columns import show

# By the names of the first API version, which shows some under older names.
_ISSUES: Final = {
    "addon_crash_loop": "it ends again and again and is not started any more",
    "addon_out_of_memory": "it reached its limit of memory",
    "app_port_conflict": "a port that it needs is taken",
    "backup_schedule_failed": "a backup by schedule failed or lacks something",
    "backup_verification_failed": "a check found damaged backups",
    "boot_fail": "it did not start, or ended badly, when the machine booted",
    "corrupt_docker": "the Docker engine's data are damaged",
    "corrupt_filesystem": "a file system is damaged",
    "corrupt_repository": "the copy of this repository is damaged",
    "corrupt_state_file": "a state file could not be read; what was left of it counts",
    "deprecated_addon": "its author gave this add-on up",
    "deprecated_arch_addon": "it is for a kind of processor that is no longer supported",
    "detached_addon_missing": "the repository that it came from is gone",
    "detached_addon_removed": "its repository does not offer it any more",
    "device_access_missing": "it can't use a device that it needs",
    "disabled_data_disk": "a data disk is there and not used",
    "disk_lifetime": "the disk is nearly worn out",
    "dns_loop": "name servers ask each other in a circle",
    "dns_server_failed": "this name server does not answer",
    "dns_server_ipv6_error": "this name server answers wrongly about IPv6",
    "docker_config": "its container was made before the engine was set up as it is now",
    "docker_ratelimit": "Docker Hub refuses more downloads for now",
    "duplicate_os_installation": "a second Home Assistant Operating System lies on another disk",
    "fatal_error": "it can't be read or reached",
    "free_space": "the disk is nearly full",
    "ipv4_connection_problem": "this interface has no IPv4 address",
    "missing_image": "its image is not here",
    "mount_failed": "the server can't be reached, or refuses",
    "multiple_data_disks": "there is more than one data disk",
    "no_current_backup": "no full backup is recent enough",
    "ntp_sync_failed": "time servers don't keep the clock",
    "pwned": "one of its passwords is publicly known",
    "reboot_required": "something counts from the next reboot of the machine",
    "rpi_firmware_update_blocked": "the board's firmware can't be updated as things are",
    "security": "something is not as safe as it should be",
    "systemd_unit_failed": "this unit of systemd has failed",
    "update_failed": "an update failed",
    "update_rollback": "the new version failed; the old one is back",
}
_SUGGESTIONS: Final = {
    "adopt_data_disk": "use this disk for the data",
    "clear_full_backup": "remove old full backups",
    "clear_port_config": "go back to the add-on's own ports",
    "create_full_backup": "make a full backup",
    "disable_boot": "don't start it with the machine",
    "enable_ntp": "have time servers set the clock",
    "execute_reboot": "reboot the machine",
    "execute_rebuild": "make its container anew",
    "execute_reload": "try it again",
    "execute_remove": "remove it",
    "execute_repair": "fetch or make it anew",
    "execute_reset": "throw its copy away and fetch it afresh",
    "execute_restart": "restart it",
    "execute_start": "start it",
    "execute_stop": "stop it",
    "execute_update": "update it",
    "move_local_data": "move the local files beside it",
    "registry_login": "log in to the registry: supervisor docker login",
    "rename_data_disk": "give the disk another name",
}


def words_for(row: Mapping[str, Any]) -> str:
    """Return what an issue or a suggestion means, with what the daemon says about this one."""
    if row.get("kind") != "issue":
        return _SUGGESTIONS.get(str(row.get("type")), "-")
    extra = mapping(row.get("reference_extra"))
    reason = row.get("reason") or extra.get("reason")
    told = show(reason) if reason else ", ".join(f"{key} {show(value)}" for key, value in extra.items())
    return ": ".join(part for part in (_ISSUES.get(str(row.get("type")), ""), told) if part) or "-"
