"""A figure for a cell's output that a screen reader and a text terminal can read as well."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure


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
