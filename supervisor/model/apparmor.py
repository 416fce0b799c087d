"""AppArmor profiles that add-ons bring along (add-on contract §1.11)."""

from __future__ import annotations

import re
from typing import Final

from supervisor.errors import Invalid

PROFILE_FILE: Final = "apparmor.txt"
MAX_PROFILE_BYTES: Final = 256 * 1024

_HEADER = re.compile(r'^profile[ \t]+("[^"\n]*"|[^\s{("]+)([^{]*)\{', re.MULTILINE)
_COMMENT = re.compile(r'#(?!include[\s<"]).*')
_QUOTED = re.compile(r'"[^"\n]*"')
# Parts of the host's own collection only: an included file may hold anything, other profiles as well.
_INCLUDE = re.compile(r'(?<![^\s,{}])#?include(?=[\s<"])(.*)')
_HARMLESS_INCLUDE = re.compile(r"(?:\s+if\s+exists)?\s*<(?!.*\.\.)\w[\w./-]*>\s*,?\s*")
# What else may stand beside a profile: it changes nothing for programs outside.
_PREAMBLE = re.compile(r"abi\s+<[\w./-]+>\s*,|(?:@v|\$v)\s*\+?=.*|alias\s.*->.*,")
_FLAGS = re.compile(r"flags\s*=\s*\([\w\s,.=/-]*\)|\((?:[a-z_]+[\s,]*)+\)")


def profile_name(text: str) -> str:
    """Return the name of the one profile in `text`.

    Raises:
        Invalid: there is none, more than one, or something beside it that would concern other programs.
    """
    headers = list(_HEADER.finditer(text))
    if len(headers) != 1:
        found = "none" if not headers else str(len(headers))
        raise Invalid(f"expected exactly one line that begins with 'profile NAME', found {found}")
    _require_alone(text)
    return headers[0][1].strip('"')


def adjusted_profile(content: bytes, slug: str) -> str:
    """Return an add-on's profile under the name of the add-on's full slug.

    What programs the profile would attach itself to is taken out: it is for the add-on's container alone.

    Raises:
        Invalid: it can't be used.
    """
    if len(content) > MAX_PROFILE_BYTES:
        raise Invalid(f"expected {MAX_PROFILE_BYTES} bytes at most")
    try:
        text = content.decode()
    except UnicodeDecodeError as err:
        raise Invalid("expected UTF-8 text") from err
    if "\0" in text:
        raise Invalid("expected text without NUL")
    profile_name(text)
    return _HEADER.sub(lambda header: f"profile {slug} {_flags(header[2])}{{", text, count=1)


def _flags(rest: str) -> str:
    found = _FLAGS.search(rest)
    return f"{found[0]} " if found else ""


def _require_alone(text: str) -> None:
    """Refuse what is outside of the profile's braces and no mere preparation: other profiles, above all."""
    for include in _INCLUDE.finditer(_COMMENT.sub("", text)):
        if not _HARMLESS_INCLUDE.fullmatch(include[1]):
            raise Invalid(f"expected to include parts of the host's collection only, found {include[0][:80]!r}")
    outside, depth = [], 0
    # Braces in quotes and variables are no blocks.
    bare = _QUOTED.sub('""', _INCLUDE.sub("", _COMMENT.sub("", text)))
    bare = re.sub(r"@\{\w*\}", "@v", re.sub(r"\$\{\w*\}", "$v", bare))
    for character in bare:
        if character == "{":
            depth += 1
            outside.append("{" if depth == 1 else "")
        elif character == "}":
            depth -= 1
            if depth < 0:
                raise Invalid("expected as many opening as closing braces")
            outside.append("\n" if depth == 0 else "")
        elif depth == 0:
            outside.append(character)
    if depth:
        raise Invalid("expected as many opening as closing braces")
    for line in "".join(outside).splitlines():
        statement = line.strip()
        is_header = line.startswith("profile") or statement == "{"
        if statement and not is_header and not _PREAMBLE.fullmatch(statement):
            raise Invalid(f"expected nothing beside the one profile, found {statement[:80]!r}")
