"""What a strange archive may do where it is unpacked."""

from __future__ import annotations

from enum import Enum

import attrs

from supervisor.drivers.archive.names import refused, shown, stays_inside
from supervisor.drivers.archive.tar import Kind, Member
from supervisor.errors import ArchiveRefused


class ForeignLinks(Enum):
    """What becomes of symbolic links that lead, or may lead, out of the folder. None is ever followed."""

    REFUSE = "refuse"
    LEAVE_OUT = "leave out"
    KEEP = "keep"


@attrs.frozen
class Limits:
    """How much one inner archive may unpack to.

    How well it is compressed says nothing: disk images of virtual machines are a thousand zeros for each byte stored.
    """

    members: int = 5_000_000
    size: int = 2**50


@attrs.frozen
class Rules:
    """Without more said: nothing that leads outside, no set-id bits on files, and the limits."""

    links: ForeignLinks = ForeignLinks.REFUSE
    set_id: bool = False
    limits: Limits = attrs.field(factory=Limits)

    def allows(self, member: Member, parts: tuple[str, ...]) -> bool:
        """Tell whether the member is unpacked; False leaves it out.

        Raises:
            ArchiveRefused: the whole archive is not to be trusted.
        """
        if member.kind is Kind.DEVICE:
            raise refused(member.name, "a device")
        if member.kind is Kind.FIFO:
            # Programs make their pipes themselves, and honest archives hold some.
            return False
        if not parts and member.kind is not Kind.FOLDER:
            raise refused(member.name, f"a {member.kind.value} in the place of the folder itself")
        if member.kind is Kind.SYMLINK and not stays_inside(parts, member.link):
            if self.links is ForeignLinks.REFUSE or not member.link or "\0" in member.link:
                outside = "outside of its folder"
                raise refused(member.name, f"a link to {shown(member.link)}, {outside}", unnamed=f"a link to {outside}")
            return self.links is ForeignLinks.KEEP
        return True

    def mode(self, member: Member) -> int:
        """Return the permissions to set. That folders hand on their group is no privilege."""
        if self.set_id:
            return member.mode
        return member.mode & (0o3777 if member.kind is Kind.FOLDER else 0o777)


class Budget:
    """Watches the limits while an archive is read."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._size = 0
        self._members = 0

    def member(self, member: Member) -> None:
        self._members += 1
        if self._members > self._limits.members:
            raise ArchiveRefused(f"The archive holds more than {self._limits.members} members")
        if member.size > self._limits.size - self._size:
            raise refused(member.name, f"the archive unpacks to more than {self._limits.size} bytes")

    def spend(self, size: int) -> None:
        self._size += size
        if self._size > self._limits.size:
            raise ArchiveRefused(f"The archive unpacks to more than {self._limits.size} bytes")
