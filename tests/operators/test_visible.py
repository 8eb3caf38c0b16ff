"""The controllers of notebook 05 under one lost event: the one that looks recovers, the other does not."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from k8sext.cluster import Cluster
from k8sext.notebook.stage import Stage
from k8sext.operators.visible import EdgeController, VisibleController
from tests.operators.conftest import MANIFESTS

pytestmark = pytest.mark.cluster
POD = "amsterdam-daily-1"


@pytest.fixture
def report(cluster: Cluster, namespace: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A namespace with a report in it, and $KUBECONFIG for a stage."""
    monkeypatch.setenv("KUBECONFIG", str(cluster.kubeconfig))
    cluster.kubectl("apply", "-n", namespace, "-f", str(MANIFESTS / "cr.yaml"))
    yield namespace
    cluster.kubectl("delete", "wr", "--all", "-n", namespace)


def lose_the_end_of_its_pod_and_wake_it(cluster: Cluster, stage: Stage, namespace: str, eventually) -> None:
    cluster.kubectl("wait", "-n", namespace, "--for=condition=Ready", "wr/amsterdam-daily", "--timeout=180s")
    with stage.loses(POD):
        cluster.kubectl("delete", "pod", POD, "-n", namespace)
    looked = len([moment for moment in stage.moments if moment.lane == "analyse"])
    cluster.kubectl("label", "wr", "amsterdam-daily", "-n", namespace, "woken=once")
    eventually(lambda: len([moment for moment in stage.moments if moment.lane == "analyse"]) > looked)


def test_a_controller_that_looks_recovers_from_a_lost_event(cluster: Cluster, report: str, eventually) -> None:
    stage = Stage(report, VisibleController)
    try:
        lose_the_end_of_its_pod_and_wake_it(cluster, stage, report, eventually)
        cluster.kubectl("wait", "-n", report, "--for=create", f"pod/{POD}", "--timeout=180s")
        eventually(lambda: stage.told().count(f"create pod {POD}") == 2)
    finally:
        stage.kill()


def test_a_controller_that_keeps_books_does_not(cluster: Cluster, report: str, eventually) -> None:
    stage = Stage(report, EdgeController)
    try:
        lose_the_end_of_its_pod_and_wake_it(cluster, stage, report, eventually)
        assert stage.told().count(f"create pod {POD}") == 1
        assert not cluster.kubectl("get", "pods", "-n", report, "-o", "name")
        controller = stage._controller
        assert isinstance(controller, EdgeController)
        assert [pod["metadata"]["name"] for pod in controller.books.values()] == [POD]
    finally:
        stage.kill()


def test_an_event_that_does_not_come_cannot_be_lost(cluster: Cluster, report: str) -> None:
    stage = Stage(report)
    try:
        with pytest.raises(TimeoutError, match="the pod nobody has not gone within"), stage.loses("nobody", within=0.1):
            pass
        stage.kill()
        with pytest.raises(ValueError, match="start\\(\\) it first"), stage.loses(POD):
            pass
        stage.start()
        (axes,) = stage.picture().axes
        assert [text.get_text().strip() for text in axes.texts] == ["not running"]
    finally:
        stage.kill()
