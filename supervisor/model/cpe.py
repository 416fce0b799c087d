"""What an operating system calls itself for machines: CPE 2.3 names (host contract §28)."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

import attrs

HAOS_PRODUCTS: Final = frozenset({"hassos", "haos"})

_ANY: Final = "*"
_PREFIX: Final = "cpe:2.3:"
# The part, and ten more; a colon that belongs to a value is escaped.
_ATTRIBUTES: Final = 11
_SEPARATOR: Final = re.compile(r"(?<!\\):")
_ESCAPED: Final = re.compile(r"\\(.)")


@attrs.frozen
class Cpe:
    """An attribute that the name leaves open is an empty text."""

    vendor: str
    product: str
    version: str
    target_hardware: str

    @classmethod
    @lru_cache(maxsize=4)
    def parse(cls, text: str | None) -> Cpe | None:
        """Return what the name says; None for what is no such name, as of a system that has none."""
        if not text or not text.startswith(_PREFIX):
            return None
        values = _SEPARATOR.split(text.removeprefix(_PREFIX))
        if len(values) != _ATTRIBUTES:
            return None
        _, vendor, product, version, *_, hardware, _other = map(_value, values)
        return cls(vendor, product, version, hardware)

    @property
    def is_haos(self) -> bool:
        """Whether it is the Home Assistant Operating System."""
        return self.product in HAOS_PRODUCTS


def _value(text: str) -> str:
    return "" if text in (_ANY, "-") else _ESCAPED.sub(r"\1", text)
