"""Rows of results: a figure of ours, the peer's where there is one, and what to reach."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Row:
    """One thing measured. ours and peer are the single runs, in unit; reach is said in words."""

    what: str
    unit: str
    ours: Sequence[float]
    peer_name: str = ""
    peer: Sequence[float] = ()
    reach: str = ""

    @property
    def ratio(self) -> float | None:
        """Ours divided by the peer's, of the medians."""
        return statistics.median(self.ours) / statistics.median(self.peer) if self.peer else None


def print_rows(title: str, rows: Iterable[Row]) -> None:
    """A line each, as soon as it is measured: median, lowest and highest of ours and of the peer, and the ratio."""
    print(f"\n## {title}", flush=True)
    for row in rows:
        line = f"{row.what}: {_spread(row.ours)} {row.unit}"
        if row.ratio is not None:
            line += f"; {row.peer_name}: {_spread(row.peer)} {row.unit}; ratio {row.ratio:.2f}"
        print(line + (f" (to reach: {row.reach})" if row.reach else ""), flush=True)


def _spread(values: Sequence[float]) -> str:
    if len(values) == 1:
        return f"{values[0]:.3g}"
    return f"{statistics.median(values):.3g} [{min(values):.3g} .. {max(values):.3g}]"
