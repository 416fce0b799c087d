"""What `supervisor resolution` says about issues and suggestions."""

from __future__ import annotations

from supervisor.api.routes.resolution import OLDER_TYPES
from supervisor.cli.issue_words import words_for
from supervisor.managers.resolution import IssueType, SuggestionType


def test_every_kind_of_issue_and_suggestion_has_words() -> None:
    told = [{"kind": "issue", "type": OLDER_TYPES.get(kind.value, kind.value)} for kind in IssueType]
    assert [row["type"] for row in told if words_for(row) == "-"] == []
    assert [kind for kind in SuggestionType if words_for({"kind": "suggestion", "type": kind.value}) == "-"] == []


def test_what_the_daemon_says_about_one_stands_beside_its_meaning() -> None:
    row = {"kind": "issue", "type": "update_rollback", "reference_extra": {"version": "1", "reason": "it ended\n(1)"}}
    assert words_for(row) == "the new version failed; the old one is back: it ended (1)"
    row = {"kind": "issue", "type": "app_port_conflict", "reference_extra": {"port": 80}}
    assert words_for(row) == "a port that it needs is taken: port 80"
    row = {"kind": "issue", "type": "fatal_error", "reason": "no such host", "reference_extra": None}
    assert words_for(row) == "it can't be read or reached: no such host"
    assert words_for({"kind": "issue", "type": "of_a_newer_daemon"}) == "-"
