"""Building blocks for the voluptuous schemas at the daemon's edges: manifests, state files, HTTP bodies.

Each block returns the cleaned value or raises `vol.Invalid` with a text that voluptuous completes with the place, such
as `expected str for dictionary value @ data['name']`. `describe` makes the text that people see (API contract §1.4).
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any, Final
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import voluptuous as vol
from voluptuous.humanize import humanize_error

Validator = Callable[[Any], Any]

TRUE_WORDS: Final = frozenset({"1", "true", "yes", "on", "enable"})
FALSE_WORDS: Final = frozenset({"0", "false", "no", "off", "disable"})
MAX_VERSION_LENGTH: Final = 128
MAX_IMAGE_LENGTH: Final = 255
MAX_URL_LENGTH: Final = 4096
MAX_TIME_ZONE_LENGTH: Final = 64

# Zones with leap seconds, copies of zones, and names for a machine's own settings.
_OTHER_CLOCKS = ("right/", "posix", "local")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_SURROGATE = re.compile(r"[\ud800-\udfff]")
_PORT_KEY = re.compile(r"[0-9]{1,5}(?:/tcp|/udp)?")
_TOKEN = re.compile(r"[0-9a-f]{32,256}")
_UUID_HEX = re.compile(r"[0-9a-f]{32}")
_IMAGE_HOST = re.compile(r"[a-z0-9](?:[a-z0-9-]*[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]*[a-z0-9])?)*(?::[0-9]{1,5})?")
_IMAGE_COMPONENT = re.compile(r"[a-z0-9{][a-z0-9._{}-]*")


def describe(data: Any, error: vol.Invalid) -> str:
    """Return one line for each problem, sorted, each ending with what was found there instead."""
    return humanize_error(data, error)


def text(value: Any) -> str:
    """Accept a string that can be written as UTF-8; nothing is coerced."""
    if not isinstance(value, str):
        raise vol.TypeInvalid("expected str")
    if _SURROGATE.search(value):
        raise vol.Invalid("expected text that UTF-8 can hold")
    return value


def non_empty_text(value: Any) -> str:
    if not text(value).strip():
        raise vol.LengthInvalid("expected a text that is not empty")
    return str(value)


def time_zone(value: Any) -> str:
    """Accept the name of a time zone such as Europe/Berlin."""
    written = text(value)
    if len(written) > MAX_TIME_ZONE_LENGTH or written.startswith(_OTHER_CLOCKS) or not _is_zone(written):
        raise vol.Invalid("expected the name of a time zone such as Europe/Berlin")
    return written


def _is_zone(name: str) -> bool:
    try:
        # Reads one file, and remembers it; a list of all zones would be a walk through hundreds.
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return False
    return True


def strict_bool(value: Any) -> bool:
    """Accept a JSON boolean and nothing else."""
    if not isinstance(value, bool):
        raise vol.TypeInvalid("expected bool")
    return value


def strict_int(value: Any) -> int:
    """Accept a JSON integer and nothing else (for Python, `True` would be one)."""
    if not isinstance(value, int) or isinstance(value, bool):
        raise vol.TypeInvalid("expected int")
    return value


def lenient_bool(value: Any) -> bool:
    """Accept what the API contract's notation calls `bool*`: words for yes and no, anything else by its truth."""
    if isinstance(value, str):
        word = value.lower()
        if word in TRUE_WORDS:
            return True
        if word in FALSE_WORDS:
            return False
        raise vol.BooleanInvalid("expected boolean")
    return bool(value)


def boolean(value: Any) -> bool:
    """Accept a boolean or a word for one, as manifests and add-on options write it; 0 and 1 are words too."""
    if isinstance(value, bool | str) or value in (0, 1):
        return lenient_bool(value)
    raise vol.BooleanInvalid("expected boolean")


def lenient_int(value: Any) -> int:
    """Accept a whole number, also as a string (`int*`)."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, str | float) and not isinstance(value, bool):
        try:
            return int(value)
        except (ValueError, OverflowError):
            pass
    raise vol.CoerceInvalid("expected int")


def lenient_float(value: Any) -> float:
    """Accept a finite number, also as a string (`float*`)."""
    if isinstance(value, int | float | str) and not isinstance(value, bool):
        try:
            number = float(value)
        except (ValueError, OverflowError):
            pass
        else:
            if math.isfinite(number):
                return number
    raise vol.CoerceInvalid("expected float")


def version(value: Any) -> str | None:
    """Accept a version as text or number; none stays none. Versions become image tags, so blanks are refused."""
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise vol.TypeInvalid("expected a version")
    if isinstance(value, str):
        written = text(value)
    else:
        written = str(lenient_float(value) if isinstance(value, float) else value)
    if not written or len(written) > MAX_VERSION_LENGTH or not written.isprintable() or " " in written:
        raise vol.Invalid("expected a version")
    return written


def required_version(value: Any) -> str:
    written = version(value)
    if written is None:
        raise vol.TypeInvalid("expected a version")
    return written


def port(value: Any) -> int:
    number = lenient_int(value)
    if not 1 <= number <= 65535:
        raise vol.RangeInvalid("expected a port from 1 to 65535")
    return number


def port_key(value: Any) -> str:
    """Accept a container port as `"80"`, `"80/tcp"` or `"80/udp"`."""
    if not isinstance(value, str) or not _PORT_KEY.fullmatch(value) or not 1 <= int(value.split("/")[0]) <= 65535:
        raise vol.Invalid('expected a port such as "80/tcp"')
    return value


def port_or_closed(value: Any) -> int | None:
    return None if value is None else port(value)


network_ports: Final = vol.Schema({port_key: port_or_closed})


def url(value: Any) -> str:
    """Accept a URL that has a scheme and a host; it is returned as given."""
    written = text(value)
    try:
        parts = urlsplit(written)
        complete = bool(parts.scheme and parts.hostname)
    except ValueError:
        complete = False
    if not complete or len(written) > MAX_URL_LENGTH or _CONTROL.search(written):
        raise vol.UrlInvalid("expected a URL")
    return written


def docker_image(value: Any) -> str:
    """Accept an image name without tag or digest; `{arch}` and the like may stand in it."""
    written = text(value)
    first, *rest = written.split("/")
    if (
        len(written) > MAX_IMAGE_LENGTH
        or not all(_IMAGE_COMPONENT.fullmatch(component) for component in rest)
        or not (_IMAGE_COMPONENT.fullmatch(first) or (rest and _IMAGE_HOST.fullmatch(first)))
    ):
        raise vol.Invalid("expected an image name without a tag")
    return written


def token(value: Any) -> str:
    """Accept 32 to 256 lower-case hexadecimal digits. The text of the error never holds the value."""
    if not isinstance(value, str) or not _TOKEN.fullmatch(value):
        raise vol.Invalid("expected a token of 32 to 256 lower-case hexadecimal digits")
    return value


def uuid_hex(value: Any) -> str:
    if not isinstance(value, str) or not _UUID_HEX.fullmatch(value):
        raise vol.Invalid("expected 32 lower-case hexadecimal digits")
    return value


def unique_list(member: Any) -> Validator:
    """Make a validator for a list of `member` in which nothing stands twice."""
    checked: Validator = vol.Schema([member])

    def validate(value: Any) -> list[Any]:
        items: list[Any] = checked(value)
        seen: list[Any] = []
        for item in items:
            if item in seen:
                raise vol.Invalid(f"contains {item!r} twice")
            seen.append(item)
        return items

    return validate


def one_of(names: type[Any]) -> Validator:
    """Make a validator for the values of a string enum; the result is the plain string, fit for JSON."""
    values = tuple(str(name) for name in names)
    known = frozenset(values)

    def validate(value: Any) -> str:
        if not isinstance(value, str) or value not in known:
            raise vol.InInvalid(f"expected one of {', '.join(values)}")
        return str(value)

    return validate


def json_object(value: Any) -> dict[str, Any]:
    """Accept a mapping that JSON can hold, keys of other scalars becoming the strings that JSON would write.

    YAML knows infinities, numbers as keys and dates; what can't be written as JSON again is refused.
    """
    if not isinstance(value, dict):
        raise vol.DictInvalid("expected a dictionary")
    plain: dict[str, Any] = _plain(value, depth=0)
    return plain


_MAX_DEPTH: Final = 64


def _plain(value: Any, depth: int) -> Any:
    if depth > _MAX_DEPTH:
        raise vol.Invalid("is nested too deeply")
    if isinstance(value, str):
        return text(value)
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, float):
        return lenient_float(value)
    if isinstance(value, list):
        return [_plain(item, depth + 1) for item in value]
    if isinstance(value, dict):
        return {_plain_key(key): _plain(item, depth + 1) for key, item in value.items()}
    raise vol.TypeInvalid(f"holds a {type(value).__name__}, which JSON does not know")


def _plain_key(key: Any) -> str:
    if isinstance(key, str):
        return text(key)
    if isinstance(key, bool):
        return "true" if key else "false"
    if isinstance(key, int | float):
        return str(key)
    raise vol.TypeInvalid("expected str as a key")
