"""Quantities, and amounts of resources."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from k8sext.kube.quantity import amounts, divide, parse


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("2", 2),
        ("500m", Decimal("0.5")),
        ("64Mi", 64 * 1024**2),
        ("1k", 1000),
        ("1.5Gi", 1.5 * 1024**3),
        ("1e3", 1000),
        ("100n", Decimal("1e-7")),
    ],
)
def test_quantities_are_read(text: str, number: Any) -> None:
    assert parse(text) == number


@pytest.mark.parametrize("text", ["", "two", "1KB", "Mi", "1 Gi"])
def test_what_is_no_quantity_is_said_to_be_none(text: str) -> None:
    with pytest.raises(ValueError, match="is no quantity"):
        parse(text)


def test_a_divided_quantity_is_rounded_up() -> None:
    assert (divide("1500m"), divide("1Gi", "1Mi"), divide("1", "1m")) == (2, 1024, 1000)


def test_amounts_are_whole_thousandths_of_a_cpu_and_whole_pieces_of_all_else_rounded_up() -> None:
    found = amounts({"cpu": "1500u", "memory": "1Ki", "example.com/gpu": "1", "ephemeral-storage": "1100m"})
    assert found == {"cpu": 2, "memory": 1024, "example.com/gpu": 1, "ephemeral-storage": 2}
