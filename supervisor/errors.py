"""The one tree of errors.

A class says by its meaning what a caller can do next; a catalogued error (API contract §1.5) adds a stable key and the
fields that clients read. Drivers translate foreign exceptions into these at once, so no Docker, D-Bus or HTTP client
exception is ever seen above them. Raising never logs: whoever answers a request, ends a job or ends a task does.
"""

from __future__ import annotations

from typing import Any, ClassVar

import attrs


class SupervisorError(Exception):
    """Something went wrong in a way the daemon knows about.

    `message` is for people; `key` and `fields` are for clients and stay stable; `job_id` names the background job that
    failed, where there is one. Clients read the names of some classes in jobs' errors: one that they don't know says
    by `told_as` which of those it is. `unnamed` is what may be kept where everybody can read: where the message tells
    names of what is encrypted, it says the same without them.
    """

    told_as: ClassVar[str] = ""

    def __init__(
        self,
        message: str = "",
        *,
        key: str | None = None,
        fields: dict[str, Any] | None = None,
        unnamed: str | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.unnamed = message if unnamed is None else unnamed
        self.key = key
        self.fields = fields
        self.job_id: str | None = None


class Invalid(SupervisorError):
    """What was asked for makes no sense as given; asking again unchanged won't help."""


class Unauthorized(SupervisorError):
    """The caller did not prove who it is."""


class Forbidden(SupervisorError):
    """The caller is known and may not do this."""


class NotFound(SupervisorError):
    """The named thing does not exist."""


class Conflict(SupervisorError):
    """The named thing exists already."""


class Busy(SupervisorError):
    """Another job holds what this one needs; ask again later."""


class Blocked(SupervisorError):
    """A condition of the job is not met (API contract §8.2)."""


class Unavailable(SupervisorError):
    """A part of the host or the engine that this needs is away; it may come back."""


class Timeout(Unavailable):
    """The engine, a repository or a service did not answer in time."""


class Unsupported(SupervisorError):
    """This machine, or this version of something, can't do it."""


class Gone(SupervisorError):
    """The feature was removed from the API."""


class RateLimited(SupervisorError):
    """A remote service asked us to slow down."""


class Internal(SupervisorError):
    """A failure the caller can't do anything about; the log has the details."""


class Failed(Internal):
    """Another part of the machine, or its disk, failed: the message says all that the daemon knows about it."""


class BackupError(Invalid):
    """A backup could not be made, kept or restored (backup contract §18; clients read the names of these classes)."""


class BackupInvalidError(BackupError):
    """The backup is damaged, hostile, of a newer daemon, elsewhere, or its password is another."""


class WrongPassword(BackupInvalidError):
    """What is encrypted does not open with this password, or with none."""

    told_as = "BackupInvalidError"


class ArchiveDamaged(BackupInvalidError):
    """An archive is cut off, altered, or no archive at all."""

    told_as = "BackupInvalidError"


class ArchiveRefused(BackupInvalidError):
    """An archive asks for something that no archive may do: reach outside, make a device, fill the disk."""

    told_as = "BackupInvalidError"


class SourceUnreadable(BackupError):
    """Something that was to be saved can't be read."""

    told_as = "BackupError"


class BackupFatalIOError(BackupError):
    """The disk refused; what was being written is worth nothing."""


class BackupFileNotFoundError(BackupError, NotFound):
    """The file of a backup has vanished."""


class BackupFileExistError(BackupError):
    """There is a file of that name already; it is left alone."""


class BackupPermissionError(BackupError):
    """The folder of the backups may not be written to."""


class BackupMountDownError(BackupError):
    """The mount that the backup should go to is away."""


class BackupDataDiskBadMessageError(BackupError):
    """The data disk answers with damaged data."""


class BackupJobError(BackupError):
    """The present state of the system does not allow it."""


class HomeAssistantBackupError(BackupError):
    """Home Assistant Core can't be prepared, or its configuration can't be read."""


class BackupRestoreUnknownError(Internal):
    """Saving or restoring something failed in a way that only the log tells."""


class AppBackupMetadataInvalidError(BackupError):
    """What a backup says about an add-on makes no sense."""


class AppPrePostBackupCommandReturnedError(BackupError):
    """A command that an add-on wants to be run around its backup failed."""


@attrs.frozen
class ErrorKind:
    """A catalogued error: calling it with its fields makes the exception to raise."""

    key: str
    error: type[SupervisorError]
    template: str

    def __call__(self, **fields: Any) -> SupervisorError:
        return self.error(self.template.format(**fields), key=self.key, fields=fields or None)


SEE_LOGS = "Look at the Supervisor logs for the reason (supervisor supervisor logs)"

# Add-ons. `app` is the display name where the kind also carries `slug`, else the slug.
ADDON_ALREADY_INSTALLED = ErrorKind(
    "app_already_installed_error", Invalid, "Add-on {app} ({slug}) is already installed"
)
ADDON_NOT_FOUND = ErrorKind("app_not_found_error", Invalid, "No add-on {slug} in the store")
ADDON_NOT_INSTALLED = ErrorKind("app_not_installed_error", Invalid, "Add-on {slug} is not installed")
ADDON_NOT_IN_STORE = ErrorKind(
    "app_not_in_store_error", Invalid, "Add-on {app} ({slug}) is no longer in any repository"
)
ADDON_NO_UPDATE = ErrorKind("app_no_update_available_error", Invalid, "No update is available for {app} ({slug})")
ADDON_REBUILD_VERSION = ErrorKind(
    "app_rebuild_version_changed_error",
    Invalid,
    "The store has another version of {app} ({slug}): update it instead of rebuilding it",
)
ADDON_REBUILD_IMAGE = ErrorKind(
    "app_rebuild_image_based_error",
    Invalid,
    "{app} ({slug}) uses a published image and is not built here; force the rebuild to fetch that image again",
)
ADDON_CONFIGURATION_INVALID = ErrorKind(
    "app_configuration_invalid_error", Invalid, "The options of add-on {app} are invalid: {validation_error}"
)
ADDON_BOOT_PINNED = ErrorKind(
    "app_boot_config_cannot_change_error", Invalid, "Add-on {app} fixes its boot mode to {boot_config}"
)
ADDON_NOT_RUNNING = ErrorKind("app_not_running_error", Invalid, "Add-on {app} is not running")
ADDON_NO_STDIN = ErrorKind("app_not_supported_write_stdin_error", Invalid, "Add-on {app} does not read standard input")
ADDON_PORT_CONFLICT = ErrorKind(
    "app_port_conflict", Invalid, "Add-on {name} can't start: port {port} of this machine is in use"
)
ADDON_PORT_HELD = ErrorKind(
    "app_port_conflict", Invalid, "Add-on {name} can't start: port {port} of this machine is used by add-on {holder}"
)
ADDON_UNSUPPORTED_ARCH = ErrorKind(
    "app_not_supported_architecture_error",
    Unsupported,
    "Add-on {slug} does not run on this machine; it needs one of these architectures: {architectures}",
)
ADDON_UNSUPPORTED_MACHINE = ErrorKind(
    "app_not_supported_machine_type_error",
    Unsupported,
    "Add-on {slug} does not run on this machine; it needs one of these machine types: {machine_types}",
)
ADDON_UNSUPPORTED_CORE = ErrorKind(
    "app_not_supported_home_assistant_version_error",
    Unsupported,
    "Add-on {slug} needs Home Assistant {version} or newer",
)
ADDON_DOCKERFILE_MISSING = ErrorKind(
    "app_build_dockerfile_missing_error",
    Invalid,
    "Add-on {app} can't be built: its Dockerfile is missing. Repair the repository with: {repair_command}",
)
ADDON_BUILD_ARCH = ErrorKind(
    "app_build_architecture_not_supported_error",
    Unsupported,
    "Add-on {app} can't be built here: it is made for {app_arches}, this machine runs {system_arches}",
)
ADDON_BUILD_FAILED = ErrorKind(
    "app_build_failed_unknown_error",
    Internal,
    "Building add-on {app} failed. The log of the build has the reason (supervisor addons logs {app} --build)",
)
ADDON_UNKNOWN = ErrorKind("app_unknown_error", Internal, "The Docker engine refused work for add-on {app}. " + SEE_LOGS)
# Ours, beyond the contract's list.
ADDON_LIMIT_INVALID = ErrorKind("app_limit_invalid_error", Invalid, "The limit {limit} can't be set so: {reason}")
ADDON_NOT_POSSIBLE_HERE = ErrorKind("app_not_possible_here_error", Unsupported, "Add-on {app} can't start: {reason}")
ADDON_PROFILE_INVALID = ErrorKind(
    "app_apparmor_profile_invalid_error", Invalid, "The AppArmor profile of add-on {app} can't be used: {reason}"
)
ADDON_FILE_UNREADABLE = ErrorKind("app_file_read_error", Invalid, "A file of add-on {app} can't be read: {error}")
ADDON_BACKUP_COMMAND = ErrorKind(
    "app_pre_post_backup_command_returned_error",
    AppPrePostBackupCommandReturnedError,
    "The backup command of add-on {app} ended with exit code {exit_code}. The log has what it said; to see more of it: "
    "{debug_logging_command}",
)

# Store.
STORE_ADDON_NOT_FOUND = ErrorKind("store_app_not_found_error", NotFound, "No add-on {app} in the store")
REPOSITORY_EXISTS = ErrorKind("store_repository_already_added_error", Conflict, "Repository {url} is already there")
REPOSITORY_LOCAL_RESET = ErrorKind(
    "store_repository_local_cannot_reset", Invalid, "The repository {local_repo} is a folder of yours: nothing to reset"
)
REPOSITORY_UNKNOWN = ErrorKind("store_repository_unknown_error", Internal, "Repairing {repo} failed. " + SEE_LOGS)

# Backup repositories.
REPOSITORY_WRONG_PASSWORD = ErrorKind(
    "backup_repository_wrong_password", Invalid, "The password does not open the backup repository {repository}"
)
REPOSITORY_MISSING = ErrorKind(
    "backup_repository_missing",
    NotFound,
    "There is no repository at the place of {repository}; is the disk or share there that it lies on? ({reason})",
)
REPOSITORY_EXISTS_ALREADY = ErrorKind(
    "backup_repository_exists",
    Conflict,
    "At the place of {repository} lies a repository already; adopt it instead of creating one",
)
REPOSITORY_LOCKED = ErrorKind(
    "backup_repository_locked",
    Busy,
    "Somebody else works with the backup repository {repository}; try again later ({reason})",
)
REPOSITORY_NO_SPACE = ErrorKind(
    "backup_repository_no_space", Unavailable, "No space is left for the backup repository {repository}: {reason}"
)
REPOSITORY_UNREACHABLE = ErrorKind(
    "backup_repository_unreachable", Unavailable, "The backup repository {repository} can't be reached: {reason}"
)
REPOSITORY_ACCESS_DENIED = ErrorKind(
    "backup_repository_access_denied", Invalid, "The backup repository {repository} may not be used: {reason}"
)
REPOSITORY_HOST_KEY = ErrorKind(
    "backup_repository_host_key",
    Invalid,
    "The server of the backup repository {repository} is not the one it was: its host key has changed. When that is "
    "right, remove the repository and adopt it again",
)
REPOSITORY_DAMAGED = ErrorKind(
    "backup_repository_damaged", Internal, "The backup repository {repository} is damaged: {reason}"
)
REPOSITORY_SNAPSHOT_MISSING = ErrorKind(
    "backup_repository_snapshot_missing", NotFound, "The backup repository {repository} no longer has that: {reason}"
)
REPOSITORY_FAILED = ErrorKind(
    "backup_repository_failed", Unavailable, "Work with the backup repository {repository} failed: {reason}"
)

# Services.
SERVICE_PROVIDED = ErrorKind(
    "service_already_provided_error", Conflict, "Add-on {app} provides the service {service} already"
)
SERVICE_NOT_PROVIDED = ErrorKind("service_not_provided_error", NotFound, "Nobody provides the service {service}")

# Docker.
DOCKER_NO_SPACE = ErrorKind("docker_no_space_on_device", Invalid, "No space left on the disk for the image")
DOCKER_PORT_CONFLICT = ErrorKind(
    "docker_container_port_conflict", Invalid, "Container {name} can't start: port {port} of this machine is in use"
)
DOCKER_REGISTRY_AUTH = ErrorKind(
    "docker_registry_auth_error", Invalid, "Registry {registry} refused the stored user name and password"
)
DOCKERHUB_RATE_LIMIT = ErrorKind(
    "dockerhub_rate_limit_exceeded",
    RateLimited,
    "Docker Hub's limit for this address is used up; log in to raise it, see {dockerhub_rate_limit_url}",
)
GHCR_RATE_LIMIT = ErrorKind("ghcr_rate_limit_exceeded", RateLimited, "GitHub's container registry asks us to wait")
REGISTRY_RATE_LIMIT = ErrorKind(
    "container_registry_rate_limit_exceeded", RateLimited, "The container registry asks us to wait"
)

# Host.
HOST_INVALID_HOSTNAME = ErrorKind("host_invalid_hostname", Invalid, "{hostname!r} is not a name that a host can have")
OS_UPDATE_FAILED = ErrorKind(
    "os_update_failed", Invalid, "RAUC did not install version {version}; what runs is unchanged. It says: {reason}"
)
BACKUP_PART_NOT_FOUND = ErrorKind(
    "backup_part_not_found_error", NotFound, "Backup {slug} holds no {part}; it holds {parts}"
)
BACKUP_PATH_NOT_FOUND = ErrorKind("backup_path_not_found_error", NotFound, "Backup {slug} holds no {path}")
MOUNT_NOT_FOUND = ErrorKind("mount_not_found_error", NotFound, "There is no mount {name}")
MOUNT_TARGET_NOT_DIRECTORY = ErrorKind(
    "mount_target_not_directory_error", Invalid, "Mount {name} can't be made: {path} is there already and no folder"
)
MOUNT_TARGET_NOT_EMPTY = ErrorKind(
    "mount_target_not_empty_error",
    Invalid,
    "Mount {name} can't be made: the folder {path} is not empty; move what is in it away first",
)
MOUNT_USAGE_NOT_ACTIVE = ErrorKind("mount_usage_not_active_error", Invalid, "Mount {name} is not active")
MOUNT_USAGE_NOT_MOUNTED = ErrorKind(
    "mount_usage_not_mounted_error", Invalid, "Mount {name} is not mounted, or its server does not answer"
)
MOUNT_USAGE_READ = ErrorKind("mount_usage_read_error", Invalid, "The content of {name} can't be measured: {reason}")
MOUNT_USAGE_TIMEOUT = ErrorKind(
    "mount_usage_timeout_error", Timeout, "{name} did not answer in time while its content was measured"
)

# Supervisor and resolution.
SUPERVISOR_UNKNOWN = ErrorKind("supervisor_unknown_error", Internal, "The Supervisor could not do that. " + SEE_LOGS)
LOG_EPOCH_UNKNOWN = ErrorKind(
    "host_container_log_epoch_error", Internal, "Can't tell when the current run of {identifiers} began"
)
ISSUE_NOT_FOUND = ErrorKind("resolution_issue_not_found_error", NotFound, "No issue {uuid}")
SUGGESTION_NOT_FOUND = ErrorKind("resolution_suggestion_not_found_error", NotFound, "No suggestion {uuid}")
CHECK_NOT_FOUND = ErrorKind("resolution_check_not_found_error", NotFound, "No check {check}")
