"""Keys and ciphers answer the contract's known vectors (backup contract §5.5)."""

from __future__ import annotations

from pathlib import Path

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from hypothesis import given
from hypothesis import strategies as st
from nacl import bindings as sodium

from supervisor.drivers.archive.cipher import LegacyEncryptor, StreamEncryptor, decrypted
from supervisor.drivers.archive.keys import (
    STREAM_HEADER_LENGTH,
    Keyring,
    LegacyHeader,
    StreamHeader,
    derived_key,
    legacy_key,
    legacy_vector,
    read_header,
    root_key,
)
from supervisor.errors import ArchiveDamaged, WrongPassword

PASSWORD = "correct horse"
CHUNK = 1024 * 1024


def counted(start: int, length: int) -> bytes:
    return bytes(range(start, start + length))


class Memory:
    """A part of a file that is in memory."""

    def __init__(self, content: bytes) -> None:
        self.content = content
        self.size = len(content)

    def read_at(self, offset: int, size: int) -> bytes:
        return self.content[offset : offset + size]


def test_the_key_and_the_vector_of_versions_1_and_2_are_the_known_ones() -> None:
    key = legacy_key(PASSWORD)
    assert key.hex() == "b0944a107588e21ea7ac72ef9be15db8"
    assert legacy_vector(key, counted(0, 16)).hex() == "897a0b875db02edab31c9ed480fcae38"


def test_version_2_encrypts_as_known() -> None:
    encryptor = LegacyEncryptor(Keyring(PASSWORD), counted(0, 16))
    sealed = encryptor.update(b"0123456789abcdef") + encryptor.finish()
    assert sealed.hex() == "d9ec47f9ea8234cbc3df17a4612d1716b537c6fc0d646259b7d15d918cfa8a86"
    assert (
        encryptor.header.hex()
        == "53656375726554617202000000000000" + "0000000000000010" + "00" * 8 + counted(0, 16).hex()
    )


def test_the_keys_of_version_3_are_the_known_ones() -> None:
    root = root_key(PASSWORD, counted(0, 16))
    assert root.hex() == "b4458f5b31631461de4dc2e52589462d9be37c876fe8dd4b6278ec2d64d0fb9a"
    assert derived_key(root, counted(0x10, 16)).hex() == (
        "5f314afc591a5447ab49395f29ffa2d391691201a77bf2ade93987c87d19efec"
    )
    assert derived_key(root, counted(0x20, 16)).hex() == (
        "6ea41e36ab98d23a41d771d92199206b908662384a1c89265cb7cbf9628d7e8f"
    )


def test_version_3_decrypts_the_known_chunk() -> None:
    root = root_key(PASSWORD, counted(0, 16))
    validation = derived_key(root, counted(0x10, 16))
    header = StreamHeader(5, counted(0, 16), counted(0x10, 16), validation, counted(0x20, 16), counted(0x30, 24))
    sealed = bytes.fromhex("4c77ca5b13b400334e7e0fad5e2a77d6f4710c943696")
    version, plain = decrypted(Memory(header.packed() + sealed), Keyring(PASSWORD))
    assert (version, b"".join(plain)) == (3, b"hello")
    assert read_header(header.packed()) == header
    assert header.length == STREAM_HEADER_LENGTH == 136


def test_version_3_encrypts_the_known_chunk_with_the_known_header() -> None:
    state = sodium.crypto_secretstream_xchacha20poly1305_state()
    key = derived_key(root_key(PASSWORD, counted(0, 16)), counted(0x20, 16))
    sodium.crypto_secretstream_xchacha20poly1305_init_pull(state, counted(0x30, 24), key)
    sealed = sodium.crypto_secretstream_xchacha20poly1305_push(state, b"hello", None, 3)
    assert sealed.hex() == "4c77ca5b13b400334e7e0fad5e2a77d6f4710c943696"


def test_version_1_strips_padding_only_when_it_is_padding() -> None:
    """Its writers padded only what did not fill the last block (backup contract §5.6)."""
    keyring = Keyring(PASSWORD)
    start = b"\x1f\x8b\x08" + bytes(29)
    salt = counted(0, 16)
    for end, expected in ((b"no padding here.", b"no padding here."), (b"abc" + bytes([13]) * 13, b"abc")):
        cipher = Cipher(algorithms.AES(keyring.legacy()), modes.CBC(legacy_vector(keyring.legacy(), salt))).encryptor()
        sealed = salt + cipher.update(start + end) + cipher.finalize()
        version, plain = decrypted(Memory(sealed), keyring)
        assert (version, b"".join(plain)) == (1, start + expected)


def test_a_damaged_end_of_version_2_that_looks_padded_otherwise_is_damage() -> None:
    encryptor = LegacyEncryptor(Keyring(PASSWORD), counted(0, 16))
    data = b"\x1f\x8b\x08" + bytes(8 * 16 + 8)
    sealed = bytearray(encryptor.update(data) + encryptor.finish())
    assert len(sealed) - len(data) == 5
    # The last of the five bytes becomes a one: as it is right every 256th time by chance.
    sealed[-17] ^= 5 ^ 1
    _, plain = decrypted(Memory(encryptor.header + bytes(sealed)), Keyring(PASSWORD))
    with pytest.raises(ArchiveDamaged, match="end of the encrypted"):
        list(plain)


@pytest.mark.parametrize("size", [0, 1, 16, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK, 2 * CHUNK + 5])
@pytest.mark.parametrize("version", [2, 3])
def test_what_is_encrypted_has_the_size_that_the_contract_tells(size: int, version: int) -> None:
    keyring = Keyring(PASSWORD)
    encryptor = LegacyEncryptor(keyring, counted(0, 16)) if version == 2 else StreamEncryptor(keyring)
    data = (b"\x1f\x8b\x08" + bytes(size))[:size]
    sealed = b"".join(encryptor.update(data[at : at + 300_000]) for at in range(0, size, 300_000)) + encryptor.finish()
    expected = size + 16 - size % 16 if version == 2 else size + 17 * max(1, -(-size // CHUNK))
    assert len(sealed) == expected
    if size > 2:
        found, plain = decrypted(Memory(encryptor.header + sealed), Keyring(PASSWORD))
        assert found == version
        assert b"".join(plain) == data


def test_the_files_of_one_backup_share_their_salts_but_not_their_keys() -> None:
    keyring = Keyring(PASSWORD)
    (first, key), (second, other) = keyring.new_stream(), keyring.new_stream()
    assert (first.root_salt, first.validation_salt) == (second.root_salt, second.validation_salt)
    assert first.file_salt != second.file_salt
    assert key != other


def test_another_password_is_told_before_anything_is_read() -> None:
    encryptor = StreamEncryptor(Keyring(PASSWORD))
    sealed = encryptor.finish()
    with pytest.raises(WrongPassword):
        decrypted(Memory(encryptor.header + sealed), Keyring("wrong horse"))


@given(st.binary(max_size=200))
def test_no_header_makes_anything_but_a_clear_error(start: bytes) -> None:
    try:
        header = read_header(start)
    except ArchiveDamaged:
        return
    assert isinstance(header, LegacyHeader | StreamHeader)


def test_a_password_is_never_shown(tmp_path: Path) -> None:
    assert PASSWORD not in repr(Keyring(PASSWORD)) + repr(vars(Keyring(PASSWORD)).keys())
