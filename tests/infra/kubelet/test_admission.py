"""Room on the node."""

from __future__ import annotations

from typing import Any

import pytest

from k8sext.infra.kubelet.pod.admission import check
from k8sext.kube.objects import Json
from k8sext.scheduling import explain
from tests.infra.kubelet.building import container, pod, sidecar

CAPACITY = {"cpu": "4", "memory": "8Gi", "pods": "3"}


def wants(cpu: str, make: Any = container, name: str = "main") -> Json:
    return make(name, resources={"requests": {"cpu": cpu}})


def test_a_pod_that_fits_is_let_in() -> None:
    assert check(pod(wants("1")), [pod(wants("3"))], CAPACITY) is None


def test_a_pod_that_does_not_fit_is_told_the_numbers() -> None:
    rejection = check(pod(wants("500m")), [pod(wants("3900m"))], CAPACITY)
    assert rejection is not None
    assert rejection.reason == "OutOfcpu"
    assert rejection.message == "Node didn't have enough resource: cpu, requested: 500, used: 3900, capacity: 4000"


def test_one_pod_too_many_is_out_of_pods() -> None:
    rejection = check(pod(), [pod()] * 3, CAPACITY)
    assert rejection is not None
    assert rejection.reason == "OutOfpods"


def test_a_resource_the_node_has_never_heard_of_is_out() -> None:
    rejection = check(pod(container("main", resources={"requests": {"example.com/gpu": "1"}})), [], CAPACITY)
    assert rejection is not None
    assert rejection.reason == "OutOfexample.com/gpu"


@pytest.mark.parametrize(
    ("wanted", "cpu"),
    [
        (pod(wants("3")), 3000),
        (pod(wants("1"), resources={"requests": {"cpu": "3"}}), 3000),
        (pod(wants("1"), wants("1", name="other"), resources={"requests": {"cpu": "3", "memory": "1Gi"}}), 3000),
        (pod(wants("1"), overhead={"cpu": "2"}), 3000),
        (pod(wants("1"), init=(wants("2", sidecar, "proxy"),)), 3000),
        (pod(wants("1"), init=(wants("1", sidecar, "proxy"), wants("2", name="big"))), 3000),
    ],
)
def test_the_node_counts_as_the_scheduler_does(wanted: Json, cpu: int) -> None:
    """A pod fills a node of as much CPU as it requests: with less it is refused by both, with as much taken by both."""
    for capacity, fits in ((cpu, True), (cpu - 1, False)):
        offered = CAPACITY | {"cpu": f"{capacity}m"}
        node = {"metadata": {"name": "n"}, "status": {"allocatable": offered}}
        rejection = check(wanted, [], offered)
        assert explain(wanted, [node]).decision.node == ("n" if fits else None)
        assert (rejection and rejection.reason) == (None if fits else "OutOfcpu")
