"""A pytest plugin for strict nbval runs: `pytest -p tests.notebooks.nbval_plugin --nbval ... notebooks/`.

nbval's cells do not run fixtures, so the cluster is started in a hook, before the first kernel inherits the environment. At
the end the plugin prints in how many cells outputs were compared; after a failure it shows what the cluster looked like.
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
MAY_BE_MISSING = {
    "embedded": ("namespaces", "oci"),
    "kind": ("namespaces", "oci", "embedded-nodes"),
    "existing": ("namespaces", "oci", "embedded-nodes", "nodes", "callback"),
}
"""Needs (k8sext.notebook.needs) whose cells may be skipped, by the cluster's provider; any other cell must run."""


class NotebookLab:
    """The cluster of one nbval run, and what its report says."""

    def __init__(self) -> None:
        self._open = ExitStack()
        self._cells: list[Any] = []
        self._diagnosed: set[str] = set()
        self._skipped: Counter[str] = Counter()
        self._outcomes: dict[str, Counter[str]] = {}

    def pytest_sessionstart(self) -> None:
        """Start the cluster."""
        self.cluster = self._open.enter_context(lab())

    def pytest_collection_modifyitems(self, items: list[Any]) -> None:
        """Remember the notebook cells."""
        self._cells = [item for item in items if type(item).__name__ == "IPyNbCell"]
        for cell in self._cells:
            need = needs_of(cell.cell.source)
            if need and need in MAY_BE_MISSING[self.cluster.provider] and missing(need):
                cell.options["skip"] = True
                self._skipped[need] += 1

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self, item: Any) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """Add the cluster's state to the first failure of each notebook."""
        report = yield
        if report.when == "call" or report.skipped or report.failed:
            self._outcomes.setdefault(item.path.stem, Counter())[report.outcome] += 1
        if report.failed and str(item.path) not in self._diagnosed:
            self._diagnosed.add(str(item.path))
            report.sections.append(("the cluster at that moment", self._diagnostics()))
        return report

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        """Print the share of compared cells."""
        compared = sum(bool(cell.options["check"] and not cell.options["skip"]) for cell in self._cells)
        if self._cells:
            share = compared / len(self._cells)
            terminalreporter.write_line(
                f"notebooks: outputs compared in {compared} of {len(self._cells)} code cells ({share:.0%})"
            )
        for need, count in self._skipped.items():
            terminalreporter.write_line(f"notebooks: {count} cells skipped, as this is missing here: {missing(need)}")

    def pytest_sessionfinish(self) -> None:
        """Write down what passed, and stop the cluster."""
        results.write(self.cluster.provider, self._outcomes)
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


def pytest_configure(config: pytest.Config) -> None:
    """Join in where notebooks are really run."""
    if (config.getoption("nbval") or config.getoption("nbval_lax")) and not config.option.collectonly:
        config.pluginmanager.register(NotebookLab(), "notebook-lab")
