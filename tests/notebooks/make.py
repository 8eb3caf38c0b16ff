"""Run the notebooks' sources and write the executed notebooks: `python -m tests.notebooks.make [NUMBER ...]`.

Outputs that differ only in what the sanitiser hides (times, ports, UIDs) are left as they were, so a build without news
changes no file.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

from tests.notebooks.lab import lab
from tests.notebooks.pages import (
    GLOSSARY,
    NOTEBOOKS,
    code_cells,
    product,
    read_product,
    read_source,
    sanitise_all,
    sources,
)

CELL_TIMEOUT = 300
WIDGET = "application/vnd.jupyter.widget-view+json"


def execute(source: Path) -> Any:
    """Return the source as an executed notebook. Raises CellExecutionError when a cell fails that should not."""
    notebook = read_source(source)
    resources = {"metadata": {"path": str(NOTEBOOKS)}}
    client = NotebookClient(
        notebook,
        timeout=CELL_TIMEOUT,
        resources=resources,
        record_timing=False,
        coalesce_streams=True,
        store_widget_state=False,
    )
    client.execute()
    notebook.metadata.pop("language_info", None)
    leave_out_widgets(notebook)
    return notebook


def leave_out_widgets(notebook: Any) -> None:
    """Leave of every widget its text twin: without a kernel, JupyterLab would show an error in the widget's place."""
    for cell in code_cells(notebook):
        for output in cell.outputs:
            output.get("data", {}).pop(WIDGET, None)


def keep_equal_outputs(notebook: Any, earlier: Any) -> None:
    """Put back the earlier outputs of cells whose source is unchanged and whose output says the same."""
    known = {cell.source: cell.outputs for cell in code_cells(earlier)}
    for cell in code_cells(notebook):
        before = known.get(cell.source)
        if before is not None and sanitise_all(before) == sanitise_all(cell.outputs):
            cell["outputs"] = before


def main(numbers: list[str]) -> int:
    """Build the notebooks with these numbers, all of them if none is given; the glossary, which runs nothing, each
    time."""
    chosen = [source for source in sources() if not numbers or source.stem.split("-")[0] in numbers]
    if not chosen:
        print(f"No notebook has the number {' or '.join(numbers)}: give numbers such as 00 04.", file=sys.stderr)
        return 2
    nbformat.write(read_source(GLOSSARY), product(GLOSSARY))
    with lab():
        for source in chosen:
            target = product(source)
            try:
                notebook = execute(source)
            except CellExecutionError as error:
                print(f"{source.name}: a cell failed.\n{error}", file=sys.stderr)
                return 1
            if target.exists():
                keep_equal_outputs(notebook, read_product(target))
            nbformat.write(notebook, target)
            print(f"wrote {target.relative_to(NOTEBOOKS.parent)}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
