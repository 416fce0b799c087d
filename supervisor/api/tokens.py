"""Tokens and whom they belong to."""

from __future__ import annotations

import hashlib
import hmac
import secrets

from supervisor.api.caller import Caller, CallerKind
from supervisor.const import TOKEN_BYTES


def new_token() -> str:
    return secrets.token_hex(TOKEN_BYTES)


class TokenIndex:
    """Finds the caller of a token without keeping the token: only its SHA-256 stays in memory.

    A caller is one kind and slug; it may have several valid tokens while one replaces another.
    """

    def __init__(self) -> None:
        self._callers: dict[bytes, tuple[bytes, Caller]] = {}

    def by_token(self, token: str) -> Caller | None:
        digest = _digest(token)
        found = self._callers.get(digest)
        if found is None or not hmac.compare_digest(found[0], digest):
            return None
        return found[1]

    def add(self, token: str, caller: Caller) -> None:
        """Accept `token` as `caller`, beside the tokens that it has already.

        Raises:
            ValueError: the token is empty; nobody may be known by that.
        """
        if not token:
            raise ValueError("an empty token names nobody")
        digest = _digest(token)
        self._callers[digest] = (digest, caller)

    def replace_hash(self, digest: bytes, caller: Caller) -> None:
        """Make the token with this SHA-256 the only one of `caller`."""
        self.remove(caller.kind, caller.slug)
        self._callers[digest] = (digest, caller)

    def remove(self, kind: CallerKind, slug: str | None = None) -> None:
        """Forget every token of this caller."""
        self._callers = {
            digest: entry for digest, entry in self._callers.items() if (entry[1].kind, entry[1].slug) != (kind, slug)
        }

    def replace(self, token: str, caller: Caller) -> None:
        """Make `token` the only one of `caller`; also how a changed role of the same token is made known."""
        self.remove(caller.kind, caller.slug)
        self.add(token, caller)


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()
