"""Quantities: "100m" of a CPU, "64Mi" of memory.

`kubernetes.utils.quantity` says the same, but lives in the half of the client that is not asynchronous and would be loaded whole.
"""

from __future__ import annotations

import math
from decimal import Decimal, InvalidOperation

_SUFFIXES = {"": Decimal(1), "n": Decimal("1e-9"), "u": Decimal("1e-6"), "m": Decimal("1e-3")}
_SUFFIXES |= {suffix: Decimal(1000) ** power for power, suffix in enumerate(("k", "M", "G", "T", "P", "E"), start=1)}
_SUFFIXES |= {
    suffix: Decimal(1024) ** power for power, suffix in enumerate(("Ki", "Mi", "Gi", "Ti", "Pi", "Ei"), start=1)
}


def parse(quantity: str | float) -> Decimal:
    """The number that a quantity stands for. Raises ValueError for anything else."""
    text = str(quantity)
    number = text.rstrip("numkMGTPEi") if not text[-1:].isdigit() else text
    try:
        return Decimal(number) * _SUFFIXES[text[len(number) :]]
    except (InvalidOperation, KeyError) as error:
        raise ValueError(f"{quantity!r} is no quantity; write a number like 2, 500m or 64Mi") from error


def divide(quantity: str, divisor: str = "1") -> int:
    """How often the divisor goes into the quantity, rounded up, as resourceFieldRef wants it."""
    by = parse(divisor)
    return math.ceil(parse(quantity) / (by or 1))
