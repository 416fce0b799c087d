"""Encrypted streams (backup contract §5.4), both ways, in constant memory."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final, Protocol

import attrs
from nacl import bindings as sodium
from nacl.exceptions import CryptoError

from supervisor.drivers.archive.keys import (
    BLOCK,
    STREAM_HEADER_LENGTH,
    Keyring,
    LegacyHeader,
    StreamHeader,
    legacy_vector,
    read_header,
)
from supervisor.errors import ArchiveDamaged, WrongPassword

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers import Cipher, CipherContext
    from cryptography.hazmat.primitives.ciphers.modes import CBC

CHUNK: Final = 1024 * 1024
SEAL: Final = 17
_MESSAGE: Final = sodium.crypto_secretstream_xchacha20poly1305_TAG_MESSAGE
_FINAL: Final = sodium.crypto_secretstream_xchacha20poly1305_TAG_FINAL
_PROBE: Final = 512
# Each chunk ends with its seal, whose first bytes change the nonce of the next one.
_MAC: Final = 16
_INNER: Final = 8
_NONCE_AT: Final = 32

Bytes = bytes | bytearray | memoryview


def _aes(key: bytes, vector: bytes) -> Cipher[CBC]:
    # Only old archives are encrypted so; the library takes 7 MB, which few daemons ever need.
    from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes  # noqa: PLC0415

    return Cipher(algorithms.AES(key), modes.CBC(vector))


class Encryptor(Protocol):
    """Turns plain into encrypted bytes; `header` is whole only after `finish`."""

    def update(self, data: Bytes) -> bytes: ...

    def finish(self) -> bytes: ...

    @property
    def header(self) -> bytes: ...

    @property
    def seals(self) -> bytes:
        """What `SealedStream` wants to know; nothing where the bytes can only be decrypted in turn."""
        ...


class LegacyEncryptor:
    """Version 2: AES-128-CBC with PKCS#7."""

    def __init__(self, keyring: Keyring, salt: bytes) -> None:
        self._salt = salt
        self._size = 0
        key = keyring.legacy()
        self._cipher: CipherContext = _aes(key, legacy_vector(key, salt)).encryptor()

    def update(self, data: Bytes) -> bytes:
        self._size += len(data)
        return self._cipher.update(data)

    def finish(self) -> bytes:
        padding = BLOCK - self._size % BLOCK
        return self._cipher.update(bytes([padding]) * padding) + self._cipher.finalize()

    @property
    def header(self) -> bytes:
        return LegacyHeader(2, self._salt, self._size).packed()

    @property
    def seals(self) -> bytes:
        return b""


class StreamEncryptor:
    """Version 3: chunks of one MiB; the last one is marked, and empty only if everything is."""

    def __init__(self, keyring: Keyring) -> None:
        self._header, key = keyring.new_stream()
        self._state = sodium.crypto_secretstream_xchacha20poly1305_state()
        nonce = sodium.crypto_secretstream_xchacha20poly1305_init_push(self._state, key)
        self._header = attrs.evolve(self._header, nonce=nonce)
        self._size = 0
        self._pending = bytearray()
        self._seals = bytearray()

    def update(self, data: Bytes) -> bytes:
        self._size += len(data)
        self._pending += data
        sealed = []
        while len(self._pending) > CHUNK:
            with memoryview(self._pending) as view:
                chunk = bytes(view[:CHUNK])
            del self._pending[:CHUNK]
            sealed.append(self._push(chunk, _MESSAGE))
        return sealed[0] if len(sealed) == 1 else b"".join(sealed)

    def finish(self) -> bytes:
        return self._push(bytes(self._pending), _FINAL)

    def _push(self, chunk: bytes, tag: int) -> bytes:
        sealed: bytes = sodium.crypto_secretstream_xchacha20poly1305_push(self._state, chunk, None, tag)
        self._seals += sealed[-_MAC : len(sealed) - _MAC + _INNER]
        return sealed

    @property
    def header(self) -> bytes:
        return attrs.evolve(self._header, size=self._size).packed()

    @property
    def seals(self) -> bytes:
        return bytes(self._seals)


class Section(Protocol):
    """A part of a file that is read from its start on."""

    @property
    def size(self) -> int: ...

    def read_at(self, offset: int, size: int) -> bytes: ...


def decrypted(section: Section, keyring: Keyring) -> tuple[int, Iterator[bytes]]:
    """Return the version of an encrypted inner archive and its plain bytes.

    The password is checked at once; damage shows while the bytes are read.

    Raises:
        WrongPassword: it was encrypted with another password, or not at all.
        ArchiveDamaged: it is cut off or was altered.
    """
    header = read_header(section.read_at(0, STREAM_HEADER_LENGTH))
    if isinstance(header, StreamHeader):
        return 3, _open_stream(section, header, keyring.stream(header))
    key = keyring.legacy()
    vector = legacy_vector(key, header.salt)
    length = section.size - header.length
    _check_legacy_length(header, length)
    start = _decrypt_blocks(key, vector, section.read_at(header.length, _PROBE))
    if not _looks_like_archive(start):
        if _ends_as_told(section, header, key):
            raise ArchiveDamaged("The beginning of the encrypted archive is damaged")
        raise WrongPassword("The password is another one")
    return header.version, _open_legacy(section, header, key, vector)


def _check_legacy_length(header: LegacyHeader, length: int) -> None:
    if length < BLOCK or length % BLOCK:
        raise ArchiveDamaged("The encrypted archive is cut off")
    if header.version == 2 and length != (header.size or 0) + _padding(header):
        raise ArchiveDamaged("The encrypted archive does not have the size that its header tells")


def _decrypt_blocks(key: bytes, vector: bytes, data: bytes) -> bytes:
    cipher = _aes(key, vector).decryptor()
    return cipher.update(data) + cipher.finalize()


def _looks_like_archive(start: bytes) -> bool:
    """Judge the first plain bytes; without a MAC nothing else tells a wrong password."""
    return start.startswith(b"\x1f\x8b\x08") or start[257:262] == b"ustar" or not any(start)


def _ends_as_told(section: Section, header: LegacyHeader, key: bytes) -> bool:
    """Tell whether the padding at the end decrypts to what it must be: then the password is right after all."""
    if header.version == 1 or section.size < header.length + 2 * BLOCK:
        return False
    padding = _padding(header)
    tail = section.read_at(section.size - 2 * BLOCK, 2 * BLOCK)
    end = _decrypt_blocks(key, tail[:BLOCK], tail[BLOCK:])
    # A single byte is right by chance too often to mean anything.
    return padding >= 3 and end.endswith(bytes([padding]) * padding)


def _open_legacy(section: Section, header: LegacyHeader, key: bytes, vector: bytes) -> Iterator[bytes]:
    cipher = _aes(key, vector).decryptor()
    offset = header.length
    while offset < section.size:
        sealed = section.read_at(offset, min(CHUNK, section.size - offset))
        offset += len(sealed)
        plain = cipher.update(sealed)
        if offset == section.size:
            plain = _unpadded(plain, header)
        if plain:
            yield plain


def _unpadded(plain: bytes, header: LegacyHeader) -> bytes:
    # The header of version 2 tells the size: of a damaged end every 256th looks padded with a single byte.
    padding = plain[-1] if header.version == 1 else _padding(header)
    if 1 <= padding <= BLOCK and plain.endswith(bytes([padding]) * padding):
        return plain[:-padding]
    if header.version == 1:
        # Its writers padded only what did not fill the last block.
        return plain
    raise ArchiveDamaged("The end of the encrypted archive is damaged")


def _padding(header: LegacyHeader) -> int:
    return BLOCK - (header.size or 0) % BLOCK


def _open_stream(section: Section, header: StreamHeader, key: bytes) -> Iterator[bytes]:
    chunks = max(1, -(-header.size // CHUNK))
    if section.size != header.length + header.size + SEAL * chunks:
        raise ArchiveDamaged("The encrypted archive does not have the size that its header tells")
    state = sodium.crypto_secretstream_xchacha20poly1305_state()
    sodium.crypto_secretstream_xchacha20poly1305_init_pull(state, header.nonce, key)
    offset = header.length
    for number in range(1, chunks + 1):
        sealed = section.read_at(offset, min(CHUNK + SEAL, section.size - offset))
        offset += len(sealed)
        try:
            plain, tag = sodium.crypto_secretstream_xchacha20poly1305_pull(state, sealed)
        except CryptoError:
            raise ArchiveDamaged("The encrypted archive was altered or is damaged") from None
        if (tag == _FINAL) != (number == chunks):
            raise ArchiveDamaged("The encrypted archive does not end where it should")
        if plain:
            yield plain


class SealedStream:
    """The plain bytes of a version 3 archive, read anywhere; `seals` are the first eight bytes of each chunk's seal.

    Every chunk is authenticated at its place among the others. One thread at a time.

    Raises:
        WrongPassword, ArchiveDamaged: as `decrypted`.
    """

    def __init__(self, section: Section, keyring: Keyring, seals: bytes) -> None:
        header = read_header(section.read_at(0, STREAM_HEADER_LENGTH))
        if not isinstance(header, StreamHeader) or len(seals) != _INNER * max(1, -(-header.size // CHUNK)):
            raise ArchiveDamaged("The encrypted archive is another one than that which the seals are of")
        self._section = section
        self._header = header
        self._key = keyring.stream(header)
        self._seals = seals
        # The nonce of the chunk `_next`, but for its counter.
        self._inner = int.from_bytes(header.nonce[-_INNER:], "little")
        self._next = 0
        self._number, self._chunk = -1, b""

    def read_at(self, offset: int, size: int) -> bytes:
        end = min(offset + size, self._header.size)
        pieces = []
        for number in range(offset // CHUNK, -(-end // CHUNK)):
            start = number * CHUNK
            pieces.append(self._opened(number)[max(0, offset - start) : end - start])
        return b"".join(pieces)

    def _opened(self, number: int) -> bytes:
        if number != self._number:
            self._number, self._chunk = number, self._pull(number)
        return self._chunk

    def _pull(self, number: int) -> bytes:
        while self._next != number:
            step = 1 if number > self._next else -1
            seal = min(self._next, self._next + step) * _INNER
            self._inner ^= int.from_bytes(self._seals[seal : seal + _INNER], "little")
            self._next += step
        state = sodium.crypto_secretstream_xchacha20poly1305_state()
        sodium.crypto_secretstream_xchacha20poly1305_init_pull(state, self._header.nonce, self._key)
        nonce = (number + 1).to_bytes(4, "little") + self._inner.to_bytes(_INNER, "little")
        state.statebuf[_NONCE_AT : _NONCE_AT + len(nonce)] = nonce  # type: ignore[index]  # C's memory, not bytes
        sealed = self._section.read_at(self._header.length + number * (CHUNK + SEAL), CHUNK + SEAL)
        try:
            plain: bytes
            plain, _ = sodium.crypto_secretstream_xchacha20poly1305_pull(state, sealed)
        except CryptoError:
            raise ArchiveDamaged("The encrypted archive was altered or is damaged") from None
        return plain
