"""Logs: from the journal when the engine logs there, else from the engine, with the same options either way.

What the engine would forget together with a container is kept in files; the daemon's own log has a file of its own.
"""

from __future__ import annotations

from supervisor.managers.logs.container import ContainerFacts, ContainerLogs, EngineLine
from supervisor.managers.logs.identifiers import HOST_IDENTIFIERS
from supervisor.managers.logs.manager import LogEngine, LogManager, LogStream
from supervisor.managers.logs.own import SupervisorLog
from supervisor.managers.logs.request import LogFormat, LogRequest, LogTarget

__all__ = [
    "HOST_IDENTIFIERS",
    "ContainerFacts",
    "ContainerLogs",
    "EngineLine",
    "LogEngine",
    "LogFormat",
    "LogManager",
    "LogRequest",
    "LogStream",
    "LogTarget",
    "SupervisorLog",
]
