"""The notebooks, opened and run as a reader would: in JupyterLab, in a browser."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.browser.reader import Lab, check_cells, code_cells, end_kernels, open_notebook, run_all, saved

pytestmark = [pytest.mark.browser, pytest.mark.cluster]

NOTEBOOKS = sorted((Path(__file__).parents[2] / "notebooks").glob("[0-9][0-9]-*.ipynb"))
ALWAYS = ("00-start-here", "01-extension-points")


def test_the_lab_opens_on_the_first_notebook_with_its_contents_beside_it_and_asks_nothing(lab: Lab, page: Page) -> None:
    page.set_default_timeout(90_000)
    page.goto(lab.first)
    expect(page.locator(".jp-NotebookPanel:not(.lm-mod-hidden)")).to_be_visible()
    expect(page.get_by_role("tab", name="00-start-here.ipynb").first).to_be_visible()
    expect(page.locator(".jp-TableOfContents").get_by_text("A controller at work")).to_be_visible()
    expect(page.get_by_text("Python 3 (ipykernel) | Idle")).to_be_visible()
    expect(page.get_by_text("get notified about official Jupyter news")).to_have_count(0)
    expect(page.locator(".jp-Dialog")).to_have_count(0)
    end_kernels(lab, page)


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_all_cells_of_a_notebook_run_and_only_those_fail_that_say_so(
    lab: Lab, page: Page, notebook: Path, request: pytest.FixtureRequest
) -> None:
    if notebook.stem not in ALWAYS and not request.config.getoption("--long"):
        pytest.skip("in a browser only with --long; nbval runs it every time")
    count = code_cells(notebook)
    try:
        panel = open_notebook(lab, page, notebook.name)
        run_all(page, panel, count)
        expect(panel).to_contain_text("Connected: kubectl v1.37")
        expect(panel.get_by_text("Error displaying widget")).to_have_count(0)
        check_cells(saved(lab, page, notebook.name, count))
    finally:
        end_kernels(lab, page)
