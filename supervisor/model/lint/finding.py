"""A problem at a place, and the collection of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from enum import StrEnum
from pathlib import Path

import attrs

from .document import Document


class Severity(StrEnum):
    """An error keeps the store from offering something as it is written; advice is for the author to weigh."""

    ERROR = "error"
    ADVICE = "advice"


@attrs.frozen
class Finding:
    """`rule` is a stable name, `file` is relative to the checked folder; line and column count from 1."""

    severity: Severity
    rule: str
    message: str
    file: Path
    line: int | None = None
    column: int | None = None


@attrs.frozen
class Report:
    """`addons` is the number of manifests that were looked at."""

    findings: tuple[Finding, ...]
    addons: int

    @property
    def errors(self) -> int:
        return sum(finding.severity is Severity.ERROR for finding in self.findings)

    @property
    def advice(self) -> int:
        return len(self.findings) - self.errors


class Findings:
    """Collects what is found below one folder."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._found: list[Finding] = []

    def error(self, rule: str, message: str, file: Path, line: int | None = None, column: int | None = None) -> None:
        self._add(Finding(Severity.ERROR, rule, message, self._relative(file), line, column))

    def advice(self, rule: str, message: str, file: Path, line: int | None = None, column: int | None = None) -> None:
        self._add(Finding(Severity.ADVICE, rule, message, self._relative(file), line, column))

    def sorted(self) -> tuple[Finding, ...]:
        """Return everything by file and line."""
        return tuple(sorted(self._found, key=lambda found: (str(found.file), found.line or 0, found.column or 0)))

    def _add(self, finding: Finding) -> None:
        # What a YAML alias repeats is one mistake.
        if finding not in self._found:
            self._found.append(finding)

    def _relative(self, file: Path) -> Path:
        return file.relative_to(self._root)


@attrs.frozen
class Notes:
    """Findings in one document, placed by the path of keys and indices that leads to the trouble."""

    findings: Findings
    document: Document

    def error(self, rule: str, path: Sequence[object], message: str) -> None:
        self.findings.error(rule, self._worded(path, message), self.document.file, *self.document.place(path))

    def advice(self, rule: str, path: Sequence[object], message: str) -> None:
        self.findings.advice(rule, self._worded(path, message), self.document.file, *self.document.place(path))

    @staticmethod
    def _worded(path: Sequence[object], message: str) -> str:
        return f"{dotted(path)}: {message}" if path else message


def dotted(path: Iterable[object]) -> str:
    """Return a path as people write it: `schema.lamps[0].name`."""
    written = ""
    for step in path:
        if isinstance(step, int) and not isinstance(step, bool) and written:
            written += f"[{step}]"
        else:
            written += f".{step}" if written else str(step)
    return written[:200]
