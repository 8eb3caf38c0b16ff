"""What a reader does in JupyterLab: open a notebook, run all of it, look at what came of it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from playwright.sync_api import Locator, Page, expect

from tests.support.eventually import eventually

START, RUN = 90_000, 420_000


@dataclass(frozen=True)
class Lab:
    """A running JupyterLab: the address it names, its root, its token, and the folder of its notebooks."""

    first: str
    root: str
    token: str
    folder: Path


def open_notebook(lab: Lab, page: Page, name: str) -> Locator:
    """Open a notebook and wait until its kernel is there; return its panel."""
    page.set_default_timeout(START)
    page.goto(f"{lab.root}/lab/tree/{lab.folder.name}/{name}?reset&token={lab.token}")
    panel = page.locator(".jp-NotebookPanel:not(.lm-mod-hidden)")
    expect(panel).to_be_visible(timeout=START)
    expect(page.get_by_text("Python 3 (ipykernel) | Idle")).to_be_visible(timeout=START)
    return panel


def run_all(page: Page, panel: Locator, code_cells: int) -> None:
    """Clear all outputs, run all cells, and wait until the last one is done."""
    start_all(page, panel)
    wait_for_all(panel, code_cells)


def start_all(page: Page, panel: Locator) -> None:
    """Clear all outputs and begin to run all cells."""
    page.get_by_role("menuitem", name="Edit", exact=True).click()
    page.get_by_text("Clear Outputs of All Cells", exact=True).click()
    expect(_last_prompt(panel)).to_have_text("[ ]:")
    page.get_by_role("menuitem", name="Run", exact=True).click()
    page.get_by_text("Run All Cells", exact=True).click()


def wait_for_all(panel: Locator, code_cells: int) -> None:
    """Wait until the last cell is done."""
    expect(_last_prompt(panel)).to_have_text(f"[{code_cells}]:", timeout=RUN)


def check_cells(cells: list[dict[str, Any]]) -> None:
    """Only those cells failed that say so."""
    for cell in cells:
        failed = [output for output in cell["outputs"] if output["output_type"] == "error"]
        assert bool(failed) == ("raises-exception" in cell["metadata"].get("tags", [])), (cell["source"], failed)


def saved(lab: Lab, page: Page, name: str, code_cells: int) -> list[dict[str, Any]]:
    """Save the notebook and return its code cells as they were run."""
    file = lab.folder / name
    page.keyboard.press("Control+s")

    def written() -> bool:
        return [cell["execution_count"] for cell in _code(file)] == list(range(1, code_cells + 1))

    eventually(written, within=60, not_yet=ValueError)  # the server writes it in place
    return _code(file)


def end_kernels(lab: Lab, page: Page) -> None:
    """End all kernels: with sixteen of them open a small machine has no memory left."""
    headers = {"Authorization": f"token {lab.token}"}
    for session in page.request.get(f"{lab.root}/api/sessions", headers=headers).json():
        page.request.delete(f"{lab.root}/api/sessions/{session['id']}", headers=headers)


def code_cells(file: Path) -> int:
    """How many code cells a notebook has that do something."""
    return len(_code(file))


def _last_prompt(panel: Locator) -> Locator:
    return panel.locator(".jp-CodeCell .jp-InputPrompt").last


def _code(file: Path) -> list[dict[str, Any]]:
    cells = json.loads(file.read_text())["cells"]
    return [cell for cell in cells if cell["cell_type"] == "code" and "".join(cell["source"]).strip()]
