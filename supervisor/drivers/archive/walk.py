"""An inner archive, gone through from front to back under the rules."""

from __future__ import annotations

from collections.abc import Generator, Iterator

from supervisor.drivers.archive.keys import Keyring
from supervisor.drivers.archive.names import parts_of
from supervisor.drivers.archive.reader import Inner, plain_stream
from supervisor.drivers.archive.rules import Budget, Rules
from supervisor.drivers.archive.tar import Member, members
from supervisor.drivers.archive.work import Work
from supervisor.errors import ArchiveDamaged


class PlainStream:
    """The tar stream of an inner archive as the tar reader wants it, counting against the budget."""

    def __init__(self, pieces: Iterator[bytes], budget: Budget, work: Work) -> None:
        self._pieces = pieces
        self._budget = budget
        self._work = work
        self._piece = memoryview(b"")

    def _more(self) -> bool:
        for piece in self._pieces:
            self._budget.spend(len(piece))
            self._work.check()
            self._piece = memoryview(piece)
            return True
        return False

    def parts(self, size: int) -> Iterator[memoryview]:
        """Yield the next `size` bytes in parts; fewer when the stream ends."""
        while size:
            if not self._piece and not self._more():
                return
            part = self._piece[:size]
            self._piece = self._piece[size:]
            size -= len(part)
            yield part

    def take(self, size: int) -> bytes:
        return b"".join(self.parts(size))

    def skip(self, size: int) -> None:
        if size != sum(len(part) for part in self.parts(size)):
            raise ArchiveDamaged("The archive is cut off in a file")

    def drain(self) -> None:
        """Read what is left, for what is checked last stands at the end."""
        self._piece = memoryview(b"")
        while self._more():
            self._piece = memoryview(b"")


def walk(
    part: Inner, keyring: Keyring | None, rules: Rules, work: Work
) -> Generator[tuple[Member, tuple[str, ...], PlainStream, bool], None, None]:
    """Yield each member of an inner archive with the stream standing at its content, and whether the rules want it."""
    budget = Budget(rules.limits)
    with plain_stream(part, keyring, work) as pieces:
        stream = PlainStream(pieces, budget, work)
        for member in members(stream):
            parts = parts_of(member.name)
            budget.member(member)
            yield member, parts, stream, rules.allows(member, parts)
        stream.drain()
