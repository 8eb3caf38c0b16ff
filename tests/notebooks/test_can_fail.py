"""Are the notebooks' outputs worth comparing? Each example is broken once, in a copy of its notebook, and nbval has to
see it.

The break is put in front of the copy's first cell, or in place of a command in it; the copy ends where the break must
have shown. Minutes long, so only with --long.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import nbformat
import pytest

from tests.notebooks.__main__ import NBVAL
from tests.notebooks.lab import lab
from tests.notebooks.pages import NOTEBOOKS, read_product

TOLERATES_EVERYTHING = """
from k8sext.scheduling import filters
filters.tolerates = lambda pod, taint, effects=(): True
"""
ALLOWS_EVERYTHING = """
from k8sext.admission import engine
plain = engine._admission_answer
engine._admission_answer = lambda request, denied=None, patch=None: plain(request, None, patch)
"""
FORGETS_UPDATES = """
from k8sext.operators.controller import Controller
plain = Controller._handle_report
def new_ones_only(self, change, report):
    if report["metadata"]["generation"] == 1:
        plain(self, change, report)
Controller._handle_report = new_ones_only
"""
NO_LIMIT = """
from k8sext.admission.initializers.examples import limit
limit.MOST = 1000
"""
NEVER_PUBLISHES = """
import sys
from k8sext.infra.csi import node
from k8sext.infra.csi.proto import csi_pb2
async def forgets(self, request, context):
    return csi_pb2.NodePublishVolumeResponse()
node.Node.NodePublishVolume = forgets
sys.argv[0] = "csi"
from runpy import run_module
run_module("k8sext.infra.csi", run_name="__main__")
"""


@dataclass(frozen=True)
class Break:
    """One way to break one notebook, and the cell in which it must show."""

    name: str
    notebook: str
    shows: str
    code: str = ""
    command: tuple[str, str] = ("", "")


BREAKS = (
    Break(
        "a definition without limits",
        "04-custom-resources",
        shows='{"spec":{"days":0}}',
        command=(
            "kubectl apply -f ../manifests/resources/crd.yaml",
            "sed 's/minimum: 1$/minimum: 0/' ../manifests/resources/crd.yaml | kubectl apply -f -",
        ),
    ),
    Break("a controller that forgets updates", "05-controllers", shows='"city":"Paris"', code=FORGETS_UPDATES),
    Break(
        "a webhook that allows everything",
        "08-admission-webhooks",
        shows="s/Amsterdam/Atlantis/",
        code=ALLOWS_EVERYTHING,
    ),
    Break("an initializer without its limit", "09-initializers", shows="--replicas=9", code=NO_LIMIT),
    Break(
        "a filter that tolerates every taint",
        "11-custom-schedulers",
        shows='explain(pod("big"',
        code=TOLERATES_EVERYTHING,
    ),
    Break(
        "a driver that forgets to publish",
        "14-container-storage",
        shows="buy milk",
        command=("{sys.executable} -m k8sext.infra.csi", "{sys.executable} forgets.py"),
    ),
)


@pytest.fixture
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    """Where the copy stands: beside the manifests, as the notebooks do. The cluster is new, since a broken run cleans
    up nothing."""
    if not request.config.getoption("--long"):
        pytest.skip("breaks every example only with --long")
    (tmp_path / "manifests").symlink_to(NOTEBOOKS.parent / "manifests")
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "notebooks" / "forgets.py").write_text(NEVER_PUBLISHES)
    with lab():
        yield tmp_path / "notebooks"


@pytest.mark.cluster
@pytest.mark.parametrize("broken", BREAKS, ids=lambda broken: broken.name)
def test_a_broken_example_is_seen(folder, broken):
    copy = read_product(NOTEBOOKS / f"{broken.notebook}.ipynb")
    last = next(
        number for number, cell in enumerate(copy.cells) if cell.cell_type == "code" and broken.shows in cell.source
    )
    copy.cells = copy.cells[: last + 1]
    first = next(cell for cell in copy.cells if cell.cell_type == "code")
    first.source = broken.code + first.source
    for cell in copy.cells:
        cell.source = cell.source.replace(*broken.command) if broken.command[0] else cell.source
    path = folder / f"{broken.notebook}.ipynb"
    nbformat.write(copy, path)
    command = [sys.executable, "-m", "pytest", "-x", "-p", "no:cacheprovider", *NBVAL, str(path)]
    done = subprocess.run(command, cwd=NOTEBOOKS.parent, capture_output=True, text=True)
    assert done.returncode == 1, done.stdout
    assert "1 failed" in done.stdout
    assert broken.shows in done.stdout, done.stdout
