"""What waits for a reboot says so in one way (host contract §7)."""

from __future__ import annotations

from supervisor.managers.resolution import ContextType, IssueType, Resolution, SuggestionType


def ask_for_reboot(resolution: Resolution) -> None:
    """Raise the issue that something waits for the next boot, unless it stands already."""
    resolution.raise_issue(IssueType.REBOOT_REQUIRED, ContextType.SYSTEM, suggestions=(SuggestionType.EXECUTE_REBOOT,))
