"""Where a git repository is fetched from: the grammar of what is let through, and what may be shown of it."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Final
from urllib.parse import unquote, urlsplit, urlunsplit

import attrs

from supervisor.errors import Invalid

_BRANCH: Final = re.compile(r"(?!-)[A-Za-z0-9_./-]{1,200}")
_HOST: Final = re.compile(r"(?!-)[A-Za-z0-9._-]{1,253}|[0-9A-Fa-f:.]{2,45}")
_UNSAFE: Final = re.compile(r"[\x00-\x20\x7f\\#]")
_USERINFO: Final = re.compile(r"(?<=://)[^/@\s]*@")
_NO_REASON: Final = "fatal: Could not read from remote repository."
_CREDENTIAL_HELPER: Final = (
    '!f() { test "$1" = get && printf "username=%s\\npassword=%s\\n" "$STORE_GIT_USER" "$STORE_GIT_PASSWORD"; }; f'
)


@attrs.frozen
class Remote:
    """An URL that was found harmless, taken apart. `public` may be shown; `url` is for git, without a password."""

    url: str
    public: str
    branch: str | None
    origin: str
    user: str = ""
    password: str = attrs.field(default="", repr=False)

    @classmethod
    def parse(cls, url: str, branch: str | None, transports: Collection[str]) -> Remote:
        """Take the URL apart. This is the last line of defence, whatever the callers checked.

        Raises:
            Invalid: the URL or the branch is not let through; the text names no password.
        """
        try:
            parts = urlsplit(url)
            host, user, password = parts.hostname or "", unquote(parts.username or ""), unquote(parts.password or "")
            port = f":{parts.port}" if parts.port else ""
        except ValueError:
            raise Invalid("Not an URL of a git repository") from None
        hostname = f"[{host}]" if ":" in host else host
        if parts.scheme not in transports or f"{parts.scheme}://" != url[: len(parts.scheme) + 3].lower():
            known = ", ".join(transports)
            raise Invalid(f"A repository's URL must begin with one of these, followed by ://: {known}")
        if parts.scheme == "file":
            hostname = ""
            harmless = parts.netloc in ("", "localhost") and parts.path.startswith("/")
        else:
            harmless = bool(_HOST.fullmatch(host)) and not user.startswith("-")
        if not harmless or _UNSAFE.search(url) or _UNSAFE.search(user + password):
            raise Invalid("The repository's URL is malformed")
        public = urlunsplit((parts.scheme, hostname + port, parts.path, parts.query, ""))
        if branch is not None and (not _BRANCH.fullmatch(branch) or ".." in branch or "//" in branch):
            raise Invalid(f"Not the name of a branch: {branch[:80]!r}")
        if parts.scheme == "ssh":
            login = f"{parts.username}@" if user else ""
            return cls(urlunsplit(("ssh", login + hostname + port, parts.path, "", "")), public, branch, "")
        return cls(public, public, branch, f"{parts.scheme}://{hostname}{port}", user, password)

    @property
    def reference(self) -> str:
        return f"refs/heads/{self.branch}" if self.branch else "HEAD"

    @property
    def needs_network(self) -> bool:
        return not self.url.startswith("file:")

    @property
    def environment(self) -> dict[str, str]:
        if not self.user or not self.origin:
            return {}
        return {
            "GIT_CONFIG_COUNT": "1",
            "GIT_CONFIG_KEY_0": f"credential.{self.origin}.helper",
            "GIT_CONFIG_VALUE_0": _CREDENTIAL_HELPER,
            "STORE_GIT_USER": self.user,
            "STORE_GIT_PASSWORD": self.password,
        }

    def explain(self, text: str) -> str:
        """Return the telling line of git's output, harmless to show."""
        lines = [line for line in text.splitlines() if line.strip()]
        telling = [line for line in lines if line.startswith(("fatal:", "error:", "ERROR:"))] or lines
        line = telling[0] if telling else "no reason given"
        if line == _NO_REASON and lines.index(line) > 0:
            # What ssh said stands before.
            line = lines[lines.index(line) - 1]
        line = _USERINFO.sub("", line)
        for secret in {self.password, self.user} - {""}:
            line = line.replace(secret, "***")
        line = "".join(char if char.isprintable() else " " for char in line)
        return line.removeprefix("fatal:").removeprefix("error:").strip()[:300]
