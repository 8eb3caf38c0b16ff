"""What a pod takes of its node."""

from __future__ import annotations

import pytest

from k8sext.kube.objects import Json
from k8sext.kube.pod import requests


def wants(cpu: str, **more: str) -> Json:
    return {"resources": {"requests": {"cpu": cpu, **more}}}


def sidecar(cpu: str) -> Json:
    return wants(cpu) | {"restartPolicy": "Always"}


@pytest.mark.parametrize(
    ("spec", "cpu"),
    [
        ({"containers": [wants("1"), wants("500m")]}, 1500),
        ({"containers": [wants("1")], "initContainers": [wants("3"), wants("2")]}, 3000),
        ({"containers": [wants("1")], "initContainers": [sidecar("1")]}, 2000),
        ({"containers": [wants("1")], "initContainers": [sidecar("1"), wants("3")]}, 4000),
        ({"containers": [wants("1")], "initContainers": [wants("3"), sidecar("1")]}, 3000),
        ({"containers": [wants("1")], "initContainers": [sidecar("1"), wants("3"), wants("1")]}, 4000),
        ({"containers": [wants("1")], "overhead": {"cpu": "250m"}}, 1250),
        ({"containers": [wants("1")], "resources": {"requests": {"cpu": "5"}}}, 5000),
        ({"containers": [wants("1")], "resources": {"requests": {"cpu": "5"}}, "overhead": {"cpu": "1"}}, 6000),
    ],
)
def test_a_pod_requests_what_runs_at_the_same_time(spec: Json, cpu: int) -> None:
    assert requests({"spec": spec}) == {"cpu": cpu}


def test_what_a_pod_does_not_request_as_a_whole_its_containers_request() -> None:
    gpu = {"example.com/gpu": "1"}
    spec = {
        "containers": [wants("1", **gpu)],
        "resources": {"requests": {"memory": "1Gi", "hugepages-2Mi": "4Mi", **gpu}},
    }
    assert requests({"spec": spec}) == {"cpu": 1000, "example.com/gpu": 1, "memory": 2**30, "hugepages-2Mi": 4 * 2**20}


def test_what_is_missing_is_assumed_of_each_container_and_not_of_one_that_says_0() -> None:
    spec = {"containers": [wants("0"), {}, {}]}
    assert requests({"spec": spec}, {"cpu": 100, "memory": 200}) == {"cpu": 200, "memory": 600}
