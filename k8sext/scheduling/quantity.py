"""Amounts of resources as whole numbers, so that sums stay exact: thousandths of a processor, bytes, pieces."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import lru_cache

from k8sext.kube.quantity import parse

Amounts = dict[str, int]


def amounts(resources: Mapping[str, str] | None) -> Amounts:
    """Read a ResourceList such as {"cpu": "500m", "memory": "1Gi"}. Raises ValueError for what is no quantity."""
    return {name: amount(name, quantity) for name, quantity in (resources or {}).items()}


@lru_cache(maxsize=4096)
def amount(name: str, quantity: str) -> int:
    """Read one quantity; what is not whole is rounded up, as kube-scheduler does."""
    return math.ceil(parse(quantity) * (1000 if name == "cpu" else 1))


def add(to: Amounts, more: Mapping[str, int], sign: int = 1) -> None:
    """Add amounts to others in place, or take them away."""
    for name, value in more.items():
        to[name] = to.get(name, 0) + sign * value


def raise_to(to: Amounts, least: Mapping[str, int]) -> None:
    """Raise amounts in place to be at least these."""
    for name, value in least.items():
        to[name] = max(to.get(name, 0), value)
