"""A table in a cell's output: drawn by JupyterLab and GitHub, readable as plain text everywhere else."""

from __future__ import annotations

from collections.abc import Sequence


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
