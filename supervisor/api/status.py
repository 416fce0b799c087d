"""The one table from what an error means to its HTTP status (API contract §1.3)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from supervisor.errors import (
    Conflict,
    Forbidden,
    Gone,
    Internal,
    NotFound,
    RateLimited,
    SupervisorError,
    Unauthorized,
)

DEFAULT_STATUS: Final = 400

STATUS: Final[Mapping[type[SupervisorError], int]] = {
    Unauthorized: 401,
    Forbidden: 403,
    NotFound: 404,
    Conflict: 409,
    Gone: 410,
    RateLimited: 429,
    Internal: 500,
}


def status_of(error: SupervisorError) -> int:
    for kind in type(error).__mro__:
        if kind in STATUS:
            return STATUS[kind]
    return DEFAULT_STATUS
