"""One file or folder of an inner archive: found, listed, and read as a stream. Nothing in it is trusted."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator
from contextlib import closing
from typing import Final

import attrs

from supervisor.drivers.archive.names import parts_of, refused, shown
from supervisor.drivers.archive.rules import Rules
from supervisor.drivers.archive.tar import Kind, Member, end_mark, header, padded
from supervisor.drivers.archive.walk import Look, Path, PlainStream, Walked
from supervisor.errors import ArchiveDamaged, ArchiveRefused, Invalid, NotFound

MAX_ENTRIES: Final = 50_000
MAX_LINKS: Final = 100_000
# Of the paths that hard links lead to, in all: they are held until the files are met.
MAX_TARGETS: Final = 16 * 1024 * 1024
# A link to a link to a link: nobody who packs honestly makes even one of these.
_MAX_ROUNDS: Final = 4
_PIECE: Final = 256 * 1024


@attrs.frozen
class Selected:
    """A member with the stream standing at its content; `parts` is its new path, beginning with the chosen name."""

    member: Member
    parts: Path
    stream: PlainStream


@attrs.define
class _Away:
    """Hard links to files that were not chosen: by those files' paths, the links and their new paths."""

    links: dict[Path, list[tuple[Member, Path]]] = attrs.field(factory=dict)
    count: int = 0
    size: int = 0

    def add(self, target: Path, links: list[tuple[Member, Path]]) -> None:
        self.count += len(links)
        self.size += sum(len(member.name) + len(member.link) for member, _ in links)
        if self.count > MAX_LINKS or self.size > MAX_TARGETS:
            raise ArchiveRefused("There are more hard links to files elsewhere in it than can be followed")
        self.links.setdefault(target, []).extend(links)

    @property
    def first(self) -> str:
        return "/".join(next(iter(self.links)))


def selected(look: Look, path: Path, name: str) -> Generator[Selected, None, None]:
    """Yield what lies at `path` and below it as `name`; the content of each file has to be taken, with its padding.

    A hard link to a file elsewhere in the archive comes last, as that file: the archive is read once more for these.

    Raises:
        NotFound: there is nothing at the path.
        WrongPassword, ArchiveDamaged, ArchiveRefused, Stopped: as `unpack`.
    """
    found = False
    away = _Away()
    with closing(look.contents(lambda parts: parts[: len(path)] == path)) as members:
        for member, parts, stream, wanted in members:
            if not wanted or parts[: len(path)] != path:
                stream.skip(padded(member.size))
                continue
            found = True
            own = (name, *parts[len(path) :])
            if member.kind is not Kind.HARDLINK:
                yield Selected(member, own, stream)
            elif (target := parts_of(member.link))[: len(path)] == path:
                yield Selected(attrs.evolve(member, link="/".join((name, *target[len(path) :]))), own, stream)
            else:
                away.add(target, [(member, own)])
    if not found:
        raise NotFound(f"There is no {shown('/'.join(path))} in it")
    for _ in range(_MAX_ROUNDS):
        if not away.links:
            return
        further = _Away()
        with closing(look.contents(frozenset(away.links).__contains__)) as members:
            yield from _linked(members, away, further)
        away = further
    if away.links:
        raise refused(away.first, "a chain of hard links")


def _linked(members: Iterable[Walked], away: _Away, further: _Away) -> Iterator[Selected]:
    """Yield the files that hard links lead to, under the links' names; what leads on goes into `further`."""
    for member, parts, stream, wanted in members:
        links = away.links.pop(parts, None) if wanted else None
        if links is None:
            stream.skip(padded(member.size))
            continue
        if member.kind is Kind.HARDLINK:
            further.add(parts_of(member.link), links)
        elif member.kind is Kind.FILE:
            (link, first), *others = links
            yield Selected(
                attrs.evolve(link, kind=Kind.FILE, size=member.size, link="", attributes=member.attributes),
                first,
                stream,
            )
            for link, own in others:
                yield Selected(attrs.evolve(link, link="/".join(first)), own, stream)
        else:
            raise refused("/".join(parts), "a hard link to it, and it is no file")
        if not away.links:
            # The first time all of it was read and checked.
            return
    raise refused(away.first, "a hard link to it, which is not there")


def listed(look: Look, path: Path) -> dict[str, Member] | Member:
    """Return what lies directly in the folder at `path`, by name; or what else is at the path, itself.

    A folder that only the paths of others tell of has the looks that unpacking would give it. A hard link to a file has
    that file's size.

    Raises:
        NotFound: there is nothing at the path.
        ArchiveRefused: there is more in it than anybody could read.
        WrongPassword, ArchiveDamaged, ArchiveRefused, Stopped: as `unpack`.
    """
    itself: Member | None = None
    found: dict[str, Member] = {}
    targets = 0
    for member, parts, wanted in look.members(lambda parts: parts[: len(path)] == path):
        if not wanted or parts[: len(path)] != path:
            continue
        if len(parts) == len(path):
            itself = member
            continue
        name = parts[len(path)]
        if len(parts) == len(path) + 1:
            # Fifty thousand of them are held: with nothing that nobody asks for.
            link = member.link if member.kind is Kind.HARDLINK else ""
            found[name] = attrs.evolve(member, name=name, link=link, attributes=())
            targets += len(link)
        else:
            found.setdefault(name, Member(name, Kind.FOLDER, mode=0o755))
        if len(found) > MAX_ENTRIES or targets > MAX_TARGETS:
            much = f"holds more than {MAX_ENTRIES} entries; get it as a whole"
            raise ArchiveRefused(f"{shown('/'.join(path))} {much}", unnamed=f"A folder in it {much}")
    if itself is None and not found and path:
        raise NotFound(f"There is no {shown('/'.join(path))} in it")
    if itself is not None and itself.kind is not Kind.FOLDER and not found:
        return _sized(look, {"": itself})[""]
    return _sized(look, found)


def _sized(look: Look, found: dict[str, Member]) -> dict[str, Member]:
    """Give hard links the sizes of their files, which takes another look at the archive."""
    targets = {parts_of(member.link) for member in found.values() if member.kind is Kind.HARDLINK}
    if not targets:
        return found
    sizes: dict[Path, int] = {}
    for member, parts, _ in look.members(targets.__contains__):
        if parts in targets:
            sizes[parts] = member.size
    return {
        name: attrs.evolve(member, size=sizes.get(parts_of(member.link), 0)) if member.kind is Kind.HARDLINK else member
        for name, member in found.items()
    }


def content(look: Look, path: Path, name: str, rules: Rules) -> Generator[bytes, None, None]:
    """Yield the bytes of the file at `path`, or of a tar archive of the folder there, which holds it as `name`.

    What was yielded before an error is to be thrown away: only at the end of the archive it is known to be whole.

    Raises:
        NotFound: there is nothing at the path.
        Invalid: a link is there.
        WrongPassword, ArchiveDamaged, ArchiveRefused, Stopped: as `unpack`.
    """
    with closing(selected(look, path, name)) as chosen:
        yield from _gathered(_content(chosen, path, rules))


def _content(chosen: Iterable[Selected], path: Path, rules: Rules) -> Iterator[bytes | memoryview]:
    packing: bool | None = None
    written = 0
    for one in chosen:
        member = one.member
        is_root = len(one.parts) == 1
        if packing is False or (packing and is_root and member.kind is not Kind.FOLDER):
            twice = "is in the archive twice"
            raise ArchiveRefused(f"{shown('/'.join(path))} {twice}", unnamed=f"Something {twice}")
        if is_root and member.kind is not Kind.FOLDER:
            if member.kind is not Kind.FILE:
                raise Invalid(f"{shown('/'.join(path))} is a link to {shown(member.link)}")
            packing = False
            yield from _file(one)
            continue
        packing = True
        head = header(attrs.evolve(member, name="/".join(one.parts), mode=rules.mode(member)))
        yield head
        written += len(head) + padded(member.size)
        if member.kind is Kind.FILE:
            yield from _file(one)
            yield bytes(padded(member.size) - member.size)
    if packing:
        yield end_mark(written)


def _file(one: Selected) -> Iterator[memoryview]:
    missing = one.member.size
    for piece in one.stream.parts(missing):
        missing -= len(piece)
        yield piece
    if missing:
        raise ArchiveDamaged("The archive is cut off in a file")
    one.stream.skip(padded(one.member.size) - one.member.size)


def _gathered(pieces: Iterable[bytes | memoryview]) -> Iterator[bytes]:
    """Make few pieces of many: headers and small files are not worth a way through threads each."""
    pending = bytearray()
    for piece in pieces:
        pending += piece
        if len(pending) >= _PIECE:
            yield bytes(pending)
            pending.clear()
    if pending:
        yield bytes(pending)
