"""What is wrong with this system and what could help: issues, suggestions, unsupported and unhealthy reasons.

Other managers raise into it; it keeps all in memory, answers what is there, and publishes every change (host contract
§1).
"""

from .data import (
    ContextType,
    Issue,
    IssueType,
    Suggestion,
    SuggestionType,
    UnhealthyReason,
    UnsupportedReason,
)
from .manager import Resolution

__all__ = [
    "ContextType",
    "Issue",
    "IssueType",
    "Resolution",
    "Suggestion",
    "SuggestionType",
    "UnhealthyReason",
    "UnsupportedReason",
]
