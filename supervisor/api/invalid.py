"""Says what is wrong with a body, in the shape that clients show (API contract §1.4)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import voluptuous as vol

MAX_PROBLEMS: Final = 50
MAX_SHOWN: Final = 200
MAX_ITEMS: Final = 10
MAX_LEVELS: Final = 3
SECRET_WORDS: Final = ("password", "token", "psk", "secret", "passphrase", "credential", "api_key")

_HIDDEN: Final = "'***'"


def describe_invalid(data: Any, error: vol.Invalid) -> str:
    """Return one line per problem, sorted, each with the offending value, shortened, or hidden where it is a secret."""
    problems = error.errors if isinstance(error, vol.MultipleInvalid) else [error]
    lines = sorted({_line(data, problem) for problem in problems[: 4 * MAX_PROBLEMS]})
    if len(problems) > MAX_PROBLEMS:
        lines = [*lines[:MAX_PROBLEMS], f"and {len(problems) - MAX_PROBLEMS} more problems"]
    return "\n".join(lines)


def _line(data: Any, problem: vol.Invalid) -> str:
    keys = [getattr(key, "schema", key) for key in problem.path]
    kind = f" for {problem.error_type}" if problem.error_type else ""
    where = f" @ data[{']['.join(_shown(key, 0) for key in keys)}]" if keys else ""
    secret = any(_is_secret(key) for key in keys)
    value = _at(data, keys)
    got = _HIDDEN if secret and value is not None else _shown(value, 0)
    return f"{_cut('a wrong value' if secret and _tells(problem.msg, value) else problem.msg)}{kind}{where}. Got {got}"


def _tells(message: str, value: Any) -> bool:
    """Whether the text of a validator repeats the value that it refuses."""
    return isinstance(value, str) and bool(value) and value in message


def _at(data: Any, keys: Sequence[Any]) -> Any:
    for key in keys:
        try:
            data = data[key]
        except (KeyError, IndexError, TypeError):
            return None
    return data


def _is_secret(key: Any) -> bool:
    return isinstance(key, str) and any(word in key[:MAX_SHOWN].lower() for word in SECRET_WORDS)


def _shown(value: Any, level: int) -> str:
    if isinstance(value, str):
        return repr(value) if len(value) <= MAX_SHOWN else f"{value[:MAX_SHOWN]!r}..."
    if isinstance(value, Mapping):
        if level == MAX_LEVELS:
            return "{...}"
        items = [
            f"{_shown(key, level + 1)}: {_HIDDEN if _is_secret(key) else _shown(item, level + 1)}"
            for _, (key, item) in zip(range(MAX_ITEMS), value.items(), strict=False)
        ]
        return _cut(f"{{{', '.join(items)}{', ...' if len(value) > MAX_ITEMS else ''}}}")
    if isinstance(value, list):
        if level == MAX_LEVELS:
            return "[...]"
        listed = [_shown(item, level + 1) for item in value[:MAX_ITEMS]]
        return _cut(f"[{', '.join(listed)}{', ...' if len(value) > MAX_ITEMS else ''}]")
    return _cut(repr(value))


def _cut(text: str) -> str:
    return text if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]}..."
