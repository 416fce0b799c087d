"""What is wrong with this system and what could help: issues, suggestions, unsupported and unhealthy reasons.

Other managers raise into it; it keeps all in memory, answers what is there, and publishes every change (host contract
§1). Checks, evaluations and fix-ups are declared by the rooms that know about them and gathered by the assembly.
"""

from .checks import OLDER_SLUGS, RESOLUTION_SCHEMA, Check, Checks
from .data import (
    ContextType,
    Issue,
    IssueType,
    Suggestion,
    SuggestionType,
    UnhealthyReason,
    UnsupportedReason,
)
from .evaluations import Evaluation, Evaluations
from .fixups import Fixup, Fixups
from .health import AUTO_REPAIR_SECONDS, HEALTH_CHECK_SECONDS, HealthCheck
from .manager import Resolution

__all__ = [
    "AUTO_REPAIR_SECONDS",
    "HEALTH_CHECK_SECONDS",
    "OLDER_SLUGS",
    "RESOLUTION_SCHEMA",
    "Check",
    "Checks",
    "ContextType",
    "Evaluation",
    "Evaluations",
    "Fixup",
    "Fixups",
    "HealthCheck",
    "Issue",
    "IssueType",
    "Resolution",
    "Suggestion",
    "SuggestionType",
    "UnhealthyReason",
    "UnsupportedReason",
]
