"""What every provider answers with, and the two ways in which it may fail."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Day:
    """The weather of one day, in whole degrees Celsius and millimetres."""

    date: str
    sky: str
    low: int
    high: int
    rain: int

    def __str__(self) -> str:
        return f"{self.date}  {self.sky:13} {self.low:3} to {self.high:3} °C  {self.rain:3} mm"


class UnknownCity(Exception):
    """The provider knows no such city; asking again does not help. `near` holds names that look alike."""

    def __init__(self, city: str, near: Sequence[str]) -> None:
        self.city, self.near = city, list(near)
        hint = f"did you mean {' or '.join(self.near)}?" if self.near else "check the spelling."
        super().__init__(f"No weather is known for {city!r}: {hint}")


class ProviderUnreachable(Exception):
    """The provider gave no usable answer this time; asking again later may help."""
