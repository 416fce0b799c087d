r"""Makes text that came from elsewhere fit for a terminal.

Names, descriptions, messages and logs are written by add-on authors, so they may hold sequences that move the cursor,
change the window title or hide what stands beside them. Escape sequences are taken out and what is left of control and
direction characters is shown as `\x1b`, `\u202e`. Log lines may keep their colours.
"""

from __future__ import annotations

import re

_SGR = r"\x1b\[[0-9;:]*m"
_SEQUENCES = (
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]"  # CSI: cursor, erase, modes
    r"|(?:\x1b[\]PX^_]|[\x90\x98\x9d-\x9f])[^\x07\x1b\x9c\n\r]*(?:\x07|\x1b\\|\x9c)"  # OSC, DCS, APC, PM, SOS: strings
    r"|\x1b[ -/]*[0-Z\\^-~]"  # two-character and charset sequences; `[`, `]`, `P` … without an end stay visible
)
_UNSAFE = "\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff\ufff9-\ufffb"

_BLOCK = re.compile(f"{_SEQUENCES}|[{_UNSAFE}]")
_COLOURED = re.compile(f"(?P<sgr>{_SGR})|{_SEQUENCES}|[{_UNSAFE}]")
_BLANKS = re.compile(r"[\t\n\r ]+")
_UNSAFE_ONLY = re.compile(f"[{_UNSAFE}]")

# Bold, faint, italic, underline and the colours. Not blink, not reverse, and never concealed text.
_SGR_SIMPLE = frozenset(
    {0, 1, 2, 3, 4, 22, 23, 24, *range(30, 38), 39, *range(40, 48), 49, *range(90, 98), *range(100, 108)}
)
SGR_RESET = "\x1b[0m"


def _visible(match: re.Match[str]) -> str:
    found = match.group()
    if len(found) > 1:
        return ""
    return escape(found)


def escape(character: str) -> str:
    code = ord(character)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"


def block(text: str) -> str:
    """Return text of several lines without anything that a terminal would act on; newlines and tabs stay."""
    return _BLOCK.sub(_visible, text.replace("\r\n", "\n").replace("\r", "\n"))


def line(text: str) -> str:
    """Return text as one line: runs of blanks and line ends become one space."""
    return _BLOCK.sub(_visible, _BLANKS.sub(" ", text)).strip()


def log_line(text: str, *, colours: bool) -> str:
    """Return a line of a log; its colour sequences stay when `colours` is true."""

    def keep(match: re.Match[str]) -> str:
        if (sgr := match.group("sgr")) is not None:
            return sgr if _harmless_sgr(sgr[2:-1]) else ""
        return _visible(match)

    # A lone carriage return would let a line overwrite its own beginning: what follows goes on a line of its own.
    text = text.rstrip("\r").replace("\r", "\n")
    return _COLOURED.sub(keep, text) if colours else _BLOCK.sub(_visible, text)


def _harmless_sgr(parameters: str) -> bool:
    try:
        codes = [int(code or 0) for code in re.split("[;:]", parameters)]
    except ValueError:  # longer than Python is willing to convert
        return False
    position = 0
    while position < len(codes):
        code = codes[position]
        if code in (38, 48):  # 38;5;n and 38;2;r;g;b
            arguments = {5: 1, 2: 3}.get(codes[position + 1] if position + 1 < len(codes) else -1)
            if arguments is None or position + 2 + arguments > len(codes):
                return False
            position += 2 + arguments
        elif code in _SGR_SIMPLE:
            position += 1
        else:
            return False
    return True


def json_safe(document: str) -> str:
    """Escape, inside a finished JSON document, what its encoder leaves as it is but a terminal would act on."""
    return _UNSAFE_ONLY.sub(
        lambda match: match.group() if match.group() == "\n" else f"\\u{ord(match.group()):04x}", document
    )


def is_safe(text: str) -> bool:
    return _UNSAFE_ONLY.search(text) is None
