"""A pytest plugin for strict nbval runs: `pytest -p tests.notebooks.nbval_plugin --nbval ... notebooks/`.

nbval's cells do not run fixtures, so the cluster is started in a hook, before the first kernel inherits the
environment. At the end the plugin prints in how many cells outputs were compared; after a failure it shows what the
cluster looked like.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator
from contextlib import ExitStack
from typing import Any

import pytest

from k8sext.cluster import ClusterError
from k8sext.notebook.needs import missing, needs_of
from tests.notebooks import results
from tests.notebooks.lab import lab

DIAGNOSTICS = (
    ("get", "nodes,namespaces,customresourcedefinitions"),
    ("get", "pods", "--all-namespaces", "--output=wide"),
    ("get", "events", "--all-namespaces", "--sort-by=.metadata.creationTimestamp"),
)
LAST_LINES = 30
CELL = "notebook cell"
"""The property of a cell's report that says: provider, notebook, whether its output was compared, why it was skipped
(or None)."""
MAY_BE_MISSING = {
    "embedded": ("namespaces", "oci"),
    "kind": ("namespaces", "oci", "embedded-nodes"),
    "existing": ("namespaces", "oci", "embedded-nodes", "nodes", "callback"),
}
"""Needs (k8sext.notebook.needs) whose cells may be skipped, by the cluster's provider; any other cell must run."""


class NotebookLab:
    """The cluster of one nbval run; under xdist, of one of the processes side by side."""

    def __init__(self) -> None:
        self._open = ExitStack()
        self._diagnosed: set[str] = set()

    def pytest_sessionstart(self) -> None:
        """Start the cluster."""
        self.cluster = self._open.enter_context(lab())

    def pytest_collection_modifyitems(self, items: list[Any]) -> None:
        """Skip the cells that need what is missing here, and note for the report what becomes of each cell."""
        for cell in items:
            if type(cell).__name__ != "IPyNbCell":
                continue
            need = needs_of(cell.cell.source)
            reason = missing(need) if need and need in MAY_BE_MISSING[self.cluster.provider] else None
            if reason:
                cell.options["skip"] = True
            compared = bool(cell.options["check"] and not cell.options["skip"])
            cell.user_properties += [(CELL, [self.cluster.provider, cell.path.stem, compared, reason])]

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self, item: Any) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """Add the cluster's state to the first failure of each notebook."""
        report = yield
        if report.failed and str(item.path) not in self._diagnosed:
            self._diagnosed.add(str(item.path))
            report.sections.append(("the cluster at that moment", self._diagnostics()))
        return report

    def pytest_sessionfinish(self) -> None:
        """Stop the cluster."""
        self._open.close()

    def _diagnostics(self) -> str:
        parts = []
        for arguments in DIAGNOSTICS:
            try:
                lines = self.cluster.kubectl(*arguments).splitlines()[-LAST_LINES:]
            except ClusterError as error:
                lines = [str(error)]
            parts.append("\n".join([f"$ kubectl {' '.join(arguments)}", *lines]))
        return "\n\n".join(parts)


class NotebookReport:
    """What became of the cells, from the reports of all processes."""

    def __init__(self) -> None:
        self._outcomes: dict[str, dict[str, Counter[str]]] = {}
        self._compared: Counter[bool] = Counter()
        self._skipped: Counter[str] = Counter()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Count a cell."""
        told = dict(report.user_properties).get(CELL)
        if not isinstance(told, list) or not (report.when == "call" or report.skipped or report.failed):
            return
        provider, notebook, compared, reason = told
        self._outcomes.setdefault(provider, {}).setdefault(notebook, Counter())[report.outcome] += 1
        self._compared[compared] += 1
        if reason:
            self._skipped[reason] += 1

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        """Print the share of compared cells."""
        if cells := self._compared.total():
            compared = self._compared[True]
            terminalreporter.write_line(
                f"notebooks: outputs compared in {compared} of {cells} code cells ({compared / cells:.0%})"
            )
        for reason, count in self._skipped.items():
            terminalreporter.write_line(f"notebooks: {count} cells skipped, as this is missing here: {reason}")

    def pytest_sessionfinish(self) -> None:
        """Write down what passed."""
        for provider, outcomes in self._outcomes.items():
            results.write(provider, outcomes)


def pytest_configure(config: pytest.Config) -> None:
    """Join in where notebooks are really run: under xdist, the cells run in the workers and the report is the
    controller's."""
    if (config.getoption("nbval") or config.getoption("nbval_lax")) and not config.option.collectonly:
        worker, controller = hasattr(config, "workerinput"), bool(config.getoption("numprocesses", None))
        if worker or not controller:
            config.pluginmanager.register(NotebookLab(), "notebook-lab")
        if not worker:
            config.pluginmanager.register(NotebookReport(), "notebook-report")
