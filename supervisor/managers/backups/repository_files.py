"""The folder of a configured repository: its secrets, readable by root alone, and the engine's cache.

No secret is anywhere else: the state file holds none, and no answer of the API.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
import secrets
import shlex
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

import attrs
import voluptuous as vol

from supervisor.drivers.folder import remove_tree
from supervisor.drivers.snapshot_engine import RepositoryAccess
from supervisor.errors import Internal, Invalid
from supervisor.state import sync_folder, write_atomic

from .repository_place import Place, PlaceKind

_HOST: Final = "repository"
# What ssh says of its failure must be heard before restic sees that there is no connection, and ends.
_SSH: Final = 'ssh "$@"; code=$?; [ $code -ne 255 ] || sleep 0.5; exit $code'
_HOST_KEY: Final = re.compile(r"(ssh-[a-z0-9-]+|ecdsa-sha2-[a-z0-9-]+|sk-[a-z0-9@.-]+) ([A-Za-z0-9+/]+=*)( .*)?")
_PRIVATE_KEY: Final = re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----\n[^-]*-----END [A-Z ]*PRIVATE KEY-----\n?")
_UNPINNED: Final = "StrictHostKeyChecking accept-new"
_PINNED: Final = "StrictHostKeyChecking yes"
_NEW: Final = ".new-"


def _line(value: Any) -> str:
    if not isinstance(value, str) or not value or not value.isprintable() or len(value) > 1024:
        raise vol.Invalid("expected a line of text")
    return value


def _host_key(value: Any) -> str:
    if not isinstance(value, str) or not (match := _HOST_KEY.fullmatch(value.strip())):
        raise vol.Invalid("expected a host key such as 'ssh-ed25519 AAAA…'")
    try:
        base64.b64decode(match[2], validate=True)
    except binascii.Error as err:
        raise vol.Invalid("expected a host key such as 'ssh-ed25519 AAAA…'") from err
    return f"{match[1]} {match[2]}"


def _private_key(value: Any) -> str:
    key = value.replace("\r\n", "\n") if isinstance(value, str) else ""
    if len(key) > 32768 or not _PRIVATE_KEY.fullmatch(key):
        raise vol.Invalid("expected a private key as ssh-keygen writes it, without a passphrase")
    return key if key.endswith("\n") else key + "\n"


SECRETS_SCHEMA: Final[dict[Any, Any]] = {
    vol.Required("password"): _line,
    vol.Optional("access_key"): _line,
    vol.Optional("secret_key"): _line,
    vol.Optional("region"): vol.All(str, vol.Match(r"^[a-z0-9-]{1,64}$")),
    vol.Optional("private_key"): _private_key,
    vol.Optional("host_key"): _host_key,
}


@attrs.frozen(repr=False)
class Secrets:
    """`password` encrypts the repository; the keys open the way to it. `host_key` pins the SSH server."""

    password: str
    access_key: str | None = None
    secret_key: str | None = None
    region: str | None = None
    private_key: str | None = None
    host_key: str | None = None

    def check(self, place: Place) -> None:
        """Refuse what the place can't use, and a lack of what it needs.

        Raises:
            Invalid: with the reason.
        """
        s3 = (self.access_key, self.secret_key)
        if place.kind is PlaceKind.S3 and None in s3:
            raise Invalid("A repository in a bucket needs an access key and a secret key")
        if place.kind is not PlaceKind.S3 and (any(s3) or self.region):
            raise Invalid("Access keys and a region belong to repositories in buckets alone")
        if place.kind is not PlaceKind.SFTP and (self.private_key or self.host_key):
            raise Invalid("SSH keys belong to repositories by SFTP alone")


@attrs.frozen
class RepositoryFiles:
    """All that lies below `folder`, a folder for each repository. Every call blocks.

    `own_key` is the daemon's SSH key, for repositories that were given none; `mounts` holds the backup mounts.
    """

    folder: Path
    own_key: Path
    mounts: Path

    def of(self, name: str) -> Path:
        return self.folder / name

    def create(self, name: str, place: Place, given: Secrets) -> None:
        """Write the secrets of a repository down; all of them or none.

        Raises:
            Internal: the disk refused.
        """
        target, temporary = self.of(name), self.folder / f"{_NEW}{secrets.token_hex(8)}"
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            temporary.mkdir(mode=0o700)
            (temporary / "cache").mkdir(mode=0o700)
            for file, content in self._contents(target, place, given).items():
                write_atomic(temporary / file, content.encode())
            remove_tree(target)
            temporary.rename(target)
            sync_folder(self.folder)
        except OSError as err:
            remove_tree(temporary)
            raise Internal(f"The secrets of repository {name} can't be stored: {err.strerror}") from err

    def _contents(self, target: Path, place: Place, given: Secrets) -> dict[str, str]:
        contents = {"password": given.password}
        if place.kind is PlaceKind.S3:
            keys = f"aws_access_key_id = {given.access_key}\naws_secret_access_key = {given.secret_key}\n"
            contents["aws"] = f"[default]\n{keys}"
            contents["region"] = given.region or ""
        if place.kind is PlaceKind.SFTP:
            key = target / "ssh_key" if given.private_key else self.own_key
            if given.private_key:
                contents["ssh_key"] = given.private_key
            contents["known_hosts"] = f"{_HOST} {given.host_key}\n" if given.host_key else ""
            contents["ssh_config"] = _ssh_config(place, key, target / "known_hosts", pinned=bool(given.host_key))
        return contents

    def pin(self, name: str) -> None:
        """From now on accept no other key of the SSH server than the one that it showed."""
        config = self.of(name) / "ssh_config"
        text = _read(config)
        if _UNPINNED in text and _read(self.of(name) / "known_hosts"):
            write_atomic(config, text.replace(_UNPINNED, _PINNED).encode() + b"\n")

    def remove(self, name: str) -> None:
        """Remove the secrets and the cache of a repository.

        Raises:
            Internal: the disk refused.
        """
        try:
            remove_tree(self.of(name))
        except OSError as err:
            raise Internal(f"The secrets of repository {name} can't be removed: {err}") from err

    def sweep(self, known: Iterable[str]) -> None:
        """Remove what a crash left of repositories that were being added or removed."""
        keep = {*known, self.own_key.parent.name}
        if self.folder.is_dir():
            for path in self.folder.iterdir():
                if path.name not in keep:
                    remove_tree(path)

    def access(self, name: str, place: Place) -> RepositoryAccess:
        """Return how the engine opens the repository."""
        folder = self.of(name)
        settings: tuple[str, ...] = ()
        environment: dict[str, str] = {}
        match place.kind:
            case PlaceKind.FOLDER:
                url = place.path
            case PlaceKind.MOUNT:
                url = str(self.mounts / place.mount / place.path)
            case PlaceKind.SFTP:
                url = f"sftp:{_HOST}:{place.path.removeprefix('~/')}"
                ssh = ("-F", str(folder / "ssh_config"), _HOST, "-s", "sftp")
                command = shlex.join(("sh", "-c", _SSH, "sh", *ssh))
                settings = (f"sftp.command={command}",)
            case PlaceKind.S3:
                scheme = "https" if place.encrypted else "http"
                url = f"s3:{scheme}://{place.address}/{place.bucket}/{place.path}".rstrip("/")
                environment["AWS_SHARED_CREDENTIALS_FILE"] = str(folder / "aws")
                if region := _read(folder / "region"):
                    environment["AWS_DEFAULT_REGION"] = region
        return RepositoryAccess(url, folder / "password", folder / "cache", settings, environment)

    def host_fingerprint(self, name: str) -> str | None:
        """Return the fingerprint of the SSH server that the repository was made on, as ssh prints it."""
        for line in _read(self.of(name) / "known_hosts").splitlines():
            fields = line.split()
            if len(fields) >= 3:
                digest = hashlib.sha256(base64.b64decode(fields[2])).digest()
                return f"{fields[1]} SHA256:{base64.b64encode(digest).decode().rstrip('=')}"
        return None


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8").strip()
    except FileNotFoundError:
        return ""


def _ssh_config(place: Place, key: Path, known_hosts: Path, *, pinned: bool) -> str:
    def quoted(path: Path) -> str:
        return '"' + str(path).replace("%", "%%") + '"'

    lines = [
        f"Host {_HOST}",
        f"HostName {place.host.strip('[]')}",
        f"User {place.user}",
        f"Port {place.port or 22}",
        # The server is known by the key that it had when the repository was added, whatever its name.
        f"HostKeyAlias {_HOST}",
        f"UserKnownHostsFile {quoted(known_hosts)}",
        "GlobalKnownHostsFile /dev/null",
        _PINNED if pinned else _UNPINNED,
        "UpdateHostKeys no",
        f"IdentityFile {quoted(key)}",
        "IdentitiesOnly yes",
        "IdentityAgent none",
        "BatchMode yes",
        "ForwardAgent no",
        "ForwardX11 no",
        "ClearAllForwardings yes",
        "PermitLocalCommand no",
        "ConnectTimeout 20",
        "ServerAliveInterval 15",
        "ServerAliveCountMax 8",
    ]
    return "\n".join(lines) + "\n"
