"""The picture of nodes, zones and pods, and the playground."""

from __future__ import annotations

import pytest

from k8sext.kube.objects import Json
from k8sext.notebook import placement
from k8sext.notebook.placement import Playground, Snapshot, describe, why
from tests.scheduling.building import node, pod, taint


def waiting(name: str, message: str) -> Json:
    condition = {"type": "PodScheduled", "status": "False", "message": message}
    return pod(name) | {"status": {"conditions": [condition]}}


def test_the_text_twin_names_zones_nodes_pods_and_why_others_wait() -> None:
    nodes = [node("a1", "a"), node("b1", "b", taints=[taint("example.com/gpu")])]
    pods = [pod("web", "a1"), waiting("late", "0/2 nodes are available: 2 Insufficient cpu. preemption: none.")]
    assert describe(Snapshot(nodes, pods, pods)).splitlines() == [
        "zone a",
        "  a1: web",
        "zone b",
        "  b1 [gpu:NoSchedule]: -",
        "waiting: late: 0/2 nodes are available: 2 Insufficient cpu",
    ]


def test_a_pod_that_no_scheduler_has_seen_says_so() -> None:
    assert why(pod("p")) == "no scheduler has looked at it"


def test_the_picture_is_a_png_with_alt_text(monkeypatch: pytest.MonkeyPatch) -> None:
    pods = [pod("web", "a1")]
    monkeypatch.setattr(placement, "read_snapshot", lambda namespace: Snapshot([node("a1", "a")], pods, pods))
    bundle, metadata = placement.placement("demo")._repr_mimebundle_()
    assert bundle["image/png"].startswith(b"\x89PNG")
    assert metadata["image/png"]["alt"].startswith("Pods of the namespace demo on the nodes of the cluster.")


def test_the_playground_judges_again_whenever_a_field_moves(monkeypatch: pytest.MonkeyPatch) -> None:
    nodes = [node("a1", "a"), node("b1", "b"), node("gpu", "b", taints=[taint("gpu")])]
    monkeypatch.setattr(placement, "read_snapshot", lambda namespace: Snapshot(nodes, [], []))
    playground = Playground("demo")
    assert set(playground.verdict.points) == {"a1", "b1"}
    playground.zone.value = "b"
    assert set(playground.verdict.points) == {"b1"}
    playground.tolerate.value = True
    assert set(playground.verdict.points) == {"b1", "gpu"}
    playground.cpu.value = 5
    assert repr(playground).count("NodeResourcesFit: Insufficient cpu") == 2
    assert "text/plain" in playground._repr_mimebundle_()
