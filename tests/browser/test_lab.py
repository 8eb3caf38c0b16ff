"""The first notebook, opened and run as a reader would: in JupyterLab, in a browser."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

pytestmark = [pytest.mark.browser, pytest.mark.cluster]

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"


def test_the_lab_opens_on_the_first_notebook_and_all_its_cells_run(lab: str, page: Page) -> None:
    page.set_default_timeout(60_000)
    page.goto(lab)
    expect(page.locator(".jp-NotebookPanel:not(.lm-mod-hidden)")).to_be_visible()
    expect(page.get_by_role("tab", name="00-start-here.ipynb").first).to_be_visible()
    count = code_cells("00-start-here")

    expect(page.get_by_text("Python 3 (ipykernel) | Idle")).to_be_visible()
    page.get_by_role("menuitem", name="Edit", exact=True).click()
    page.get_by_text("Clear Outputs of All Cells", exact=True).click()
    last = page.locator(".jp-CodeCell .jp-InputPrompt").last
    expect(last).to_have_text("[ ]:")
    page.get_by_role("menuitem", name="Run", exact=True).click()
    page.get_by_text("Run All Cells", exact=True).click()

    expect(last).to_have_text(f"[{count}]:", timeout=180_000)
    output = page.locator(".jp-NotebookPanel:not(.lm-mod-hidden)")
    expect(output.locator('[data-mime-type="application/vnd.jupyter.error"]')).to_have_count(0)
    expect(output).to_contain_text("Connected: kubectl v1.37")
    expect(output).to_contain_text("k8sext-control-plane")


def code_cells(name: str) -> int:
    """How many code cells a notebook has."""
    cells = json.loads((NOTEBOOKS / f"{name}.ipynb").read_text())["cells"]
    return sum(cell["cell_type"] == "code" and bool("".join(cell["source"]).strip()) for cell in cells)
