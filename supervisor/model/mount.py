"""Network storage as users describe it (host contract §41, §42)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

import attrs
import voluptuous as vol

from supervisor.model.validators import lenient_bool, lenient_int

MAX_TEXT: Final = 1024

# The kernel is given both as words between commas.
_COMMA: Final = "commas can't be part of it"
_NAME: Final = re.compile(r"[A-Za-z0-9_]{1,64}")
# What would end a line of the credentials, or a word of a unit: nothing that a server or a share can be called.
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f\u0085\u2028\u2029]")


class MountType(StrEnum):
    CIFS = "cifs"
    NFS = "nfs"


class MountUsage(StrEnum):
    BACKUP = "backup"
    MEDIA = "media"
    SHARE = "share"


@attrs.frozen(kw_only=True)
class Mount:
    """One share of a server. `share`, `version` and the login are those of CIFS, `path` is that of NFS."""

    name: str
    type: MountType
    usage: MountUsage
    server: str
    read_only: bool = False
    port: int | None = None
    share: str = ""
    version: str | None = None
    username: str | None = None
    password: str | None = attrs.field(default=None, repr=False)
    path: str = ""

    @property
    def what(self) -> str:
        """What is mounted, as mount(8) wants it written."""
        if self.type is MountType.CIFS:
            return f"//{self.server}/{self.share}"
        return f"{self.server}:{self.path}"

    @property
    def user_path(self) -> str | None:
        """Where add-ons find it; those for backups are no business of theirs."""
        return None if self.usage is MountUsage.BACKUP else f"/{self.usage.value}/{self.name}"

    def options(self, credentials: Path) -> list[str]:
        """Return the options of the mount; `credentials` is where the host finds the file with its login."""
        common = [*(["ro"] if self.read_only else []), *([f"port={self.port}"] if self.port else [])]
        if self.type is MountType.NFS:
            return [*common, "softerr", "timeo=100", "retrans=2"]
        version = [f"vers={self.version}"] if self.version else []
        login = f"credentials={credentials}" if self.username is not None else "guest"
        return [*common, "noserverino", "soft", "echo_interval=10", "retrans=0", *version, login]

    def credentials(self) -> bytes | None:
        """Return the content of the file with its login; None when it needs none."""
        if self.username is None or self.password is None:
            return None
        return f"username={self.username}\npassword={self.password}".encode()

    def stored(self) -> dict[str, Any]:
        """Return it as state files and backups have it, with its login."""
        common = {
            "name": self.name,
            "type": self.type.value,
            "usage": self.usage.value,
            "read_only": self.read_only,
            "server": self.server,
            **({"port": self.port} if self.port else {}),
        }
        if self.type is MountType.NFS:
            return {**common, "path": self.path}
        login = {} if self.username is None else {"username": self.username, "password": self.password}
        return {**common, "share": self.share, "version": self.version, **login}

    @classmethod
    def of(cls, described: Mapping[str, Any]) -> Mount:
        """Return what `MOUNT` has accepted as an object."""
        values = dict(described)
        return cls(type=MountType(values.pop("type")), usage=MountUsage(values.pop("usage")), **values)


def is_mount_name(text: str) -> bool:
    return _NAME.fullmatch(text) is not None


def mount_name(value: Any) -> str:
    if not isinstance(value, str) or not is_mount_name(value):
        raise vol.Invalid("expected up to 64 letters, digits and underscores")
    return value


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value or len(value) > MAX_TEXT:
        raise vol.Invalid(f"expected a text of up to {MAX_TEXT} characters")
    if _CONTROL.search(value):
        raise vol.Invalid("line breaks and control characters can't be part of it")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise vol.Invalid("expected proper characters") from None
    return value


def _server(value: Any) -> str:
    """Only the start is looked at for slashes: what is in use stays in use (§41)."""
    server = _text(value)
    if "," in server:
        raise vol.Invalid(_COMMA)
    if server[0] in "\\/-" or any(character.isspace() for character in server):
        raise vol.Invalid("expected the name or address of a server, without slashes before it and without spaces")
    return server


def _share(value: Any) -> str:
    share = _text(value)
    if "," in share:
        raise vol.Invalid(_COMMA)
    if share[0] in "\\/":
        raise vol.Invalid("expected the name of a share, without slashes before it")
    return share


def _port(value: Any) -> int:
    number = lenient_int(value)
    if not 1 <= number <= 65535:
        raise vol.Invalid("expected a port from 1 to 65535")
    return number


_COMMON: Final[dict[Any, Any]] = {
    vol.Required("name"): mount_name,
    vol.Required("usage"): vol.In([usage.value for usage in MountUsage]),
    vol.Optional("read_only", default=False): lenient_bool,
    vol.Required("server"): _server,
    vol.Optional("port"): _port,
}
_CIFS: Final = vol.Schema(
    {
        **_COMMON,
        vol.Required("type"): MountType.CIFS.value,
        vol.Required("share"): _share,
        vol.Inclusive("username", "login", msg="username and password belong together"): _text,
        vol.Inclusive("password", "login", msg="username and password belong together"): _text,
        vol.Optional("version", default=None): vol.In([None, "1.0", "2.0"]),
    },
    extra=vol.REMOVE_EXTRA,
)
_NFS: Final = vol.Schema(
    {**_COMMON, vol.Required("type"): MountType.NFS.value, vol.Required("path"): _text}, extra=vol.REMOVE_EXTRA
)


def described_mount(value: Any) -> dict[str, Any]:
    """Return a description of a mount with what its type has; other keys are dropped.

    Raises:
        vol.Invalid: it makes no sense.
    """
    if not isinstance(value, dict):
        raise vol.Invalid("expected an object")
    kind = value.get("type")
    if kind not in (MountType.CIFS.value, MountType.NFS.value):
        raise vol.Invalid("expected cifs or nfs", path=["type"])
    checked: dict[str, Any] = (_CIFS if kind == MountType.CIFS.value else _NFS)(value)
    if checked["usage"] == MountUsage.BACKUP.value and checked["read_only"]:
        raise vol.Invalid("a mount for backups must be writable", path=["read_only"])
    return checked


MOUNT: Final = vol.Schema(described_mount)
