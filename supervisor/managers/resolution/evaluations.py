"""Judging whether this system is one that the daemon is made for (host contract §5)."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Container, Iterable
from typing import ClassVar, Final

from supervisor.errors import SupervisorError
from supervisor.events import CoreState

from .data import UnhealthyReason, UnsupportedReason
from .manager import Resolution

_LOGGER = logging.getLogger(__name__)

# Containers can't be looked after from within such a confinement.
_CONFINED: Final = frozenset({UnsupportedReason.LXC, UnsupportedReason.PRIVILEGED})


class Evaluation(ABC):
    """One reason for which a system may be unsupported, judged in the given states of the daemon."""

    reason: ClassVar[UnsupportedReason]
    states: ClassVar[frozenset[CoreState]]

    @abstractmethod
    async def unsupported(self) -> bool | None:
        """Tell whether the reason holds; None when nobody can tell, and it stays as it was."""


class Evaluations:
    """Every evaluation this daemon has. One that fails is logged and keeps no other from judging."""

    def __init__(self, resolution: Resolution, state: Callable[[], CoreState]) -> None:
        self._resolution = resolution
        self._state = state
        self._evaluations: list[Evaluation] = []

    def add(self, evaluations: Iterable[Evaluation]) -> None:
        self._evaluations += evaluations

    async def run(self, only: Container[UnsupportedReason] | None = None) -> None:
        """Judge everything that can be judged in the present state, or of that only these reasons."""
        for evaluation in self._evaluations:
            if self._state() in evaluation.states and (only is None or evaluation.reason in only):
                await self._judge(evaluation)
        if not _CONFINED.isdisjoint(self._resolution.unsupported):
            self._resolution.add_unhealthy(UnhealthyReason.DOCKER)

    async def _judge(self, evaluation: Evaluation) -> None:
        try:
            verdict = await evaluation.unsupported()
        except SupervisorError as err:
            _LOGGER.warning("Whether the system is supported (%s) can't be told: %s", evaluation.reason.value, err)
        except Exception:
            _LOGGER.exception("The evaluation %s failed", evaluation.reason.value)
        else:
            if verdict is not None:
                self._resolution.set_unsupported(evaluation.reason, verdict)
