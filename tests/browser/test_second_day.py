"""The morning after: the cluster is stopped, the kernel gone, the notebook still open; and two notebooks at once."""

from __future__ import annotations

import subprocess
import sys

import pytest
from playwright.sync_api import BrowserContext, Locator, Page, expect

from tests.browser.reader import (
    RUN,
    Lab,
    check_cells,
    code_cells,
    end_kernels,
    open_notebook,
    saved,
    start_all,
    wait_for_all,
)

pytestmark = [pytest.mark.browser, pytest.mark.cluster]
ALONE = "01-extension-points.ipynb"
ASKS = 11
"""A cell of it that asks the cluster."""
TOGETHER = ("05-controllers.ipynb", "06-operators.ipynb")


def run_cell(page: Page, panel: Locator, number: int) -> Locator:
    """Run one code cell, and return its output when it is done."""
    cell = panel.locator(".jp-CodeCell").nth(number)
    cell.locator(".jp-InputArea-editor").click()
    page.keyboard.press("Control+Enter")
    expect(cell.locator(".jp-InputPrompt")).to_have_text("[*]:")
    expect(cell.locator(".jp-InputPrompt")).not_to_have_text("[*]:", timeout=RUN)
    return cell.locator(".jp-OutputArea")


def take_the_cluster_down() -> None:
    subprocess.run([sys.executable, "-m", "k8sext", "down", "--name", "browser"], check=True, capture_output=True)


def test_what_the_reader_wrote_is_there_in_the_morning_and_the_first_cell_brings_the_cluster_back(
    lab: Lab, page: Page
) -> None:
    try:
        panel = open_notebook(lab, page, ALONE)
        expect(run_cell(page, panel, 0)).to_contain_text("Connected: kubectl v1.37")
        panel.locator(".jp-CodeCell").nth(1).locator(".jp-InputArea-editor").click()
        page.keyboard.press("Control+End")
        page.keyboard.insert_text("\n!echo mine of last night")
        page.keyboard.press("Control+s")
        expect(run_cell(page, panel, 1)).to_contain_text("mine of last night")

        end_kernels(lab, page)
        take_the_cluster_down()

        panel = open_notebook(lab, page, ALONE)
        expect(panel.locator(".jp-CodeCell").nth(1)).to_contain_text("!echo mine of last night")
        expect(run_cell(page, panel, ASKS)).to_contain_text("run this notebook's first cell, %load_ext k8sext")
        expect(run_cell(page, panel, 0)).to_contain_text("Connected: kubectl v1.37")
        expect(run_cell(page, panel, 1)).to_contain_text("mine of last night")
    finally:
        end_kernels(lab, page)


def test_a_cluster_that_goes_away_under_a_notebook_comes_back_with_the_first_cell(lab: Lab, page: Page) -> None:
    try:
        panel = open_notebook(lab, page, ALONE)
        expect(run_cell(page, panel, 0)).to_contain_text("Connected: kubectl v1.37")
        take_the_cluster_down()
        expect(run_cell(page, panel, ASKS)).to_contain_text("first cell")
        expect(run_cell(page, panel, 0)).to_contain_text("Connected: kubectl v1.37")
        expect(run_cell(page, panel, ASKS)).not_to_contain_text("first cell")
    finally:
        end_kernels(lab, page)


def test_two_notebooks_side_by_side_do_not_disturb_each_other(lab: Lab, page: Page, context: BrowserContext) -> None:
    pages = [page, context.new_page()]
    try:
        panels = [open_notebook(lab, one, name) for one, name in zip(pages, TOGETHER, strict=True)]
        counts = [code_cells(lab.folder / name) for name in TOGETHER]
        for one, panel in zip(pages, panels, strict=True):
            start_all(one, panel)
        for panel, count in zip(panels, counts, strict=True):
            wait_for_all(panel, count)
        for one, name, count in zip(pages, TOGETHER, counts, strict=True):
            check_cells(saved(lab, one, name, count))
    finally:
        end_kernels(lab, page)
        pages[1].close()
