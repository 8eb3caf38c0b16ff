"""What every notebook keeps to: its source, the page template, and outputs that are compared."""

from __future__ import annotations

import json
import re
from pathlib import Path
from statistics import median

import pytest

from tests.notebooks.pages import NOTEBOOKS, code_cells, is_compared, product, read_product, read_source, sources

each_notebook = pytest.mark.parametrize("source", sources(), ids=lambda source: source.stem)
OPENING = ("**What you will do.**", "**What you will learn.**", "**What you need.**", "**Time.**")
CLOSING = ("## What you proved", "## Exercises", "## What's next")


def prose(source: Path) -> str:
    return "\n".join(cell.source for cell in read_source(source).cells if cell.cell_type == "markdown")


def test_every_product_has_a_source():
    assert [product(source) for source in sources()] == sorted(NOTEBOOKS.glob("*.ipynb"))


@each_notebook
def test_source_and_product_have_the_same_cells(source):
    expected, found = read_source(source).cells, read_product(product(source)).cells
    assert [(cell.cell_type, cell.source, cell.metadata) for cell in found] == [
        (cell.cell_type, cell.source, cell.metadata) for cell in expected
    ], "run `make notebooks`"


@each_notebook
def test_every_code_cell_was_run_in_order_with_the_standard_kernel(source):
    notebook = read_product(product(source))
    assert notebook.metadata.kernelspec.name == "python3"
    assert [cell.execution_count for cell in code_cells(notebook)] == list(range(1, len(code_cells(notebook)) + 1))


@each_notebook
def test_only_cells_that_say_so_fail(source):
    for cell in code_cells(read_product(product(source))):
        failed = any(output.output_type == "error" for output in cell.outputs)
        assert failed == ("raises-exception" in cell.metadata.get("tags", [])), cell.source


@each_notebook
def test_no_output_has_carriage_returns_or_a_path_of_the_machine_that_made_it(source):
    outputs = json.dumps([cell.outputs for cell in code_cells(read_product(product(source)))])
    assert "\\r" not in outputs
    assert not re.search(r"/(home|root|tmp|work)/", outputs)


@each_notebook
def test_the_page_keeps_to_the_template(source):
    headings = re.findall(r"^(#+) ", prose(source), re.MULTILINE)
    assert headings.count("#") == 1
    assert headings[0] == "#"
    places = [prose(source).find(part) for part in OPENING + CLOSING]
    assert -1 not in places
    assert places == sorted(places)
    assert re.search(r"\*\*Time\.\*\* \d\d minutes\.", prose(source))
    assert prose(source).count("<details>") >= 2


@each_notebook
def test_links_lead_to_notebooks_of_the_course_and_to_headings_in_them(source):
    for target in re.findall(r"\]\((?!https?:|#)([^)]+)\)", prose(source)):
        page, _, heading = target.partition("#")
        linked = source.with_name(page).with_suffix(".md")
        assert linked in sources(), target
        # JupyterLab's anchor of a heading is its text with dashes for blanks
        assert not heading or re.search(rf"^#+ {re.escape(heading.replace('-', ' '))}$", prose(linked), re.MULTILINE), (
            target
        )


def test_the_summary_names_every_notebook_and_no_file_that_is_not_there():
    text = prose(NOTEBOOKS / "source" / "15-summary.md")
    parts = text[text.index("## The chapter, part by part") : text.index("## Exercises")]
    assert set(re.findall(r"\((\d\d)-", parts)) == {source.stem[:2] for source in sources()} - {"00", "15"}
    for file in re.findall(r"`((?:k8sext|manifests)/[^`]+)`", parts):
        assert (NOTEBOOKS.parent / file).exists(), file


@each_notebook
def test_a_notebook_reads_no_source_of_the_checkout(source):
    """A learner who installed the package has the notebooks and manifests, and nothing else of it."""
    text = "\n".join(cell.source for cell in read_source(source).cells if cell.cell_type == "code")
    assert set(re.findall(r"\.\./(\w+)", text)) <= {"manifests"}


@each_notebook
def test_every_figure_has_alt_text_and_a_text_twin(source):
    for cell in code_cells(read_product(product(source))):
        for output in cell.outputs:
            if "image/png" in output.get("data", {}):
                assert len(output.metadata["image/png"]["alt"]) > 40
                assert len(output.data["text/plain"]) > 100


@each_notebook
def test_a_widget_leaves_its_text_twin_and_no_state(source):
    notebook = read_product(product(source))
    assert "widgets" not in notebook.metadata
    for output in (output for cell in code_cells(notebook) for output in cell.outputs if "data" in output):
        assert not [kind for kind in output.data if "widget" in kind]
        assert output.data["text/plain"]


@each_notebook
def test_the_rhythm_is_short_cells_each_with_words_before(source):
    cells = read_source(source).cells
    code = [cell for cell in cells if cell.cell_type == "code"]
    assert 14 <= len(code) <= 34
    assert median(cell.source.count("\n") + 1 for cell in code) <= 3
    assert cells[0].cell_type == "markdown"


@each_notebook
def test_a_cell_whose_output_is_not_compared_asserts_something(source):
    for cell in code_cells(read_source(source)):
        assert is_compared(cell) or "assert" in cell.source


def test_outputs_are_compared_in_four_of_five_cells(record_property):
    cells = [cell for source in sources() for cell in code_cells(read_source(source))]
    share = sum(map(is_compared, cells)) / len(cells)
    record_property("share of compared cells", share)
    assert share >= 0.8
