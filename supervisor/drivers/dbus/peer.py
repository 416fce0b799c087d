"""A service on the bus as we see it: who owns its name now, and who of ours follows it."""

from __future__ import annotations

from typing import Protocol

import attrs

from supervisor.drivers.dbus.declaration import Service


class Follower(Protocol):
    def appeared(self) -> None:
        """The service can be asked from now on; what was known of it may be old."""

    def vanished(self) -> None:
        """The service is away."""


@attrs.define(eq=False)
class Peer:
    """`owner` is the connection that has the name now; `startable` tells whether the bus could start the service."""

    service: Service
    owner: str | None = None
    startable: bool = False
    followers: list[Follower] = attrs.field(factory=list)

    @property
    def present(self) -> bool:
        """Whether it can be asked: it is there, or the bus starts it for the asking."""
        return self.owner is not None or (self.startable and self.service.on_demand)

    def met(self, owner: str | None, *, startable: bool) -> None:
        """The bus is there, and tells about the service for the first time."""
        self.owner, self.startable = owner, startable
        if self.present:
            self._appeared()

    def owned_by(self, owner: str | None) -> None:
        if owner == self.owner:
            return
        self.owner = owner
        if owner is not None:
            self._appeared()
        elif not (self.service.idles and self.startable):
            self._vanished()

    def may_start(self, *, startable: bool) -> None:
        """The list of services that the bus can start was read again."""
        was, self.startable = self.present, startable
        if self.present and not was:
            self._appeared()
        elif was and not self.present:
            self._vanished()

    def lose(self) -> None:
        """The bus is away, and with it all that is known."""
        self.owner, self.startable = None, False
        self._vanished()

    def _appeared(self) -> None:
        for follower in tuple(self.followers):
            follower.appeared()

    def _vanished(self) -> None:
        for follower in tuple(self.followers):
            follower.vanished()
