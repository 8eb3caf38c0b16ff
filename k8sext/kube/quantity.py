"""Quantities: "100m" of a CPU, "64Mi" of memory.

`kubernetes.utils.quantity` says the same, but lives in the half of the client that is not asynchronous and would be
loaded whole.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from decimal import Decimal
from functools import lru_cache

Amounts = dict[str, int]
"""By resource, whole numbers, so that sums are exact and quick: thousandths of a CPU, bytes, pieces."""

_QUANTITY = re.compile(r"([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)([a-zA-Z]*)")
_SUFFIXES = {
    **{"": Decimal(1), "n": Decimal("1e-9"), "u": Decimal("1e-6"), "m": Decimal("1e-3")},
    **{suffix: Decimal(1000) ** power for power, suffix in enumerate("kMGTPE", start=1)},
    **{f"{suffix}i": Decimal(1024) ** power for power, suffix in enumerate("KMGTPE", start=1)},
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


@lru_cache(maxsize=4096)
def amount(resource: str, quantity: str) -> int:
    """One quantity of a resource as a whole number; what is not whole is rounded up, as kube-scheduler does."""
    return math.ceil(parse(quantity) * (1000 if resource == "cpu" else 1))


def amounts(resources: Mapping[str, str] | None) -> Amounts:
    """Read a ResourceList such as {"cpu": "500m", "memory": "1Gi"}. Raises ValueError for what is no quantity."""
    return {name: amount(name, quantity) for name, quantity in (resources or {}).items()}


def add(to: Amounts, more: Mapping[str, int], sign: int = 1) -> None:
    """Add amounts to others in place, or take them away."""
    for name, value in more.items():
        to[name] = to.get(name, 0) + sign * value


def raise_to(to: Amounts, least: Mapping[str, int]) -> None:
    """Raise amounts in place to be at least these."""
    for name, value in least.items():
        to[name] = max(to.get(name, 0), value)
