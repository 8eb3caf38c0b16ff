"""Room on the node, and the quantities it is measured in."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from k8sext.infra.kubelet.admission import check, requests
from k8sext.kube.quantity import divide, parse
from tests.infra.kubelet.building import container, pod, sidecar

CAPACITY = {"cpu": "4", "memory": "8Gi", "pods": "3"}


def wants(cpu: str, make: Any = container, name: str = "main") -> dict[str, Any]:
    return make(name, resources={"requests": {"cpu": cpu}})


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("2", 2),
        ("500m", Decimal("0.5")),
        ("64Mi", 64 * 1024**2),
        ("1k", 1000),
        ("1.5Gi", 1.5 * 1024**3),
        ("1e3", 1000),
        ("100n", Decimal("1e-7")),
    ],
)
def test_quantities_are_read(text: str, number: Any) -> None:
    assert parse(text) == number


@pytest.mark.parametrize("text", ["", "two", "1KB", "Mi", "1 Gi"])
def test_what_is_no_quantity_is_said_to_be_none(text: str) -> None:
    with pytest.raises(ValueError, match="is no quantity"):
        parse(text)


def test_a_divided_quantity_is_rounded_up() -> None:
    assert (divide("1500m"), divide("1Gi", "1Mi"), divide("1", "1m")) == (2, 1024, 1000)


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


def test_init_containers_count_by_the_largest_and_sidecars_all_along() -> None:
    of = pod(wants("1"), init=(wants("1", sidecar, "proxy"), wants("3", name="big"), wants("1", name="small")))
    assert requests(of) == {"cpu": 4}
    assert requests(pod(wants("1"), init=(wants("1", sidecar, "proxy"),))) == {"cpu": 2}
