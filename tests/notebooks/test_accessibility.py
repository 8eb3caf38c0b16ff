"""What a reader who listens to the notebooks, or moves by headings, relies on."""

from __future__ import annotations

import re
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from tests.notebooks.pages import NOTEBOOKS, code_cells, read_product

each_notebook = pytest.mark.parametrize("path", sorted(NOTEBOOKS.glob("*.ipynb")), ids=lambda path: path.stem)
EMPTY_WORDS = {"here", "this", "link", "click here", "read more"}


def prose(path: Path) -> str:
    """The text of a notebook without its code blocks, in which a line may begin with #."""
    cells = [cell.source for cell in read_product(path).cells if cell.cell_type == "markdown"]
    return re.sub(r"^```.*?^```", "", "\n\n".join(cells), flags=re.MULTILINE | re.DOTALL)


def headings(text: str) -> list[tuple[int, str]]:
    return [(len(marks), words) for marks, words in re.findall(r"^(#+) +(.+)$", text, re.MULTILINE)]


def shown(path: Path) -> list[Any]:
    """The outputs of a notebook that hold data."""
    return [output for cell in code_cells(read_product(path)) for output in cell.outputs if "data" in output]


@each_notebook
def test_there_is_one_title_and_no_level_of_headings_is_left_out(path):
    levels = [level for level, _ in headings(prose(path))]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))


@each_notebook
def test_no_two_headings_are_the_same(path):
    """JupyterLab's links to headings, and lists of headings, tell them apart by their words."""
    words = [words for _, words in headings(prose(path))]
    assert len(words) == len(set(words))


@each_notebook
def test_every_picture_in_the_text_has_a_description_and_every_link_says_where_it_leads(path):
    for alt, target in re.findall(r"!\[([^\]]*)\]\(([^)]+)\)", prose(path)):
        assert len(alt) > 20, target
    assert "<img" not in prose(path)
    for words, target in re.findall(r"(?<!!)\[([^\]]+)\]\(([^)]+)\)", prose(path)):
        assert words.strip().lower() not in EMPTY_WORDS, target


@each_notebook
def test_every_picture_in_an_output_has_a_description_and_a_text_twin(path):
    for output in shown(path):
        for kind in set(output.data) & {"image/png", "image/jpeg", "image/svg+xml"}:
            assert len(output.metadata[kind]["alt"]) > 40
            assert len(output.data["text/plain"]) > 100


@each_notebook
def test_outputs_bring_no_headings_and_no_scripts_of_their_own(path):
    for output in shown(path):
        markup = "".join("".join(output.data.get(kind, "")) for kind in ("text/html", "image/svg+xml"))
        assert not re.search(r"<(h[1-6]|script)\b", markup)
        assert "<svg" not in markup or re.search(r'role="img".*<title>', markup)
