"""What services say when they refuse, in our own errors."""

from __future__ import annotations

from typing import Final

from supervisor.errors import (
    Busy,
    Conflict,
    Internal,
    Invalid,
    NotFound,
    SupervisorError,
    Timeout,
    Unavailable,
    Unsupported,
)

_STANDARD = "org.freedesktop.DBus.Error."
_NETWORK = "org.freedesktop.NetworkManager."
# How GLib calls errors that a service has no name for; what follows is a number that tells nobody anything.
_NAMELESS = "org.gtk.GDBus.UnmappedGError."
_FAULTS_OF_SETTINGS = (
    "Failed",
    "SettingNotFound",
    "PropertyNotFound",
    "PropertyNotSecret",
    "MissingSetting",
    "InvalidSetting",
    "MissingProperty",
    "InvalidProperty",
)
_MEANINGS: Final[dict[str, type[SupervisorError]]] = {
    # The service is not there, or could not be started.
    _STANDARD + "ServiceUnknown": Unavailable,
    _STANDARD + "NameHasNoOwner": Unavailable,
    _STANDARD + "Disconnected": Unavailable,
    _STANDARD + "NoServer": Unavailable,
    _STANDARD + "LimitsExceeded": Unavailable,
    "org.freedesktop.systemd1.NoSuchUnit": NotFound,
    "org.freedesktop.systemd1.UnitMasked": Unavailable,
    "org.freedesktop.systemd1.LoadFailed": Unavailable,
    "org.freedesktop.systemd1.UnitExists": Conflict,
    "org.freedesktop.systemd1.TransactionIsDestructive": Busy,
    "org.freedesktop.systemd1.TransactionJobsConflicting": Busy,
    "org.freedesktop.systemd1.OnlyByDependency": Unsupported,
    "org.freedesktop.systemd1.JobTypeNotApplicable": Unsupported,
    "org.freedesktop.login1.OperationInProgress": Busy,
    _NETWORK + "UnknownDevice": NotFound,
    _NETWORK + "UnknownConnection": NotFound,
    _NETWORK + "ConnectionNotAvailable": Unavailable,
    _NETWORK + "ConnectionNotActive": Unavailable,
    _NETWORK + "InvalidArguments": Invalid,
    _NETWORK + "PermissionDenied": Unsupported,
    _NETWORK + "Failed": Unavailable,
    _NETWORK + "Device.IncompatibleConnection": Unavailable,
    _NETWORK + "Device.NotAllowed": Unavailable,
    _NETWORK + "Device.NotActive": Unavailable,
    _NETWORK + "Device.Failed": Unavailable,
    _NETWORK + "Settings.InvalidConnection": Invalid,
    _NETWORK + "Settings.PermissionDenied": Unsupported,
    _NETWORK + "Settings.Failed": Unavailable,
    **{f"{_NETWORK}{of}Connection.{fault}": Invalid for of in ("", "Settings.") for fault in _FAULTS_OF_SETTINGS},
    # It is there and does not answer.
    _STANDARD + "NoReply": Timeout,
    _STANDARD + "Timeout": Timeout,
    _STANDARD + "TimedOut": Timeout,
    # It is another version than we know.
    _STANDARD + "UnknownMethod": Unsupported,
    _STANDARD + "UnknownInterface": Unsupported,
    _STANDARD + "UnknownProperty": Unsupported,
    _STANDARD + "PropertyReadOnly": Unsupported,
    _STANDARD + "InvalidSignature": Unsupported,
    _STANDARD + "NotSupported": Unsupported,
    # What we asked for.
    _STANDARD + "UnknownObject": NotFound,
    _STANDARD + "InvalidArgs": Invalid,
    _STANDARD + "FileNotFound": NotFound,
    _STANDARD + "FileExists": Conflict,
    # What the machine's own rules forbid this daemon.
    _STANDARD + "AccessDenied": Unsupported,
    _STANDARD + "AuthFailed": Unsupported,
    _STANDARD + "InteractiveAuthorizationRequired": Unsupported,
}


class Refused(Exception):
    """A service answered a call with an error: `name` is its D-Bus name, `text` what it says to people."""

    def __init__(self, name: str, text: str) -> None:
        super().__init__(f"{name}: {text}")
        self.name = name
        self.text = text


def refusal(what: str, name: str, text: str) -> SupervisorError:
    """Return the error to raise for an answer that is an error; its cause keeps the foreign name."""
    cause = Refused(name, text)
    meaning = _MEANINGS.get(name)
    if meaning is None:
        meaning = Unavailable if name.startswith(_STANDARD + "Spawn.") else Internal
    said = text or name
    telling = meaning is Internal and not name.startswith(_NAMELESS)
    error = meaning(f"{what}: {said} ({name})" if telling else f"{what}: {said}")
    error.__cause__ = cause
    return error


def error_name(error: BaseException) -> str | None:
    """Return the D-Bus name of what a service said, None when the error did not come from a service.

    For drivers that must tell refusals of one service apart.
    """
    cause = error.__cause__
    return cause.name if isinstance(cause, Refused) else None
