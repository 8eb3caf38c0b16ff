"""Quantities: "100m" of a CPU, "64Mi" of memory.

`kubernetes.utils.quantity` says the same, but lives in the half of the client that is not asynchronous and would be loaded whole.
"""

from __future__ import annotations

import math
import re
from decimal import Decimal

_QUANTITY = re.compile(r"([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)([a-zA-Z]*)")
_SUFFIXES = {"": Decimal(1), "n": Decimal("1e-9"), "u": Decimal("1e-6"), "m": Decimal("1e-3")}
_SUFFIXES |= {suffix: Decimal(1000) ** power for power, suffix in enumerate(("k", "M", "G", "T", "P", "E"), start=1)}
_SUFFIXES |= {
    suffix: Decimal(1024) ** power for power, suffix in enumerate(("Ki", "Mi", "Gi", "Ti", "Pi", "Ei"), start=1)
}


def parse(quantity: str | float) -> Decimal:
    """The number that a quantity stands for. Raises ValueError for anything else."""
    match = _QUANTITY.fullmatch(str(quantity))
    if not match or match.group(2) not in _SUFFIXES:
        raise ValueError(f"{quantity!r} is no quantity; write a number like 2, 500m or 64Mi")
    return Decimal(match.group(1)) * _SUFFIXES[match.group(2)]


def divide(quantity: str, divisor: str = "1") -> int:
    """How often the divisor goes into the quantity, rounded up, as resourceFieldRef wants it."""
    by = parse(divisor)
    return math.ceil(parse(quantity) / (by or 1))


def written(size: int) -> str:
    """A size as people write it, if it is a round one."""
    for power, unit in ((4, "Ti"), (3, "Gi"), (2, "Mi"), (1, "Ki")):
        if size and size % 1024**power == 0:
            return f"{size // 1024**power}{unit}"
    return str(size)
