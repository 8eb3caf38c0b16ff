"""The API server's own judgement of the generated CRD: it is structural, and its limits hold."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from k8sext.cluster import Cluster, ClusterError
from k8sext.resources import weather_report_crd

NAMESPACE = "test-resources"


@pytest.fixture(scope="module")
def served(cluster: Cluster) -> Iterator[Cluster]:
    crd = weather_report_crd()
    cluster.kubectl("apply", "--server-side", "-f", "-", input=json.dumps(crd))
    cluster.kubectl("wait", "--for=condition=Established", f"crd/{crd['metadata']['name']}")
    cluster.kubectl("create", "namespace", NAMESPACE)
    yield cluster
    cluster.kubectl("delete", "crd", crd["metadata"]["name"])
    cluster.kubectl("delete", "namespace", NAMESPACE, "--wait=false")


def apply(cluster: Cluster, name: str, spec: dict) -> str:
    report = {"apiVersion": "k8s.packt.com/v1", "kind": "WeatherReport", "metadata": {"name": name}, "spec": spec}
    return cluster.kubectl("apply", "-n", NAMESPACE, "-f", "-", input=json.dumps(report))


def patch_status(cluster: Cluster, name: str, status: dict) -> str:
    patch = json.dumps({"status": status})
    return cluster.kubectl("patch", "wr", name, "-n", NAMESPACE, "--subresource=status", "--type=merge", "-p", patch)


@pytest.mark.cluster
def test_the_server_finds_the_schema_structural(served):
    conditions = served.kubectl(
        "get", "crd", "weatherreports.k8s.packt.com", "-o", "jsonpath={.status.conditions[*].type}"
    )
    assert "NonStructuralSchema" not in conditions


@pytest.mark.cluster
def test_the_server_fills_in_the_default(served):
    apply(served, "default", {"city": "Oslo"})
    assert served.kubectl("get", "wr", "default", "-n", NAMESPACE, "-o", "jsonpath={.spec.days}") == "1"


@pytest.mark.cluster
@pytest.mark.parametrize(
    ("spec", "answer"),
    [
        ({"city": "Oslo", "days": 0}, "should be greater than or equal to 1"),
        ({"city": "Oslo", "days": 15}, "should be less than or equal to 14"),
        ({"city": "Oslo", "days": "two"}, "must be of type integer"),
        ({"city": " Oslo"}, "city must not begin or end with a blank"),
        ({"days": 1}, "spec.city: Required value"),
        ({"city": "Oslo", "dayz": 2}, 'unknown field "spec.dayz"'),
    ],
)
def test_the_server_refuses_a_wrong_report_with_a_sentence(served, spec, answer):
    with pytest.raises(ClusterError, match=answer):
        apply(served, "wrong", spec)


@pytest.mark.cluster
def test_the_observed_generation_never_goes_back(served):
    apply(served, "generations", {"city": "Oslo"})
    patch_status(served, "generations", {"observedGeneration": 2})
    with pytest.raises(ClusterError, match="observedGeneration never goes back"):
        patch_status(served, "generations", {"observedGeneration": 1})


@pytest.mark.cluster
def test_the_server_filters_by_city(served):
    apply(served, "in-bergen", {"city": "Bergen"})
    found = served.kubectl("get", "wr", "-n", NAMESPACE, "--field-selector", "spec.city=Bergen", "-o", "name")
    assert found.split() == ["weatherreport.k8s.packt.com/in-bergen"]
