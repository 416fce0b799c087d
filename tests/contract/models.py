"""What clients require of the answers: keys and types, written down from what they parse.

`key:type`, types joined by `|`; `[type]` is a list, `{type}` an object with such values, `word/word` one of these
words.
"""

from __future__ import annotations

import re
from ipaddress import IPv4Address
from typing import Any

HOST = (
    "agent_version:str|null apparmor_version:str|null chassis:str|null virtualization:str|null cpe:str|null "
    "deployment:str|null disk_free:float disk_total:float disk_used:float disk_life_time:float|null features:[str] "
    "hostname:str|null llmnr_hostname:str|null kernel:str|null operating_system:str|null timezone:str|null dt_utc:str "
    "dt_synchronized:bool|null use_ntp:bool|null startup_time:float|null boot_timestamp:int|null "
    "broadcast_llmnr:bool|null broadcast_mdns:bool|null"
)
DISK_USAGE = "id:str label:str used_bytes:int total_bytes:int children:[obj]"
STATS = (
    "cpu_percent:float memory_usage:int memory_limit:int memory_percent:float network_rx:int network_tx:int "
    "blk_read:int blk_write:int"
)
STAGE = "stable/experimental/deprecated"
STATE = "startup/started/stopped/unknown/error"
ARCH = "[armv7/armhf/aarch64/i386/amd64]"
REPOSITORY = "slug:str name:str source:str url:str maintainer:str"
LISTED = (
    f"detached:bool advanced:bool available:bool build:bool description:str homeassistant:str|null icon:bool logo:bool "
    f"name:str repository:str slug:str stage:{STAGE} update_available:bool url:str|null version_latest:str "
    f"version:str|null state:{STATE} system_managed:bool"
)
STORE = (
    f"arch:{ARCH} documentation:bool advanced:bool available:bool build:bool description:str homeassistant:str|null "
    f"icon:bool logo:bool name:str repository:str slug:str stage:{STAGE} update_available:bool url:str|null "
    "version_latest:str version:str|null installed:bool"
)
RIGHTS = (
    "apparmor:default/disable/profile auth_api:bool docker_api:bool full_access:bool homeassistant_api:bool "
    "host_network:bool host_pid:bool ingress:bool long_description:str|null rating:int signed:bool hassio_api:bool "
    "hassio_role:admin/backup/default/homeassistant/manager detached:bool"
)
STORE_DETAILS = f"{STORE} {RIGHTS}"
INFO = (
    f"{RIGHTS} arch:{ARCH} documentation:bool advanced:bool available:bool build:bool description:str "
    f"homeassistant:str|null icon:bool logo:bool name:str repository:str slug:str stage:{STAGE} update_available:bool "
    f"url:str|null version_latest:str version:str|null state:{STATE} hostname:str dns:[str] protected:bool "
    "boot:auto/manual boot_config:auto/manual/manual_only options:obj schema:[obj]|null machine:[str] "
    "network:{int|null}|null network_description:{str}|null host_ipc:bool host_uts:bool host_dbus:bool "
    "privileged:[str] changelog:bool stdin:bool gpio:bool usb:bool uart:bool kernel_modules:bool devicetree:bool "
    "udev:bool video:bool audio:bool startup:application/initialize/once/services/system services:[str] "
    "discovery:[str] translations:obj webui:str|null ingress_entry:str|null ingress_url:str|null "
    "ingress_port:int|null ingress_panel:bool|null audio_input:str|null audio_output:str|null auto_update:bool "
    "ip_address:ip watchdog:bool devices:[str] system_managed:bool system_managed_config_entry:str|null "
    "log_format:str auto_uart:bool services_role:[str] limits:obj limits_pending:[str] last_error:str|null"
)
ROOT = (
    "supervisor:str homeassistant:str|null hassos:str|null docker:str hostname:str|null operating_system:str|null "
    "features:[str] machine:str|null machine_id:str|null arch:str "
    "state:initialize/setup/startup/running/freeze/shutdown/stopping/close supported_arch:[str] supported:bool "
    "channel:stable/beta/dev logging:debug/info/warning/error/critical timezone:str"
)
SUPERVISOR = (
    "version:str version_latest:str|null update_available:bool channel:stable/beta/dev arch:str|null supported:bool "
    "healthy:bool ip_address:ip timezone:str|null logging:debug/info/warning/error/critical debug:bool "
    "debug_block:bool diagnostics:bool|null auto_update:bool country:str|null detect_blocking_io:bool "
    "feature_flags:{bool} wait_boot:int addons:[obj] addons_repositories:[obj]"
)
JOB = (
    "name:str|null reference:str|null uuid:hex progress:float stage:str|null done:bool|null errors:[obj] created:str "
    "child_jobs:[obj] extra:obj|null"
)
JOB_ERROR = "type:str message:str stage:str|null error_key:str|null extra_fields:obj|null"
ISSUE = (
    "type:str context:addon/core/dns_server/mount/os/plugin/supervisor/store/system reference:str|null uuid:hex "
    "reference_extra:obj|null"
)
RESOLUTION = "suggestions:[obj] unsupported:[str] unhealthy:[str] issues:[obj] checks:[obj]"
# By the names of the first API version; those of Core's plugins come with them.
CHECKS = {
    "addon_pwned",
    "app_port_conflict",
    "backups",
    "deprecated_addon",
    "deprecated_arch_addon",
    "detached_addon_missing",
    "detached_addon_removed",
    "dns_server",
    "dns_server_ipv6",
    "docker_config",
    "free_space",
    "network_interface_ipv4",
    "systemd_unit_failure",
}
DOCKER = "version:str storage:str logging:str enable_ipv6:bool|null mtu:int|null registries:obj"
PLUGIN = "version:str|null version_latest:str|null update_available:bool"
AUDIO = f"{PLUGIN} host:ip audio:obj"
NETWORK = (
    "interfaces:[obj] docker:obj host_internet:bool|null supervisor_internet:bool available:bool nameservers:[str] "
    "pending:obj|null"
)
DOCKER_NETWORK = "interface:str address:str gateway:ip dns:ip"
AUDIO_DEVICES = "card:[obj] input:[obj] output:[obj] application:[obj]"
DEVICE = "name:str sysfs:str dev_path:str subsystem:str by_id:str|null attributes:{str} children:[str]"
DRIVE = (
    "vendor:str model:str revision:str serial:str id:str size:int time_detected:str connection_bus:str seat:str "
    "removable:bool ejectable:bool filesystems:[obj]"
)
MIRRORS = "mirrors:{[str]}"
OS = (
    "version:str|null version_latest:str|null version_pending:str|null update_available:bool board:str|null "
    "boot:str|null data_disk:str|null boot_slots:{obj}"
)
DATA_DISKS = "devices:[str] disks:[obj]"
DATA_DISK = "name:str vendor:str model:str serial:str size:int id:str dev_path:str"
GREEN_LEDS = "activity_led:bool power_led:bool system_health_led:bool"
YELLOW_LEDS = "disk_led:bool heartbeat_led:bool power_led:bool"
RPI_FIRMWARE = (
    "current_version:str|null latest_version:str|null update_available:bool update_blocked:bool update_pending:bool "
    "blocked_reason:str|null"
)
SWAP = "swap_size:str|null swappiness:int|null"
MOUNTS = "default_backup_mount:str|null mounts:[obj]"
BACKUP = (
    "slug:str name:str date:str type:full/partial size:float size_bytes:int location:str|null locations:[str|null] "
    "protected:bool location_attributes:{obj} compressed:bool content:obj"
)
BACKUP_CONTENT = "homeassistant:bool addons:[str] folders:[str]"
BACKUP_COPY = "protected:bool size_bytes:int"
BACKUP_DETAILS = (
    "slug:str type:full/partial name:str date:str size:float size_bytes:int compressed:bool protected:bool "
    "location_attributes:{obj} supervisor_version:str homeassistant:str|null location:str|null locations:[str|null] "
    "addons:[obj] repositories:[str] folders:[str] homeassistant_exclude_database:bool|null extra:obj"
)
BACKUP_ADDON = "slug:str name:str version:str size:float"
VERDICT = "message:str valid:bool pwned:bool|null"
IN_SUPERVISOR_INFO = (
    f"slug:str name:str version:str version_latest:str state:{STATE} icon:bool repository:str update_available:bool"
)


def check(data: Any, model: str, where: str) -> None:
    """Make sure that `data` has every key of the model, each with a value of its type."""
    assert isinstance(data, dict), (where, data)
    for entry in model.split():
        key, _, types = entry.partition(":")
        assert key in data, f"{where} lacks {key}"
        assert fits(data[key], types), f"{where}.{key} is {data[key]!r}, not {types}"


def fits(value: Any, types: str) -> bool:
    return any(_fits(value, one) for one in re.split(r"\|(?![^{\[]*[}\]])", types))


def _fits(value: Any, type_: str) -> bool:
    if type_.startswith("["):
        return isinstance(value, list) and all(fits(item, type_[1:-1]) for item in value)
    if type_.startswith("{"):
        return isinstance(value, dict) and all(fits(item, type_[1:-1]) for item in value.values())
    match type_:
        case "str":
            return isinstance(value, str)
        case "int":
            return isinstance(value, int) and not isinstance(value, bool)
        case "float":
            return isinstance(value, int | float) and not isinstance(value, bool)
        case "bool":
            return isinstance(value, bool)
        case "obj":
            return isinstance(value, dict)
        case "null":
            return value is None
        case "hex":
            return isinstance(value, str) and re.fullmatch(r"[0-9a-f]{32}", value) is not None
        case "ip":
            return isinstance(value, str) and str(IPv4Address(value)) == value
    return isinstance(value, str) and value in type_.split("/")
