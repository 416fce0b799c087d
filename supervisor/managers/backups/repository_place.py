"""Where a backup repository lies, as people write it.

| Written | Means |
|---|---|
| `/srv/backups` | a folder of this machine |
| `mount:nas/backups` | a folder on the backup mount `nas` |
| `sftp://user@host:22/backups` | a folder on another machine, by SSH; `/~/x` begins in the user's home |
| `s3://host/bucket/folder` | a bucket, by HTTPS; `s3+http://…` without encryption on the way |
"""

from __future__ import annotations

import re
from collections.abc import Callable
from enum import StrEnum
from pathlib import PurePosixPath
from typing import Final
from urllib.parse import unquote, urlsplit

import attrs

from supervisor.errors import Invalid

_MAX_LENGTH: Final = 1024
_HOST: Final = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?|\[[0-9A-Fa-f:.]+\]")
_USER: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}")
_MOUNT: Final = re.compile(r"[A-Za-z0-9_]+")
_BUCKET: Final = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_HOW: Final = "write /folder, mount:name/folder, sftp://user@host/folder or s3://host/bucket/folder"


class PlaceKind(StrEnum):
    FOLDER = "folder"
    MOUNT = "mount"
    SFTP = "sftp"
    S3 = "s3"


@attrs.frozen
class Place:
    """`path` is absolute for a folder and for SFTP unless it begins with `~/`, else relative to mount or bucket."""

    kind: PlaceKind
    path: str
    host: str = ""
    port: int | None = None
    user: str = ""
    mount: str = ""
    bucket: str = ""
    encrypted: bool = True

    @property
    def address(self) -> str:
        """Host and port as a URL has them."""
        return self.host if self.port is None else f"{self.host}:{self.port}"

    def __str__(self) -> str:
        """Return it as people write it: `parse` makes the same of it again."""
        match self.kind:
            case PlaceKind.FOLDER:
                return self.path
            case PlaceKind.MOUNT:
                return f"mount:{self.mount}/{self.path}"
            case PlaceKind.SFTP:
                return f"sftp://{self.user}@{self.address}/{self.path.removeprefix('/')}"
            case PlaceKind.S3:
                scheme = "s3" if self.encrypted else "s3+http"
                return f"{scheme}://{self.address}/{self.bucket}/{self.path}".rstrip("/")


def parse(written: str) -> Place:
    """Read what people write.

    Raises:
        Invalid: it is no place for a repository; a user's password in it is refused as well.
    """
    if len(written) > _MAX_LENGTH or not written.isprintable() or "\\" in written:
        raise Invalid(f"This is no place for a backup repository; {_HOW}")
    if written.startswith("/"):
        return Place(PlaceKind.FOLDER, _absolute(written))
    scheme, colon, rest = written.partition(":")
    reader = _READERS.get(scheme) if colon else None
    if reader is None:
        raise Invalid(f"{written} is no place for a backup repository; {_HOW}")
    return reader(written, rest)


def _mount(written: str, rest: str) -> Place:
    name, _, path = rest.partition("/")
    if not _MOUNT.fullmatch(name):
        raise Invalid(f"{written} names no mount; {_HOW}")
    return Place(PlaceKind.MOUNT, _relative(path), mount=name)


def _sftp(written: str, _rest: str) -> Place:
    host, port, user, path = _split(written)
    if not _USER.fullmatch(user):
        raise Invalid(f"{written} needs the name of a user; {_HOW}")
    path = f"~/{_relative(path[3:])}" if path.startswith("/~/") else _absolute(path)
    return Place(PlaceKind.SFTP, path, host=host, port=port, user=user)


def _s3(written: str, _rest: str) -> Place:
    host, port, user, path = _split(written)
    if user:
        raise Invalid("The access key belongs beside the place of a repository, not into it")
    bucket, _, folder = path.lstrip("/").partition("/")
    if not _BUCKET.fullmatch(bucket):
        raise Invalid(f"{written} needs the name of a bucket; {_HOW}")
    folder = _relative(folder) if folder.strip("/") else ""
    encrypted = not written.startswith("s3+http:")
    return Place(PlaceKind.S3, folder, host=host, port=port, bucket=bucket, encrypted=encrypted)


_READERS: Final[dict[str, Callable[[str, str], Place]]] = {
    "mount": _mount,
    "sftp": _sftp,
    "s3": _s3,
    "s3+http": _s3,
}


def _split(written: str) -> tuple[str, int | None, str, str]:
    """Return host, port, user and path of a URL."""
    try:
        parts = urlsplit(written)
        port = parts.port
    except ValueError as err:
        raise Invalid(f"{written} is no place for a backup repository; {_HOW}") from err
    host = parts.netloc.rpartition("@")[2]
    host = host[: host.rindex(":")] if re.search(r":[0-9]*$", host) else host
    if parts.password is not None or ":" in parts.netloc.rpartition("@")[0]:
        raise Invalid("A password can't be part of a repository's place; SFTP works with keys")
    if parts.query or parts.fragment or "?" in written or "#" in written or "%" in written:
        raise Invalid(f"{written} holds characters that the place of a repository can't have; {_HOW}")
    if not _HOST.fullmatch(host) or port == 0:
        raise Invalid(f"{written} names no host; {_HOW}")
    return host, port, unquote(parts.username or ""), parts.path


def _absolute(path: str) -> str:
    cleaned = PurePosixPath("/" + path.strip("/"))
    if ".." in cleaned.parts or len(cleaned.parts) < 2:
        raise Invalid(f"{path} is no folder that can hold a backup repository")
    return str(cleaned)


def _relative(path: str) -> str:
    cleaned = PurePosixPath(path.strip("/"))
    if ".." in cleaned.parts or not cleaned.parts or cleaned.parts[0] == "~":
        raise Invalid(f"{path or 'Nothing'} is no folder that can hold a backup repository")
    return str(cleaned)
