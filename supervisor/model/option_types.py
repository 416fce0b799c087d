"""The type strings of the option schema language, such as `int(1,65535)?` (add-on contract §1.7)."""

from __future__ import annotations

import hashlib
import re
import warnings
from collections.abc import Callable
from enum import StrEnum
from typing import Any, Final

import attrs
import regex
import voluptuous as vol

from supervisor.model import validators

MAX_VALUE_LENGTH: Final = 64 * 1024
MAX_PATTERN_LENGTH: Final = 4 * 1024
# A manifest's pattern may take exponential time on a value that the same manifest supplies.
MATCH_SECONDS: Final = 0.2
_MAX_PATTERN_WEIGHT: Final = 50_000
_MAX_BOUND_LENGTH: Final = 64

_TYPE = re.compile(
    r"(?:(?P<plain>bool|email|url|port)"
    r"|(?P<length>str|password)(?:\((?P<l_min>[0-9]+)?,(?P<l_max>[0-9]+)?\))?"
    r"|(?P<int>int)(?:\((?P<i_min>-?[0-9]+)?,(?P<i_max>-?[0-9]+)?\))?"
    r"|(?P<float>float)(?:\((?P<f_min>-?[0-9]*\.?[0-9]+)?,(?P<f_max>-?[0-9]*\.?[0-9]+)?\))?"
    r"|(?P<match>match)\((?P<pattern>.*)\)"
    r"|(?P<list>list)\((?P<choices>.+)\)"
    r"|(?P<device>device)(?:\(subsystem=(?P<subsystem>[a-z0-9_-]+)\))?"
    r")?(?P<optional>\?)?"
)
_EMAIL = re.compile(r"[^\s@\"<>(),:;\\]+@[^\s@.]+(?:\.[^\s@.]+)+")
_PATTERN_TOKEN = re.compile(r"\\.|\[\^?\]?(?:\\.|[^\]\\])*\]|\{[0-9]*,?[0-9]*\}|.", re.DOTALL)


class Kind(StrEnum):
    STR = "str"
    PASSWORD = "password"  # noqa: S105 - the name of a type
    INT = "int"
    FLOAT = "float"
    BOOL = "bool"
    EMAIL = "email"
    URL = "url"
    PORT = "port"
    MATCH = "match"
    LIST = "list"
    DEVICE = "device"
    NOTHING = ""


@attrs.frozen
class TypeRule:
    """One parsed type string. Bounds are lengths for texts; `NOTHING` (an empty type string) accepts no value."""

    kind: Kind
    optional: bool = False
    minimum: float | None = None
    maximum: float | None = None
    pattern: regex.Pattern[str] | None = None
    choices: tuple[str, ...] = ()
    subsystem: str | None = None

    def check(self, value: Any) -> Any:
        """Return the value as the type makes it; devices are only checked for being a string here.

        Raises:
            vol.Invalid: the value is not of this type; the text says what was expected.
        """
        if isinstance(value, str) and len(value) > MAX_VALUE_LENGTH:
            raise vol.LengthInvalid(f"length of value must be at most {float(MAX_VALUE_LENGTH)}")
        return _CHECKS[self.kind](self, value)


def parse_type(written: str) -> TypeRule:
    """Parse a type string.

    Raises:
        vol.Invalid: it is none, or its pattern is none.
    """
    # Long lists are often written as folded YAML blocks, which end with a line break.
    written = written.removesuffix("\n")
    found = _TYPE.fullmatch(written) if len(written) <= MAX_VALUE_LENGTH else None
    if found is None:
        raise vol.Invalid(f"expected an option type, such as str or int(1,10)?; {written[:80]!r} is none")
    groups = found.groupdict()
    optional = groups["optional"] is not None
    if groups["plain"]:
        return TypeRule(Kind(groups["plain"]), optional)
    if groups["length"]:
        return TypeRule(Kind(groups["length"]), optional, _bound(groups["l_min"]), _bound(groups["l_max"]))
    if groups["int"]:
        return TypeRule(Kind.INT, optional, _bound(groups["i_min"]), _bound(groups["i_max"]))
    if groups["float"]:
        return TypeRule(Kind.FLOAT, optional, _bound(groups["f_min"]), _bound(groups["f_max"]))
    if groups["match"]:
        return TypeRule(Kind.MATCH, optional, pattern=_compile(groups["pattern"]))
    if groups["list"]:
        return TypeRule(Kind.LIST, optional, choices=tuple(groups["choices"].split("|")))
    if groups["device"]:
        return TypeRule(Kind.DEVICE, optional, subsystem=groups["subsystem"])
    return TypeRule(Kind.NOTHING, optional)


def password_hash(password: str) -> str:
    """Return what the breach list is asked with: SHA-1, upper-case hex."""
    return hashlib.sha1(password.encode(), usedforsecurity=False).hexdigest().upper()


def _bound(written: str | None) -> float | None:
    if written is None:
        return None
    if len(written) > _MAX_BOUND_LENGTH:
        raise vol.Invalid(f"expected bounds of at most {_MAX_BOUND_LENGTH} characters")
    return float(written)


def _compile(pattern: str) -> regex.Pattern[str]:
    if len(pattern) > MAX_PATTERN_LENGTH:
        raise vol.Invalid(f"expected a pattern of at most {MAX_PATTERN_LENGTH} characters")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            # Manifests are written for `re`; `regex` runs them because it can be told when to stop.
            re.compile(pattern)
            if _weight(pattern) > _MAX_PATTERN_WEIGHT:
                raise vol.Invalid("expected a pattern with smaller repetition counts")
            return regex.compile(pattern)
    except (re.error, regex.error, RecursionError, OverflowError, ValueError) as err:
        raise vol.Invalid(f"expected a regular expression: {err}") from err


def _weight(pattern: str) -> int:
    """Estimate how large a pattern becomes once its counted repetitions are written out, as compiling does."""
    open_groups = [0]
    last = 0
    for token in _PATTERN_TOKEN.findall(pattern):
        if token == "(":  # noqa: S105 - a token of the pattern
            open_groups.append(0)
        elif token == ")" and len(open_groups) > 1:  # noqa: S105 - as above
            last = open_groups.pop()
            open_groups[-1] += last
        elif token[0] == "{" and len(token) > 1:
            counts = [int(count) for count in token[1:-1].split(",") if count]
            factor = max([*counts, 1])
            open_groups[-1] += last * (factor - 1)
            last *= factor
        else:
            last = 1
            open_groups[-1] += 1
    return sum(open_groups)


def _between(rule: TypeRule, value: Any, *, length: bool) -> Any:
    measured, what = (len(value), "length of value") if length else (value, "value")
    error = vol.LengthInvalid if length else vol.RangeInvalid
    if rule.minimum is not None and measured < rule.minimum:
        raise error(f"{what} must be at least {rule.minimum}")
    if rule.maximum is not None and measured > rule.maximum:
        raise error(f"{what} must be at most {rule.maximum}")
    return value


def _check_text(rule: TypeRule, value: Any) -> str:
    return str(_between(rule, validators.text(value), length=True))


def _as_int(value: Any) -> int:
    # Options take whatever Python's int() takes, booleans included.
    return validators.lenient_int(int(value) if isinstance(value, bool) else value)


def _check_int(rule: TypeRule, value: Any) -> int:
    return int(_between(rule, _as_int(value), length=False))


def _check_float(rule: TypeRule, value: Any) -> float:
    number = validators.lenient_float(float(value) if isinstance(value, bool) else value)
    return float(_between(rule, number, length=False))


def _check_bool(_rule: TypeRule, value: Any) -> bool:
    return validators.boolean(value)


def _check_email(_rule: TypeRule, value: Any) -> str:
    address = validators.text(value)
    if not _EMAIL.fullmatch(address):
        raise vol.EmailInvalid("expected an email address")
    return address


def _check_url(_rule: TypeRule, value: Any) -> str:
    return validators.url(value)


def _check_port(_rule: TypeRule, value: Any) -> int:
    number = _as_int(value)
    return int(_between(TypeRule(Kind.PORT, minimum=1, maximum=65535), number, length=False))


def _scalar_text(value: Any) -> str:
    if not isinstance(value, str | int | float):
        raise vol.TypeInvalid("expected str")
    return validators.text(str(value))


def _check_match(rule: TypeRule, value: Any) -> str:
    written = _scalar_text(value)
    if rule.pattern is None:
        raise vol.MatchInvalid("does not match any pattern")
    try:
        matches = rule.pattern.match(written, timeout=MATCH_SECONDS)
    except TimeoutError as err:
        raise vol.MatchInvalid(f"takes too long to match regular expression {rule.pattern.pattern}") from err
    if matches is None:
        raise vol.MatchInvalid(f"does not match regular expression {rule.pattern.pattern}")
    return written


def _check_list(rule: TypeRule, value: Any) -> str:
    written = _scalar_text(value)
    if written not in rule.choices:
        raise vol.InInvalid(f"value must be one of {sorted(rule.choices)}")
    return written


def _check_device(_rule: TypeRule, value: Any) -> str:
    return validators.text(value)


def _check_nothing(_rule: TypeRule, _value: Any) -> Any:
    raise vol.TypeInvalid("type error: the add-on declares no type for it")


_CHECKS: Final[dict[Kind, Callable[[TypeRule, Any], Any]]] = {
    Kind.STR: _check_text,
    Kind.PASSWORD: _check_text,
    Kind.INT: _check_int,
    Kind.FLOAT: _check_float,
    Kind.BOOL: _check_bool,
    Kind.EMAIL: _check_email,
    Kind.URL: _check_url,
    Kind.PORT: _check_port,
    Kind.MATCH: _check_match,
    Kind.LIST: _check_list,
    Kind.DEVICE: _check_device,
    Kind.NOTHING: _check_nothing,
}
