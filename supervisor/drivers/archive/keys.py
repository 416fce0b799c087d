"""Passwords to keys, and the headers that say how an inner archive is encrypted (backup contract §5.1-§5.3)."""

from __future__ import annotations

import hashlib
import hmac
import os
import struct
from typing import Final

import attrs
from nacl import bindings as sodium

from supervisor.errors import ArchiveDamaged, ArchiveRefused, WrongPassword

MAGIC: Final = b"SecureTar"
BLOCK: Final = 16
SALT_LENGTH: Final = 16
_COMMON = struct.Struct(">9sB6xQ8x")
MAX_ROOTS: Final = 64
_ROUNDS: Final = 100
_PERSON: Final = b"SecureTarv3".ljust(16, b"\0")


@attrs.frozen
class LegacyHeader:
    """Versions 1 (which has no `size`) and 2: AES-128-CBC, nothing authenticated."""

    version: int
    salt: bytes
    size: int | None = None

    @property
    def length(self) -> int:
        return SALT_LENGTH if self.version == 1 else _COMMON.size + SALT_LENGTH

    def packed(self) -> bytes:
        return _COMMON.pack(MAGIC, self.version, self.size or 0) + self.salt


@attrs.frozen
class StreamHeader:
    """Version 3: XChaCha20-Poly1305 in chunks, the password checked by a key of its own."""

    size: int
    root_salt: bytes
    validation_salt: bytes
    validation_key: bytes
    file_salt: bytes
    nonce: bytes
    version: int = 3

    @property
    def length(self) -> int:
        return STREAM_HEADER_LENGTH

    def packed(self) -> bytes:
        return b"".join(
            (
                _COMMON.pack(MAGIC, self.version, self.size),
                self.root_salt,
                self.validation_salt,
                self.validation_key,
                self.file_salt,
                self.nonce,
            )
        )


_STREAM = struct.Struct(">16s16s32s16s24s")
STREAM_HEADER_LENGTH: Final = _COMMON.size + _STREAM.size


def read_header(start: bytes) -> LegacyHeader | StreamHeader:
    """Tell from the first bytes of an inner archive how it is encrypted.

    Anything without the magic is version 1, whose header is only its salt.

    Raises:
        ArchiveDamaged: the header is cut off, or of a version that nobody knows.
    """
    if len(start) < SALT_LENGTH:
        raise ArchiveDamaged("The encrypted archive is cut off in its header")
    if not start.startswith(MAGIC):
        return LegacyHeader(1, start[:SALT_LENGTH])
    version = start[len(MAGIC)]
    if version not in (2, 3) or any(start[len(MAGIC) + 1 : 16]):
        raise ArchiveDamaged(f"The encrypted archive is of an unknown version ({version})")
    length = _COMMON.size + (SALT_LENGTH if version == 2 else _STREAM.size)
    if len(start) < length:
        raise ArchiveDamaged("The encrypted archive is cut off in its header")
    _, _, size = _COMMON.unpack_from(start)
    rest = start[_COMMON.size : length]
    if version == 2:
        return LegacyHeader(2, rest, size)
    return StreamHeader(size, *_STREAM.unpack(rest))


def legacy_key(password: str) -> bytes:
    """Return the AES key of versions 1 and 2."""
    return _hashed(password.encode())


def legacy_vector(key: bytes, salt: bytes) -> bytes:
    """Return the initial vector of one file of version 1 or 2."""
    return _hashed(key + salt)


def _hashed(value: bytes) -> bytes:
    for _ in range(_ROUNDS):
        value = hashlib.sha256(value).digest()
    return value[:BLOCK]


def root_key(password: str, salt: bytes) -> bytes:
    """Return the key that all others of a version 3 backup come from. Takes some 50 ms and 16 MiB, by design."""
    key: bytes = sodium.crypto_pwhash_alg(
        32, password.encode(), salt, 8, 16 * 1024 * 1024, sodium.crypto_pwhash_ALG_ARGON2ID13
    )
    return key


def derived_key(root: bytes, salt: bytes) -> bytes:
    return hashlib.blake2b(digest_size=32, key=root, salt=salt, person=_PERSON).digest()


class Keyring:
    """The keys that one password opens; the costly ones are made once."""

    def __init__(self, password: str) -> None:
        self._password = password
        self._roots: dict[bytes, bytes] = {}
        self._legacy: bytes | None = None
        self._root_salt = os.urandom(SALT_LENGTH)
        self._validation_salt = os.urandom(SALT_LENGTH)

    def legacy(self) -> bytes:
        if self._legacy is None:
            self._legacy = legacy_key(self._password)
        return self._legacy

    def stream(self, header: StreamHeader) -> bytes:
        """Return the key of the file with this header.

        Raises:
            WrongPassword: it was encrypted with another password.
            ArchiveRefused: it wants yet another of the costly keys.
        """
        root = self._root(header.root_salt)
        if not hmac.compare_digest(derived_key(root, header.validation_salt), header.validation_key):
            raise WrongPassword("The password is another one")
        return derived_key(root, header.file_salt)

    def new_stream(self) -> tuple[StreamHeader, bytes]:
        """Return a header, without size and nonce yet, and the key for a new file; all share this ring's salts."""
        root = self._root(self._root_salt)
        file_salt = os.urandom(SALT_LENGTH)
        validation = derived_key(root, self._validation_salt)
        header = StreamHeader(0, self._root_salt, self._validation_salt, validation, file_salt, bytes(24))
        return header, derived_key(root, file_salt)

    def _root(self, salt: bytes) -> bytes:
        if salt not in self._roots:
            if len(self._roots) >= MAX_ROOTS:
                # Every file of one backup has the same; a backup that asks for more wants to keep us busy.
                raise ArchiveRefused("The parts of the backup are encrypted in too many different ways")
            self._roots[salt] = root_key(self._password, salt)
        return self._roots[salt]
