"""The tar format: members read from a stream that can't be trusted, and headers to write.

The standard library decodes and encodes single headers. What lies between them is ours: it takes a damaged header in
the middle for the end of the archive, and reads an extended header of any size into memory.
"""

from __future__ import annotations

import tarfile
from collections.abc import Callable, Iterator
from decimal import Decimal, InvalidOperation
from enum import Enum
from typing import Final, Protocol

import attrs

from supervisor.drivers.archive.names import MAX_NAME, damaged, refused, shown
from supervisor.errors import ArchiveDamaged, ArchiveRefused

BLOCK: Final = tarfile.BLOCKSIZE
RECORD: Final = tarfile.RECORDSIZE
NANOSECOND: Final = 1_000_000_000
MAX_EXTENSION: Final = 1024 * 1024
MAX_EXTENSIONS: Final = 8
MAX_SIZE: Final = 2**60
MAX_ID: Final = 2**32 - 2
MAX_SECONDS: Final = 2**34
MAX_ATTRIBUTES: Final = 256 * 1024
_ZEROS: Final = bytes(BLOCK)


class Kind(Enum):
    FILE = "file"
    FOLDER = "folder"
    SYMLINK = "symbolic link"
    HARDLINK = "hard link"
    FIFO = "named pipe"
    DEVICE = "device"


_KINDS: Final[dict[bytes, Kind]] = {
    tarfile.REGTYPE: Kind.FILE,
    tarfile.AREGTYPE: Kind.FILE,
    tarfile.CONTTYPE: Kind.FILE,
    tarfile.DIRTYPE: Kind.FOLDER,
    tarfile.SYMTYPE: Kind.SYMLINK,
    tarfile.LNKTYPE: Kind.HARDLINK,
    tarfile.FIFOTYPE: Kind.FIFO,
    tarfile.CHRTYPE: Kind.DEVICE,
    tarfile.BLKTYPE: Kind.DEVICE,
}


@attrs.frozen
class Member:
    """One member as its headers tell it. `mtime` is in nanoseconds; `size` counts only for files.

    `attributes` are the extended ones of users (`user.…`). Those of the system give privileges, and are not saved.
    """

    name: str
    kind: Kind
    size: int = 0
    mode: int = 0o644
    uid: int = 0
    gid: int = 0
    mtime: int = 0
    link: str = ""
    attributes: tuple[tuple[str, bytes], ...] = ()


class Source(Protocol):
    """Where members come from, front to back."""

    def take(self, size: int) -> bytes:
        """Return exactly `size` bytes, or fewer at the end."""
        ...

    def skip(self, size: int) -> None:
        """Pass over `size` bytes."""
        ...


def padded(size: int) -> int:
    """Return `size` rounded up to whole blocks."""
    return -(-size // BLOCK) * BLOCK


@attrs.define
class _Extension:
    """What the headers before a member's own say about it."""

    records: dict[str, str] = attrs.field(factory=dict)
    count: int = 0


def members(source: Source) -> Iterator[Member]:
    """Yield the members; the caller takes or skips a file's content, padded, before it asks for the next.

    Raises:
        ArchiveDamaged: a header is broken, or the archive ends within a member or without its end mark.
        ArchiveRefused: something that no backup holds: sparse files, huge headers, unknown kinds.
    """
    extension = _Extension()
    while True:
        block = source.take(BLOCK)
        if block == _ZEROS:
            if extension.count:
                raise ArchiveDamaged("The archive ends after an extended header")
            return
        if len(block) < BLOCK:
            raise ArchiveDamaged("The archive is cut off: its end mark is missing")
        info = _decoded(block)
        if info.type in _EXTENSIONS:
            _extend(extension, info, source)
            continue
        member = _member(info, extension.records)
        extension = _Extension()
        yield member


def begins(block: bytes) -> bool:
    """Tell whether this is how a tar archive begins: with a header, or with its end mark."""
    if block == _ZEROS:
        return True
    try:
        _decoded(block)
    except ArchiveDamaged:
        return False
    return True


def _decoded(block: bytes) -> tarfile.TarInfo:
    try:
        info = tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
    except (tarfile.TarError, ValueError, OverflowError) as err:
        raise ArchiveDamaged(f"A header of the archive is broken ({err})") from None
    if not 0 <= info.size <= MAX_SIZE:
        raise damaged(info.name, f"a size of {info.size}")
    return info


_PAX: Final = (tarfile.XHDTYPE, tarfile.SOLARIS_XHDTYPE)
_EXTENSIONS: Final = (
    *_PAX,
    tarfile.XGLTYPE,
    tarfile.GNUTYPE_LONGNAME,
    tarfile.GNUTYPE_LONGLINK,
)


def _extend(extension: _Extension, info: tarfile.TarInfo, source: Source) -> None:
    """Read one header that speaks about the next member."""
    extension.count += 1
    if info.size > MAX_EXTENSION or extension.count > MAX_EXTENSIONS:
        raise ArchiveRefused("The archive has extended headers beyond measure")
    content = source.take(padded(info.size))
    if len(content) < padded(info.size):
        raise ArchiveDamaged("The archive is cut off in an extended header")
    content = content[: info.size]
    if info.type == tarfile.GNUTYPE_LONGNAME:
        extension.records["path"] = _long_name(content)
    elif info.type == tarfile.GNUTYPE_LONGLINK:
        extension.records["linkpath"] = _long_name(content)
    else:
        records = _pax_records(content)
        if info.type == tarfile.XGLTYPE:
            if records.keys() & {"path", "linkpath", "size", "uid", "gid", "mtime"}:
                raise ArchiveRefused("The archive has a header that speaks for all members")
            return
        if any(key.startswith("GNU.sparse") for key in records):
            raise ArchiveRefused("The archive holds a sparse file, which no backup does")
        extension.records.update(records)


def _long_name(content: bytes) -> str:
    return content.rstrip(b"\0").decode("utf-8", "surrogateescape")


def _pax_records(content: bytes) -> dict[str, str]:
    """Read records of the form `length key=value newline`, the length counting itself."""
    records: dict[str, str] = {}
    at = 0
    while at < len(content):
        space = content.find(b" ", at, at + 9)
        digits = content[at:space] if space > at else b""
        end = at + int(digits) if digits.isdigit() else 0
        if not space + 1 < end <= len(content) or content[end - 1 : end] != b"\n":
            raise ArchiveDamaged("An extended header of the archive is broken")
        key, separator, value = content[space + 1 : end - 1].partition(b"=")
        if not separator or not key:
            raise ArchiveDamaged("An extended header of the archive is broken")
        records[key.decode("utf-8", "surrogateescape")] = value.decode("utf-8", "surrogateescape")
        at = end
    return records


def _member(info: tarfile.TarInfo, records: dict[str, str]) -> Member:
    name = records.get("path", info.name)
    kind = _KINDS.get(info.type)
    if kind is None:
        raise refused(name, f"of an unknown kind ({info.type!r})")
    if kind is Kind.FILE and name.endswith("/"):
        kind = Kind.FOLDER
    size = _number(name, records, "size", info.size, MAX_SIZE) if kind is Kind.FILE else 0
    mtime = _nanoseconds(name, records["mtime"]) if "mtime" in records else _seconds(info.mtime)
    link = records.get("linkpath", info.linkname) if kind in (Kind.SYMLINK, Kind.HARDLINK) else ""
    if len(link.encode("utf-8", "surrogateescape")) > MAX_NAME:
        raise refused(name, f"a link to {shown(link)}, which is too long", unnamed="a link that is too long")
    return Member(
        name=name,
        kind=kind,
        size=size,
        mode=info.mode & 0o7777,
        uid=_number(name, records, "uid", info.uid, MAX_ID),
        gid=_number(name, records, "gid", info.gid, MAX_ID),
        mtime=mtime,
        link=link,
        attributes=_attributes(name, records) if kind in (Kind.FILE, Kind.FOLDER) else (),
    )


# As star, GNU tar and bsdtar write them, an equals sign in a name in disguise; some have more spellings.
_ATTRIBUTE: Final = "SCHILY.xattr."
_OTHER_ATTRIBUTES: Final = (_ATTRIBUTE, "LIBARCHIVE.xattr.", "RHT.security.")
OF_USERS: Final = "user."


def _attributes(name: str, records: dict[str, str]) -> tuple[tuple[str, bytes], ...]:
    own = f"{_ATTRIBUTE}{OF_USERS}"
    found = tuple(
        (key.removeprefix(_ATTRIBUTE).replace("%3D", "=").replace("%25", "%"), value.encode("utf-8", "surrogateescape"))
        for key, value in records.items()
        if key.startswith(own) and key != own and key.isprintable()
    )
    if sum(len(key) + len(value) for key, value in found) > MAX_EXTENSION:
        raise refused(name, "attributes beyond measure")
    return found


def _number(name: str, records: dict[str, str], key: str, value: int, limit: int) -> int:
    text = records.get(key)
    if text is not None:
        if not text.isascii() or not text.isdigit() or len(text) > 20:
            raise damaged(name, f"a {key} of {shown(text)}", unnamed=f"a {key} that is none")
        value = int(text)
    if not 0 <= value <= limit:
        raise refused(name, f"a {key} of {value}")
    return value


def _nanoseconds(name: str, text: str) -> int:
    try:
        seconds = Decimal(text)
    except InvalidOperation:
        raise damaged(name, f"a time of {shown(text)}", unnamed="a time that is none") from None
    if not seconds.is_finite() or abs(seconds) > MAX_SECONDS:
        raise refused(name, f"a time of {shown(text)}", unnamed="a time beyond measure")
    return int(seconds * NANOSECOND)


def _seconds(value: float) -> int:
    return int(min(max(value, -MAX_SECONDS), MAX_SECONDS)) * NANOSECOND


class _Memory:
    """Headers at hand, as a source."""

    def __init__(self, content: bytes) -> None:
        self._content = content

    def take(self, size: int) -> bytes:
        taken, self._content = self._content[:size], self._content[size:]
        return taken

    def skip(self, size: int) -> None:
        self.take(size)


def extension_size(block: bytes) -> int | None:
    """Return how many bytes follow a header that only speaks about the next one; None for a member's own header.

    Raises:
        ArchiveDamaged, ArchiveRefused: this is no header, or one beyond measure.
    """
    info = _decoded(block)
    if info.type not in _EXTENSIONS:
        return None
    if info.size > MAX_EXTENSION:
        raise ArchiveRefused("The archive has extended headers beyond measure")
    return info.size


def rename_header(headers: bytes, name: Callable[[str], str], mode: Callable[[Member], int]) -> tuple[bytes, Member]:
    """Give a member another name and other permissions: return its new headers, with all else that the old ones say.

    Raises:
        ArchiveDamaged, ArchiveRefused: as `members`.
    """
    source, extension = _Memory(headers), _Extension()
    while (info := _decoded(source.take(BLOCK))).type in _EXTENSIONS:
        _extend(extension, info, source)
    records = extension.records
    member = _member(info, records)
    info.name = name(records.pop("path", info.name))
    info.linkname = records.pop("linkpath", info.linkname)
    if info.type == tarfile.LNKTYPE:
        info.linkname = name(info.linkname)
    member = attrs.evolve(member, name=info.name, link=info.linkname)
    info.mode = mode(member)
    info.pax_headers = {k: v for k, v in records.items() if not k.startswith(_OTHER_ATTRIBUTES)} | _written(member)
    return info.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape"), member


_TYPES: Final[dict[Kind, bytes]] = {
    Kind.FILE: tarfile.REGTYPE,
    Kind.FOLDER: tarfile.DIRTYPE,
    Kind.SYMLINK: tarfile.SYMTYPE,
    Kind.HARDLINK: tarfile.LNKTYPE,
}


def header(member: Member) -> bytes:
    """Return the header blocks of a member; what does not fit the classic header goes into an extended one."""
    info = tarfile.TarInfo(member.name)
    info.type = _TYPES[member.kind]
    info.size = member.size
    info.mode = member.mode
    info.uid = member.uid
    info.gid = member.gid
    info.linkname = member.link
    seconds, fraction = divmod(member.mtime, NANOSECOND)
    info.mtime = seconds
    info.pax_headers = _written(member)
    if fraction:
        info.pax_headers["mtime"] = f"{Decimal(member.mtime) / NANOSECOND:f}"
    return info.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")


def _written(member: Member) -> dict[str, str]:
    """Return the records of a member's attributes."""
    return {
        _ATTRIBUTE + key.replace("%", "%25").replace("=", "%3D"): value.decode("utf-8", "surrogateescape")
        for key, value in member.attributes
    }


def end_mark(written: int) -> bytes:
    """Return what ends an archive of `written` bytes: two empty blocks, filled up to a whole record."""
    size = written + 2 * BLOCK
    return bytes(2 * BLOCK + -size % RECORD)
