"""What every notebook keeps to: its source, the page template, and outputs that are compared."""

from __future__ import annotations

import ast
import importlib.util
import json
import re
import subprocess
from functools import cache
from pathlib import Path
from statistics import median
from typing import Any

import pytest

from tests.notebooks.pages import (
    GLOSSARY,
    NOTEBOOKS,
    code_cells,
    is_compared,
    product,
    read_product,
    read_source,
    reading_minutes,
    sanitise,
    sources,
)

each_notebook = pytest.mark.parametrize("source", sources(), ids=lambda source: source.stem)
OPENING = ("**What you will do.**", "**What you will learn.**", "**What you need.**", "**Time.**")
CLOSING = ("## What you proved", "## Exercises", "## What's next")


def code_cells_of(cells: list[Any]) -> list[Any]:
    return [cell for cell in cells if cell.cell_type == "code"]


def prose(source: Path) -> str:
    return "\n".join(cell.source for cell in read_source(source).cells if cell.cell_type == "markdown")


def test_every_product_has_a_source():
    assert [product(source) for source in (*sources(), GLOSSARY)] == sorted(NOTEBOOKS.glob("*.ipynb"))


@pytest.mark.parametrize("source", [*sources(), GLOSSARY], ids=lambda source: source.stem)
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


@pytest.mark.parametrize("source", [*sources(), GLOSSARY], ids=lambda source: source.stem)
def test_links_lead_to_notebooks_of_the_course_and_to_headings_in_them(source):
    for target in re.findall(r"\]\((?!https?:|#)([^)]+)\)", prose(source)):
        page, _, heading = target.partition("#")
        linked = source.with_name(page).with_suffix(".md")
        assert linked in (*sources(), GLOSSARY), target
        # JupyterLab's anchor of a heading is its text with dashes for blanks
        assert not heading or re.search(rf"^#+ {re.escape(heading.replace('-', ' '))}$", prose(linked), re.MULTILINE), (
            target
        )


@pytest.mark.parametrize("number", range(16))
def test_every_notebook_leads_to_the_next_and_back_to_the_one_before(number):
    pages = [source.stem for source in sources()]
    end = prose(sources()[number]).rpartition("## What's next")[2]
    assert number == 15 or f"({pages[number + 1]}.ipynb)" in end
    assert number == 0 or f"({pages[number - 1]}.ipynb)" in end.partition("Before: ")[2]


def test_the_first_page_has_a_map_of_the_others_with_their_times():
    first, *others = sources()
    row = r"^\| \[(\d\d): .*\]\((.*)\.ipynb\) \|.*\| (\d\d) \| (\d+) \|$"
    rows = re.findall(row, prose(first), re.MULTILINE)
    times = [re.search(r"\*\*Time\.\*\* (\d\d) minutes", prose(page)) for page in others]
    expected = [(page.stem[:2], page.stem, time and time[1]) for page, time in zip(others, times, strict=True)]
    assert [row[:3] for row in rows] == expected
    for page, (*_, whole, read) in zip(others, rows, strict=True):
        assert abs(int(read) - reading_minutes(page)) <= 1, f"{page.stem} takes {reading_minutes(page)} minutes to read"
        assert int(read) < int(whole), page.stem


def test_the_glossary_says_each_term_once_in_a_sentence_or_two_and_where_to_see_it():
    _, *entries = re.split(r"^## ", prose(GLOSSARY), flags=re.MULTILINE)
    terms = [entry.splitlines()[0] for entry in entries]
    assert terms == sorted(set(terms), key=str.casefold)
    assert len(terms) >= 40
    for entry in entries:
        text, _, page = entry.partition("\n")[2].strip().rpartition(" (")
        assert re.match(r"\[\d\d\]\(\d\d-[a-z-]+\.ipynb\)\)$", page), entry
        assert 15 < len(text) < 260
        assert 1 <= len(re.findall(r"[.?!]\)?(?= [A-Z(]|$)", text)) <= 4


ITALIC = re.compile(r"(?<![*\w])\*([^*\n]+)\*(?![*\w])")
ELSEWHERE = re.compile(r"\[\*[^*\n]+\*\]\(https[^)]*\)")
"""The title of a book, or the page of a tool."""


@cache
def terms() -> set[str]:
    """What the glossary explains: its headings, and the other names of things, which it sets in italics."""
    text = prose(GLOSSARY)
    return {term.casefold() for term in (*re.findall(r"^## (.+)$", text, re.MULTILINE), *ITALIC.findall(text))}


def singulars(word: str) -> set[str]:
    """A word, and what it may be the plural of."""
    word = word.casefold()
    return {word, word.removesuffix("s"), word.removesuffix("es"), re.sub("ies$", "y", word)}


@each_notebook
def test_what_stands_in_italics_is_a_term_that_the_glossary_explains(source):
    text = re.sub(r"`[^`\n]+`", "`code`", ELSEWHERE.sub("", re.sub(r"```.*?```", "", prose(source), flags=re.DOTALL)))
    unknown = {
        found for found in ITALIC.findall(re.sub(r"\]\([^)]*\)|\[(?=\*)", "", text)) if not singulars(found) & terms()
    }
    assert unknown == set()


def test_every_term_of_the_glossary_is_used():
    text = " ".join(source.read_text() for source in sources()).casefold()
    _, *entries = re.split(r"^## ", prose(GLOSSARY), flags=re.MULTILINE)
    for entry in entries:
        names = [entry.splitlines()[0], *ITALIC.findall(entry)]
        assert any(re.search(rf"\b{re.escape(name.casefold().removesuffix('y'))}", text) for name in names), names


def test_first_uses_of_terms_lead_to_the_glossary():
    linked = [re.findall(r"\]\(glossary\.ipynb#([^)]+)\)", prose(source)) for source in sources()]
    everything = [term for terms in linked for term in terms]
    assert len(everything) >= 25
    assert len(everything) == len(set(everything)), "a term is linked where it is used first, and only there"


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
def test_what_a_notebook_imports_of_this_package_is_there(source):
    lines = [line.strip() for cell in code_cells(read_source(source)) for line in cell.source.splitlines()]
    for line in lines:
        if not re.match(r"(from|import) k8sext", line):
            continue
        (statement,) = ast.parse(line).body
        if isinstance(statement, ast.ImportFrom):
            module = importlib.import_module(statement.module or "")
            for name in (alias.name for alias in statement.names):
                # a submodule is no attribute before it is imported
                assert hasattr(module, name) or importlib.util.find_spec(f"{statement.module}.{name}"), line
        elif isinstance(statement, ast.Import):
            for alias in statement.names:
                importlib.import_module(alias.name)


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
def test_the_last_cells_clear_away_what_is_there_though_only_half_of_the_notebook_was_run(source):
    cells = read_source(source).cells
    begin = next((number for number, cell in enumerate(cells) if "## Clean up" in cell.source.splitlines()), 0)
    end = next(number for number, cell in enumerate(cells) if "## What you proved" in cell.source.splitlines())
    lines = [line for cell in code_cells_of(cells[begin:end]) for line in cell.source.splitlines()]
    deletions = [line for line in lines if "kubectl delete" in line]
    assert all("--ignore-not-found" in line for line in deletions), deletions


@each_notebook
def test_a_command_can_be_pasted_into_a_terminal(source):
    """Where it names no variable of the notebook. Doubled braces would be IPython's way to write one."""
    cells = code_cells_of(read_source(source).cells)
    lines = [line for cell in cells if not cell.source.startswith("%%") for line in cell.source.splitlines()]
    commands = [found[1] for line in lines if (found := re.match(r"\s*(?:\w+ = )?!(.*)", line))]
    for command in commands:
        assert "{{" not in command, command
        done = subprocess.run(["bash", "-n", "-c", command], capture_output=True, text=True)
        assert not done.returncode, f"{command}: {done.stderr}"


@each_notebook
def test_the_rhythm_is_short_cells_each_with_words_before(source):
    """The exercises' cells are counted apart: they are the learner's own time, two for each exercise and no more than
    four exercises."""
    cells = read_source(source).cells
    exercises = next(number for number, cell in enumerate(cells) if "## Exercises" in cell.source.splitlines())
    assert len(code_cells_of(cells[exercises:])) <= 8
    code = code_cells_of(cells[:exercises])
    assert 14 <= len(code) <= 34
    lines = [[line for line in cell.source.splitlines() if not line.startswith("# needs: ")] for cell in code]
    assert median(map(len, lines)) <= 3
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


def test_what_kubectl_logs_of_a_watch_that_it_ends_is_no_output():
    noise = (
        'I1123 09:21:04.140182 28095 reflector.go:664] "Warning: watch ended with error" '
        'type="*unstructured.Unstructured" '
        'err="an error on the server (\\"unable to decode an event from the watch stream: context canceled\\")"\n'
    )
    assert sanitise(f"{noise}pod/hello condition met\n") == "pod/hello condition met\n"
    assert "gone" in sanitise("E1123 09:21:04.140182 28095 reflector.go:664] the server is gone\n")
