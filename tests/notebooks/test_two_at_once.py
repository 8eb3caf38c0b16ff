"""Two notebooks open at once: none takes away the kind WeatherReport while another one has reports."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from k8sext.cluster import Cluster, environment
from tests.notebooks.pages import NOTEBOOKS, read_source, sources
from tests.support.eventually import eventually
from tests.support.namespace import OwnNamespace, fresh_namespace

pytestmark = pytest.mark.cluster
CRD = "crd/weatherreports.k8s.packt.com"
MANIFESTS = NOTEBOOKS.parent / "manifests" / "operators"


@pytest.fixture
def other(cluster: Cluster) -> Iterator[OwnNamespace]:
    """A namespace with a report in it, as another notebook has one."""
    cluster.kubectl("apply", "-f", str(MANIFESTS / "crd.yaml"))
    cluster.kubectl("wait", "--for=condition=Established", CRD)
    # namespaces of tests before this one may still be on their way out
    eventually(lambda: not cluster.kubectl("get", "weatherreports", "--all-namespaces", "-o", "name"))
    with fresh_namespace(cluster, "two") as name:
        namespace = OwnNamespace(cluster, name)
        namespace.until(lambda: namespace.kubectl("apply", "-f", str(MANIFESTS / "cr.yaml")))
        yield namespace
        cluster.kubectl("delete", CRD, "--ignore-not-found")


def run(cluster: Cluster, script: str) -> subprocess.CompletedProcess[str]:
    own = {**os.environ, **environment(cluster)}
    return subprocess.run(["sh", "-ec", script], cwd=NOTEBOOKS, env=own, capture_output=True, text=True)


def cells(number: str) -> list[str]:
    (source,) = (source for source in sources() if source.stem.startswith(number))
    return [cell.source for cell in read_source(source).cells if cell.cell_type == "code"]


@pytest.mark.parametrize("number", ["03", "04"])
def test_a_notebook_that_removes_the_kind_stops_while_another_has_reports(
    cluster: Cluster, other: OwnNamespace, number: str
) -> None:
    first = cells(number)[1].removeprefix("%%sh\n")
    done = run(cluster, first)
    assert done.returncode == 1
    assert done.stdout == (
        f"Another notebook still needs the kind WeatherReport, in the namespace {other.name}: run its Clean up first.\n"
    )
    assert other.get("wr", "amsterdam-daily")
    other.kubectl("delete", "wr", "--all")
    assert run(cluster, first).returncode == 0


@pytest.mark.parametrize("number", ["03", "05", "06", "08", "15"])
def test_the_last_cells_take_the_kind_away_with_the_last_report(
    cluster: Cluster, other: OwnNamespace, number: str
) -> None:
    lines = [line for cell in cells(number) for line in cell.splitlines()]
    (line,) = (line.removeprefix("!") for line in lines if re.search(r"grep \. \|\| kubectl delete", line))
    assert run(cluster, line).returncode == 0
    assert other.get("wr", "amsterdam-daily")
    other.kubectl("delete", "wr", "--all")
    assert run(cluster, line).returncode == 0
    assert not cluster.kubectl("get", CRD, "--ignore-not-found")


def test_no_other_notebook_removes_it() -> None:
    for source in sources():
        text = Path(source).read_text()
        deletions = re.findall(
            r"^.*kubectl delete[^\n]*(?:resources/crd\.yaml|operators/crd\.yaml|crd/? ?weatherreports)[^\n]*",
            text,
            re.M,
        )
        kept = [line for line in deletions if "grep . ||" not in line and source.stem[:2] not in ("03", "04")]
        assert not kept, source.stem
