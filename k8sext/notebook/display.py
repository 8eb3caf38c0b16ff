"""What a cell shows, so that a screen reader, a text terminal, GitHub and JupyterLab can all read it: tables and
figures."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class Table:
    """Rows under headings, shown when it is the last expression of a cell."""

    def __init__(self, headings: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
        self.headings = [str(heading) for heading in headings]
        self.rows = [[str(cell) for cell in row] for row in rows]
        for row in self.rows:
            if len(row) != len(self.headings):
                raise ValueError(f"A row has {len(row)} cells, the table has {len(self.headings)} columns: {row}")

    def __repr__(self) -> str:
        lines = [self.headings, *self.rows]
        widths = [max(len(line[column]) for line in lines) for column in range(len(self.headings))]
        return "\n".join("  ".join(map(str.ljust, line, widths)).rstrip() for line in lines)

    def _repr_markdown_(self) -> str:
        lines = [self.headings, ["---"] * len(self.headings), *self.rows]
        return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


class Picture:
    """A matplotlib figure as PNG, with its alt text and its text twin: the same content in words."""

    def __init__(self, figure: Figure, alt: str, text: str) -> None:
        self.figure, self.alt, self.text = figure, alt, text

    def __repr__(self) -> str:
        return self.text

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> tuple[dict[str, Any], dict[str, Any]]:
        png = io.BytesIO()
        self.figure.savefig(png, format="png", dpi=110, metadata={"Software": None})
        return {"image/png": png.getvalue(), "text/plain": self.text}, {"image/png": {"alt": self.alt}}
