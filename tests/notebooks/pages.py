"""The notebooks as files: MyST sources, executed products, and the rules that say when two outputs are the same."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import jupytext
import nbformat

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"
GLOSSARY = NOTEBOOKS / "source" / "glossary.md"
"""The one page that runs nothing: terms under headings, which the other pages link to."""
WORDS_A_MINUTE = 200
SANITISER = Path(__file__).parents[1] / "nbval-sanitize.cfg"


def sources() -> list[Path]:
    """Return the MyST files in reading order."""
    return sorted((NOTEBOOKS / "source").glob("[0-9][0-9]-*.md"))


def product(source: Path) -> Path:
    """Return the executed notebook that belongs to a source."""
    return NOTEBOOKS / f"{source.stem}.ipynb"


def read_source(source: Path) -> Any:
    """Return a source as an unexecuted notebook, with cell ids that stay the same from one build to the next."""
    notebook: Any = jupytext.read(source)
    for number, cell in enumerate(notebook.cells):
        cell["id"] = f"cell-{number:02}"
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    notebook["metadata"] = nbformat.from_dict({"kernelspec": kernel})
    return notebook


def read_product(path: Path) -> Any:
    """Return an executed notebook."""
    return nbformat.read(path, as_version=4)


def code_cells(notebook: Any) -> list[Any]:
    """Return the code cells of a notebook."""
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def reading_minutes(source: Path) -> int:
    """How long it takes to read a page up to its exercises, text and code."""
    cells = "\n".join(cell.source for cell in read_source(source).cells)
    return round(len(cells.partition("\n## Exercises\n")[0].split()) / WORDS_A_MINUTE)


def is_compared(cell: Any) -> bool:
    """Whether nbval compares this cell's output, and so whether a change in it would be noticed."""
    return not {"nbval-ignore-output", "nbval-skip"} & set(cell.metadata.get("tags", []))


def sanitise(text: str) -> str:
    """Put in a text what nbval puts there before it compares."""
    for pattern, replacement in re.findall(r"^regex: (.*)$\n^replace: ?(.*)$", SANITISER.read_text(), re.MULTILINE):
        text = re.sub(pattern, replacement, text)
    return text


def sanitise_all(value: Any) -> Any:
    """Return outputs, as deep as they nest, with every text sanitised."""
    if isinstance(value, str):
        return sanitise(value)
    if isinstance(value, dict):
        return {key: sanitise_all(part) for key, part in value.items()}
    return [sanitise_all(part) for part in value] if isinstance(value, list) else value
