"""Archives that nobody should open without care: each with what must be said about it."""

from __future__ import annotations

import gzip
import io
import os
import struct
import tarfile
from collections.abc import Callable
from pathlib import Path

import attrs

from supervisor.drivers.archive.content import Text
from supervisor.drivers.archive.work import Work
from supervisor.drivers.archive.writer import ArchiveWriter, Encryption
from supervisor.errors import ArchiveDamaged, ArchiveRefused, WrongPassword
from tarballs import tar_of

END = bytes(1024)
PASSWORD = "correct horse"


@attrs.frozen
class Case:
    """An inner archive's tar stream, and how it is refused."""

    what: str
    stream: bytes
    says: str
    error: type[Exception] = ArchiveRefused


def block(data: bytes) -> bytes:
    return data + bytes(-len(data) % 512)


def head(
    name: str | bytes,
    kind: bytes = tarfile.REGTYPE,
    *,
    size: int = 0,
    link: str | bytes = "",
    mode: int = 0o644,
    size_field: bytes | None = None,
    prefix: bytes = b"",
    **fields: bytes,
) -> bytes:
    """Make a classic header by hand, so that it can say anything."""
    raw_name = name.encode() if isinstance(name, str) else name
    raw_link = link.encode() if isinstance(link, str) else link
    header = bytearray(512)
    header[0:100] = raw_name[:100].ljust(100, b"\0")
    header[100:108] = b"%07o\0" % mode
    header[108:116] = fields.get("uid", b"0000000\0")
    header[116:124] = fields.get("gid", b"0000000\0")
    header[124:136] = size_field or b"%011o\0" % size
    header[136:148] = fields.get("mtime", b"00000000000\0")
    header[156:157] = kind
    header[157:257] = raw_link[:100].ljust(100, b"\0")
    header[257:265] = b"ustar\x0000"
    header[345:500] = prefix.ljust(155, b"\0")
    header[148:156] = b"        "
    header[148:156] = b"%06o\0 " % sum(header)
    return bytes(header)


def file(name: str | bytes, data: bytes = b"x", **more: object) -> bytes:
    return head(name, size=len(data), **more) + block(data)  # type: ignore[arg-type]


def folder(name: str) -> bytes:
    return head(name, tarfile.DIRTYPE, mode=0o755)


def symlink(name: str, target: str) -> bytes:
    return head(name, tarfile.SYMTYPE, link=target)


def hard(name: str, target: str) -> bytes:
    return head(name, tarfile.LNKTYPE, link=target)


def record(key: bytes, value: bytes) -> bytes:
    length = len(key) + len(value) + 3
    total = length + len(str(length))
    total = length + len(str(total))
    return b"%d %s=%s\n" % (total, key, value)


def pax(*records: tuple[bytes, bytes], kind: bytes = tarfile.XHDTYPE) -> bytes:
    body = b"".join(record(key, value) for key, value in records)
    return head("pax", kind, size=len(body)) + block(body)


def raw_pax(body: bytes) -> bytes:
    return head("pax", tarfile.XHDTYPE, size=len(body)) + block(body)


def gnu_long(kind: bytes, text: bytes) -> bytes:
    return head("././@LongLink", kind, size=len(text)) + block(text)


def broken(header: bytes, at: int = 3) -> bytes:
    return header[:at] + bytes([header[at] ^ 0x55]) + header[at + 1 :]


GOOD = file("good.txt", b"good")

REFUSED = [
    # Ways out by the name.
    Case("an absolute path", file("/etc/evil"), "an absolute path"),
    Case("an absolute path in an extended header", pax((b"path", b"/etc/evil")) + file("x"), "an absolute path"),
    Case("an absolute path in a GNU header", gnu_long(b"L", b"/etc/evil\0") + file("x"), "an absolute path"),
    Case("a parent path", file("../evil"), "climbs out"),
    Case("a parent path behind a dot", file("./../evil"), "climbs out"),
    Case("a parent path in the middle", file("a/../../evil"), "climbs out"),
    Case("a parent path that stays inside", file("a/../evil"), "climbs out"),
    Case("a parent path at the end", folder("a/.."), "climbs out"),
    Case("a parent as a folder", folder(".."), "climbs out"),
    Case("a parent path in an extended header", pax((b"path", b"../evil")) + file("x"), "climbs out"),
    Case("a parent path in a GNU header", gnu_long(b"L", b"../../evil\0") + file("x"), "climbs out"),
    Case("a parent path of a link", symlink("../evil", "x"), "climbs out"),
    Case("many slashes before a parent", file("a///..//../evil"), "climbs out"),
    Case("an absolute path in the prefix", file("evil", prefix=b"/etc"), "an absolute path"),
    Case("a parent path in the prefix", file("evil", prefix=b"a/../.."), "climbs out"),
    Case(
        "a parent path in the second of two headers",
        gnu_long(b"L", b"a\0") + pax((b"path", b"../x")) + file("x"),
        "climbs",
    ),
    Case("a folder outside", folder("../evil/"), "climbs out"),
    # Names that are none.
    Case("a NUL in the name", pax((b"path", b"a\0b")) + file("x"), "a NUL in the name"),
    Case("a NUL in a GNU name", gnu_long(b"L", b"a\0b\0") + file("x"), "a NUL in the name"),
    Case("a name of slashes", file("///"), "an absolute path"),
    Case("an empty name", file(""), "without a name"),
    Case("an empty name in an extended header", pax((b"path", b"")) + file("x"), "without a name"),
    Case("a part of a name too long", pax((b"path", b"n" * 300)) + file("x"), "too long"),
    Case("a path too long", pax((b"path", b"ab/" * 2000)) + file("x"), "too long"),
    Case("a path too deep", pax((b"path", b"a/" * 200 + b"x")) + file("x"), "folders deep"),
    Case("a file in the place of the root", file("."), "in the place of the folder itself"),
    Case("a link in the place of the root", symlink("./", "/etc"), "in the place of the folder itself"),
    # Ways out by links.
    Case("a link to an absolute path", symlink("evil", "/etc/passwd"), "outside of its folder"),
    Case("a link to the root", symlink("evil", "/"), "outside of its folder"),
    Case("a link to a parent", symlink("evil", "../evil"), "outside of its folder"),
    Case("a link that climbs too far", symlink("a/b/evil", "../../../x"), "outside of its folder"),
    Case("a link that climbs behind a folder", symlink("a/evil", "b/../../x"), "outside of its folder"),
    Case(
        "a link that climbs behind a link", symlink("d/up", "..") + symlink("e", "d/up/../x"), "outside of its folder"
    ),
    Case("a link without a target", symlink("evil", ""), "outside of its folder"),
    Case("a link with a NUL", pax((b"linkpath", b"a\0b")) + symlink("evil", "x"), "outside of its folder"),
    Case("a link in a GNU header", gnu_long(b"K", b"/etc/passwd\0") + symlink("evil", "x"), "outside of its folder"),
    Case(
        "a link in an extended header", pax((b"linkpath", b"../../etc")) + symlink("evil", "x"), "outside of its folder"
    ),
    Case("a file through a link", symlink("d", "e") + folder("e") + file("d/evil"), "is no folder"),
    Case("a folder through a link", folder("e") + symlink("d", "e") + folder("d/evil"), "is no folder"),
    Case("a folder in the place of a link", folder("e") + symlink("d", "e") + folder("d"), "is no folder"),
    Case("a link through a link", folder("e") + symlink("d", "e") + symlink("d/evil", "x"), "is no folder"),
    Case("a file through a file", file("d") + file("d/evil"), "is no folder"),
    Case("a file in the place of a folder", folder("d") + file("d"), "there is a folder"),
    Case("a link in the place of a folder", folder("d") + symlink("d", "x"), "there is a folder"),
    # Hard links.
    Case("a hard link to an absolute path", hard("evil", "/etc/passwd"), "an absolute path"),
    Case("a hard link to a parent", hard("evil", "../outside"), "climbs out"),
    Case("a hard link to a parent in a GNU header", gnu_long(b"K", b"../x\0") + hard("evil", "x"), "climbs out"),
    Case("a hard link to an absolute path of PAX", pax((b"linkpath", b"/x")) + hard("e", "x"), "absolute"),
    Case("a hard link to nothing", hard("evil", "nothing"), "which is not there"),
    Case("a hard link to a folder", folder("d") + hard("evil", "d"), "which is no file"),
    Case("a hard link to the root", hard("evil", "."), "a hard link to a folder"),
    Case("a hard link to itself", file("evil") + hard("evil", "evil"), "a hard link to itself"),
    Case(
        "a hard link to a link, which would lead elsewhere",
        symlink("a/b/l", "../../x") + hard("l", "a/b/l"),
        "which is no file",
    ),
    Case(
        "a hard link through a link", folder("e") + file("e/f") + symlink("d", "e") + hard("x", "d/f"), "is no folder"
    ),
    # Things that are no files.
    Case("a character device", head("evil", tarfile.CHRTYPE), "a device"),
    Case("a block device", head("evil", tarfile.BLKTYPE), "a device"),
    Case("a sparse file of GNU", head("evil", tarfile.GNUTYPE_SPARSE), "unknown kind"),
    Case("a sparse file of PAX", pax((b"GNU.sparse.major", b"1")) + file("x"), "a sparse file"),
    Case("an unknown kind", head("evil", b"Z"), "unknown kind"),
    Case("a volume label", head("evil", b"V"), "unknown kind"),
    # Too much of something.
    Case("an extended header of gigabytes", head("pax", tarfile.XHDTYPE, size=2**33 - 1), "beyond measure"),
    Case("a GNU name of gigabytes", head("l", b"L", size=2**33 - 1), "beyond measure"),
    Case("extended headers without end", pax((b"a", b"b")) * 20 + file("x"), "beyond measure"),
    Case("a header for all members", pax((b"path", b"evil"), kind=tarfile.XGLTYPE) + file("x"), "speaks for all"),
    Case("a size beyond everything", pax((b"size", b"%d" % 2**62)) + file("x"), "a size of"),
    Case("an owner beyond everything", pax((b"uid", b"%d" % 2**33)) + file("x"), "a uid of"),
    Case("a negative owner", file("x", uid=b"\xff" * 8), "a uid of"),
    Case("a time without end", pax((b"mtime", b"Infinity")) + file("x"), "a time of"),
    Case("a time that is none", pax((b"mtime", b"NaN")) + file("x"), "a time of"),
    Case("a time beyond everything", pax((b"mtime", b"1e300")) + file("x"), "a time of"),
]

DAMAGED = [
    Case("a broken first header", broken(GOOD), "header of the archive is broken", ArchiveDamaged),
    Case("a broken header in the middle", GOOD + broken(GOOD), "header of the archive is broken", ArchiveDamaged),
    Case("rubbish in the middle", GOOD + os.urandom(512), "header of the archive is broken", ArchiveDamaged),
    Case("a mode that is none", file("x", uid=b"9999999\0"), "header of the archive is broken", ArchiveDamaged),
    Case("a size that is none", head("x", size_field=b"12345678abcd"), "header of the archive", ArchiveDamaged),
    Case("a record whose length has no end", raw_pax(b"9" * 400) + file("x"), "extended header", ArchiveDamaged),
    Case("a negative size", head("x", size_field=b"\xff" * 12), "a size of", ArchiveDamaged),
    Case("an extended size that is none", pax((b"size", b"-5")) + file("x"), "a size of", ArchiveDamaged),
    Case("an extended owner that is none", pax((b"gid", b"root")) + file("x"), "a gid of", ArchiveDamaged),
    Case("an extended time that is none", pax((b"mtime", b"noon")) + file("x"), "a time of", ArchiveDamaged),
    Case("a record that tells no length", raw_pax(b"path=evil\n") + file("x"), "extended header", ArchiveDamaged),
    Case("a record longer than its header", raw_pax(b"99 path=evil\n") + file("x"), "extended header", ArchiveDamaged),
    Case("a record of length nothing", raw_pax(b"0 path=evil\n") + file("x"), "extended header", ArchiveDamaged),
    Case("a record without a value", raw_pax(b"8 path_\n") + file("x"), "extended header", ArchiveDamaged),
    Case("an extended header for nothing", pax((b"a", b"b")), "ends after an extended header", ArchiveDamaged),
]

CUT_OFF = [
    Case("no end mark", GOOD, "its end mark is missing", ArchiveDamaged),
    Case("cut off in a header", GOOD + GOOD[:100], "cut off", ArchiveDamaged),
    Case("cut off in a file", head("x", size=5000) + bytes(1000), "cut off in a file", ArchiveDamaged),
    Case("cut off in the padding", head("x", size=5) + b"abcde", "cut off in a file", ArchiveDamaged),
    Case("cut off in an extended header", pax((b"a", b"b"))[:600], "cut off in an extended header", ArchiveDamaged),
]

STREAMS = [
    *[attrs.evolve(case, stream=case.stream + END) for case in (*REFUSED, *DAMAGED)],
    *CUT_OFF,
]


@attrs.frozen
class OuterCase:
    """An outer archive, and how opening it or its inner archive `share.tar.gz` is refused with the good password."""

    what: str
    make: Callable[[Path], bytes]
    says: str
    error: type[Exception] = ArchiveDamaged


def whole(path: Path, encryption: Encryption | None, *, size: int = 300_000) -> bytes:
    """Let our writer make a good archive of random data."""
    path.unlink(missing_ok=True)
    password = PASSWORD if encryption is not None else None
    with ArchiveWriter(path, compressed=True, password=password, encryption=encryption or Encryption.AES) as writer:
        writer.add("share.tar.gz", [Text("a", os.urandom(size))], Work())
        writer.finish(b"{}")
    return path.read_bytes()


AES, STREAM = Encryption.AES, Encryption.SECRETSTREAM
# The inner archive begins behind an extended header (512 + 512) and its own.
AT = 1536


def patched(encryption: Encryption | None, at: int, change: bytes) -> Callable[[Path], bytes]:
    def make(path: Path) -> bytes:
        content = whole(path, encryption)
        return content[:at] + change + content[at + len(change) :]

    return make


def flipped(encryption: Encryption | None, at: int) -> Callable[[Path], bytes]:
    def make(path: Path) -> bytes:
        content = bytearray(whole(path, encryption))
        content[at] ^= 0x10
        return bytes(content)

    return make


def shortened(encryption: Encryption | None, by: int) -> Callable[[Path], bytes]:
    """Cut the end off the inner archive, and let the outer one tell the smaller size."""

    def make(path: Path) -> bytes:
        content = whole(path, encryption)
        with tarfile.open(fileobj=io.BytesIO(content)) as tar:
            part = tar.extractfile("share.tar.gz").read()  # type: ignore[union-attr]
        return tar_of({"share.tar.gz": part[:-by], "./backup.json": b"{}"})

    return make


def altered(at: Callable[[bytes], int], *, padding: int) -> Callable[[Path], bytes]:
    """Flip a bit of an inner archive with AES that is padded by at least `padding` bytes."""

    def make(path: Path) -> bytes:
        size = 300_000
        while True:
            with tarfile.open(fileobj=io.BytesIO(whole(path, AES, size=size))) as tar:
                part = bytearray(tar.extractfile("share.tar.gz").read())  # type: ignore[union-attr]
            if 16 - struct.unpack(">Q", part[16:24])[0] % 16 >= padding:
                break
            size += 512
        part[at(part)] ^= 0x10
        return tar_of({"share.tar.gz": bytes(part), "./backup.json": b"{}"})

    return make


def packed(content: bytes) -> Callable[[Path], bytes]:
    return lambda _: tar_of({"share.tar.gz": content, "./backup.json": b"{}"})


GZIPPED = gzip.compress(GOOD + END)
OUTERS = [
    OuterCase("no archive", lambda _: b"hello", "is no backup archive"),
    OuterCase("an empty file", lambda _: b"", "is no backup archive"),
    OuterCase("a compressed outer archive", lambda path: gzip.compress(whole(path, None)), "is no backup archive"),
    OuterCase("an outer archive cut off", lambda path: whole(path, None)[:100_000], "cut off"),
    OuterCase("an outer parent path", lambda _: tar_of({"../share.tar.gz": b"x"}), "climbs out", ArchiveRefused),
    OuterCase("an outer absolute path", lambda _: file("/share.tar.gz") + END, "an absolute path", ArchiveRefused),
    OuterCase("an outer link", lambda _: symlink("share.tar.gz", "/etc/passwd") + END, "symbolic link", ArchiveRefused),
    OuterCase("an outer device", lambda _: head("x", tarfile.CHRTYPE) + END, "device", ArchiveRefused),
    OuterCase("an outer hard link", lambda _: hard("share.tar.gz", "x") + END, "hard link", ArchiveRefused),
    OuterCase("an outer pipe", lambda _: head("x", tarfile.FIFOTYPE) + END, "named pipe", ArchiveRefused),
    OuterCase("an outer sparse file", lambda _: head("x", b"S", size=5) + END, "unknown kind", ArchiveRefused),
    OuterCase("an outer size beyond the file", lambda _: head("share.tar.gz", size=2**33 - 1) + END, "cut off"),
    OuterCase("an outer negative size", lambda _: head("x", size_field=b"\xff" * 12) + END, "is no backup archive"),
    OuterCase("an outer header of gigabytes", lambda _: head("p", b"x", size=2**32) + END, "beyond", ArchiveRefused),
    OuterCase("a member twice", lambda _: file("share.tar.gz") + file("./share.tar.gz") + END, "twice", ArchiveRefused),
    OuterCase(
        "too many members", lambda _: b"".join(map(file, map(str, range(10_001)))) + END, "more than", ArchiveRefused
    ),
    OuterCase("an unknown version", patched(STREAM, AT + 9, b"\x07"), "unknown version"),
    OuterCase("reserved bytes in use", patched(STREAM, AT + 12, b"\x01"), "unknown version"),
    OuterCase("a secret stream of another size", patched(STREAM, AT + 16, struct.pack(">Q", 5)), "the size that its"),
    OuterCase("an encrypted file of another size", patched(AES, AT + 16, struct.pack(">Q", 5)), "the size that its"),
    OuterCase("a bit flipped in a secret stream", flipped(STREAM, AT + 5000), "altered"),
    OuterCase("a bit flipped in the nonce", flipped(STREAM, AT + 120), "altered"),
    OuterCase("a bit flipped in the check of the password", flipped(STREAM, AT + 70), "password", WrongPassword),
    OuterCase("a bit flipped in AES", flipped(AES, AT + 200_000), "checksum"),
    OuterCase("a bit flipped in the padding of AES", altered(lambda part: -1, padding=3), "end of the encrypted"),
    OuterCase("a bit flipped in the first block of AES", altered(lambda part: 50, padding=3), "beginning of the enc"),
    OuterCase("a bit flipped in plain gzip", flipped(None, AT + 200_000), "checksum"),
    OuterCase("a secret stream cut off", shortened(STREAM, 20), "the size that its"),
    OuterCase("AES cut off", shortened(AES, 32), "the size that its"),
    OuterCase("AES cut off in a block", shortened(AES, 5), "cut off"),
    OuterCase("gzip cut off", shortened(None, 5), "cut off"),
    OuterCase("gzip cut off early", shortened(None, 200_000), "cut off"),
    OuterCase("a header cut off", packed(b"SecureTar\x03" + bytes(20)), "cut off in its header"),
    OuterCase("a few bytes", packed(b"abc"), "cut off in its header"),
    OuterCase("gzip with another checksum", packed(GZIPPED[:-8] + bytes(4) + GZIPPED[-4:]), "checksum"),
    OuterCase("gzip with another size", packed(GZIPPED[:-4] + bytes(4)), "checksum"),
    OuterCase("rubbish behind gzip", packed(GZIPPED + b"rubbish rubbish"), "not compressed as it should be"),
    OuterCase("gzip with a name without end", packed(b"\x1f\x8b\x08\x08" + bytes(6) + b"n" * 300_000), "broken"),
    OuterCase("gzip of nothing", packed(b"\x1f\x8b\x08\0" + bytes(6)), "cut off"),
    OuterCase("gzip of rubbish", packed(b"\x1f\x8b\x08\0" + bytes(6) + b"\xff" * 500), "damaged"),
]
