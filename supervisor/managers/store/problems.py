"""Which issue a failed repository becomes, and what could help (contract §2.2, §2.3)."""

from __future__ import annotations

import errno

from supervisor.errors import Blocked, Internal, SupervisorError, Unavailable
from supervisor.managers.resolution import ContextType, IssueType, Resolution, SuggestionType

from .index import Scan
from .repository import Repository


class Problems:
    """Keeps the issues of the store's repositories in step with what was found.

    Damage that git found and files that make no sense are one issue, which goes when both are gone.
    """

    def __init__(self, resolution: Resolution) -> None:
        self._resolution = resolution
        self._damaged: set[str] = set()
        self._unfit: set[str] = set()

    def missing(self, repository: Repository, error: SupervisorError) -> None:
        """It could not be cloned."""
        passing = isinstance(error, Unavailable | Blocked) or repository.builtin
        helps = SuggestionType.EXECUTE_RELOAD if passing else SuggestionType.EXECUTE_REMOVE
        self._raise(repository, IssueType.FATAL_ERROR, str(error), helps)

    def damaged(self, repository: Repository, error: SupervisorError) -> None:
        """Its clone failed the check; anything but damage is no issue."""
        if isinstance(error, Internal):
            self._raise(repository, IssueType.FATAL_ERROR, str(error), SuggestionType.EXECUTE_RESET)

    def not_updated(self, repository: Repository, error: SupervisorError) -> None:
        """It could not be pulled; a remote that is away is no issue, the clone still serves."""
        if isinstance(error, Internal):
            self._damaged.add(repository.slug)
            self._raise(repository, IssueType.CORRUPT_REPOSITORY, str(error), SuggestionType.EXECUTE_RESET)

    def fetched(self, repository: Repository) -> None:
        """It was fetched or found sound."""
        self._damaged.discard(repository.slug)
        self._resolution.dismiss_issue_of(IssueType.FATAL_ERROR, ContextType.STORE, repository.slug)
        self._dismiss_corrupt(repository)

    def scanned(self, repository: Repository, scan: Scan) -> None:
        """Its files were looked at."""
        reason = scan.invalid or ""
        if scan.broken is not None:
            reason = f"its files can't be read: {scan.broken.strerror or scan.broken}"
            self._resolution.judge_disk(scan.broken.errno)
            mendable = scan.broken.errno != errno.EBADMSG
        elif scan.invalid is not None:
            mendable = True
        else:
            self._unfit.discard(repository.slug)
            self._dismiss_corrupt(repository)
            return
        helps: list[SuggestionType] = []
        if mendable and not repository.local:
            helps.append(SuggestionType.EXECUTE_RESET)
        if scan.invalid is not None and not repository.builtin:
            helps.append(SuggestionType.EXECUTE_REMOVE)
        self._unfit.add(repository.slug)
        self._raise(repository, IssueType.CORRUPT_REPOSITORY, reason, *helps)

    def gone(self, repository: Repository) -> None:
        self._unfit.discard(repository.slug)
        self.fetched(repository)

    def _dismiss_corrupt(self, repository: Repository) -> None:
        if repository.slug not in self._damaged | self._unfit:
            self._resolution.dismiss_issue_of(IssueType.CORRUPT_REPOSITORY, ContextType.STORE, repository.slug)

    def _raise(self, repository: Repository, issue: IssueType, reason: str, *helps: SuggestionType) -> None:
        self._resolution.raise_issue(
            issue, ContextType.STORE, reference=repository.slug, reason=reason, suggestions=helps
        )
