"""Tells from what restic said what went wrong. Old versions say it as text alone, newer ones also by the exit code."""

from __future__ import annotations

import json
import os
import re
from typing import Final

from supervisor.errors import (
    REPOSITORY_ACCESS_DENIED,
    REPOSITORY_DAMAGED,
    REPOSITORY_EXISTS_ALREADY,
    REPOSITORY_FAILED,
    REPOSITORY_HOST_KEY,
    REPOSITORY_LOCKED,
    REPOSITORY_MISSING,
    REPOSITORY_NO_SPACE,
    REPOSITORY_SNAPSHOT_MISSING,
    REPOSITORY_UNREACHABLE,
    REPOSITORY_WRONG_PASSWORD,
    ErrorKind,
    SupervisorError,
)

_MAX_REASON: Final = 400
_BY_CODE: Final = {10: REPOSITORY_MISSING, 11: REPOSITORY_LOCKED, 12: REPOSITORY_WRONG_PASSWORD}
# The first that fits counts: an unreachable server also looks like a missing repository.
_SAID: Final[tuple[tuple[ErrorKind, str], ...]] = (
    (REPOSITORY_WRONG_PASSWORD, r"wrong password or no key found"),
    (REPOSITORY_LOCKED, r"already locked|unable to create lock in backend: repository is"),
    (REPOSITORY_NO_SPACE, r"no space left on device|disk quota exceeded|quota has been exceeded|StorageFull"),
    (REPOSITORY_HOST_KEY, r"host key verification failed|REMOTE HOST IDENTIFICATION HAS CHANGED"),
    (REPOSITORY_ACCESS_DENIED, r"permission denied|access ?denied|InvalidAccessKeyId|SignatureDoesNotMatch|\b403\b"),
    (REPOSITORY_ACCESS_DENIED, r"Access Key Id you provided does not exist|request signature we calculated"),
    (REPOSITORY_ACCESS_DENIED, r"read-only file system|operation not permitted|Forbidden"),
    (REPOSITORY_UNREACHABLE, r"connection (refused|reset|timed out|closed)|no route to host|network is unreachable"),
    (REPOSITORY_UNREACHABLE, r"could not resolve|no such host|server misbehaving|host is down"),
    (REPOSITORY_UNREACHABLE, r"unable to start the sftp session|ssh exited|broken pipe|timed? ?out|i/o timeout"),
    (REPOSITORY_UNREACHABLE, r"context deadline exceeded|tls:|x509:|certificate|bad gateway|service unavailable"),
    (REPOSITORY_UNREACHABLE, r"input/output error|stale file handle|transport endpoint"),
    (REPOSITORY_EXISTS_ALREADY, r"config file already exists|already initialized"),
    (REPOSITORY_MISSING, r"is there a repository at the following location|repository does not exist"),
    (REPOSITORY_SNAPSHOT_MISSING, r"no matching ID found|no snapshot found|not found in snapshot"),
    (REPOSITORY_DAMAGED, r"repository contains errors|ciphertext verification failed|hash mismatch|does not match"),
    (REPOSITORY_DAMAGED, r"(pack|blob) .* not found|id .* not found in repository|unexpected EOF|invalid data"),
    (REPOSITORY_DAMAGED, r"there were \d+ errors|load.*: (file|the specified key) does not exist"),
)
_BY_TEXT: Final = tuple((kind, re.compile(pattern, re.IGNORECASE)) for kind, pattern in _SAID)
_NOISE: Final = re.compile(
    r"Is there a repository at|restic (repair|rebuild-index)|the `unlock` command|Please open an issue|^using temporary"
)


def failure(name: str, code: int, output: str) -> SupervisorError:
    """Return the error to raise for a run on the repository `name` that ended with `code` and said `output`."""
    messages = plain(output)
    everything = "\n".join(messages)
    kind = _BY_CODE.get(code)
    if kind is None or kind is REPOSITORY_MISSING:
        # "Missing" is also said when the answer could not be got at all.
        kind = next((known for known, pattern in _BY_TEXT if pattern.search(everything)), kind or REPOSITORY_FAILED)
    return kind(repository=name, reason=_reason(messages))


def plain(output: str) -> list[str]:
    """Return the lines of text in what was said, in JSON or not."""
    lines: list[str] = []
    for line in output.splitlines():
        said: object = line
        if line.startswith("{"):
            try:
                said = _message(json.loads(line))
            except ValueError:
                said = line
        lines += [stripped for part in str(said).splitlines() if (stripped := part.strip())]
    return lines


def _message(said: object) -> str:
    if not isinstance(said, dict):
        return ""
    inner = said.get("error")
    if isinstance(inner, dict):
        message = str(inner.get("message") or _system_error(inner))
        return f"{said['item']}: {message}" if said.get("item") else message
    return str(said.get("message") or "")


def _system_error(error: dict[str, object]) -> str:
    """Return the text of what old versions tell as a number."""
    number = error.get("Err")
    return os.strerror(number) if isinstance(number, int) else "it can't be read"


def _reason(messages: list[str]) -> str:
    useful = [line.removeprefix("Fatal: ") for line in messages if not _NOISE.search(line)]
    text = "; ".join(dict.fromkeys(useful[-4:]))
    return text[-_MAX_REASON:] or "it gave no reason"
