"""Nodes of the embedded cluster, by `k8sext node`: they join, lose their power, come back and leave."""

from __future__ import annotations

import json

import pytest

from k8sext.cluster import Cluster
from k8sext.cluster.errors import ClusterError
from k8sext.cluster.providers.embedded import nodes

pytestmark = pytest.mark.cluster


def ready(cluster: Cluster) -> dict[str, str]:
    """Each node's word on its condition Ready."""
    items = json.loads(cluster.kubectl("get", "nodes", "-o", "json"))["items"]
    return {
        item["metadata"]["name"]: next(c["status"] for c in item["status"]["conditions"] if c["type"] == "Ready")
        for item in items
    }


def test_three_nodes_with_the_labels_and_taints_of_a_kind_cluster(cluster: Cluster) -> None:
    items = json.loads(cluster.kubectl("get", "nodes", "-o", "json"))["items"]
    by_name = {item["metadata"]["name"]: item for item in items}
    assert {"k8sext-control-plane", "k8sext-worker", "k8sext-worker2"} <= set(by_name)
    control_plane = by_name["k8sext-control-plane"]
    assert control_plane["spec"]["taints"] == [{"effect": "NoSchedule", "key": "node-role.kubernetes.io/control-plane"}]
    assert "node-role.kubernetes.io/control-plane" in control_plane["metadata"]["labels"]
    worker = by_name["k8sext-worker2"]
    assert worker["metadata"]["labels"]["topology.kubernetes.io/zone"] == "lab-b"
    assert worker["status"]["capacity"]["cpu"] == "4" and worker["status"]["capacity"]["memory"] == "8Gi"


def test_a_node_joins_with_labels_taint_and_capacity_and_leaves(cluster: Cluster) -> None:
    where = cluster.layout
    nodes.add(where, "gpu-1", "lab-c", ["disk=ssd"], ["gpu=yes:NoSchedule"], ["cpu=16", "example.com/gpu=2"])
    try:
        found = json.loads(cluster.kubectl("get", "node", "gpu-1", "-o", "json"))
        assert found["metadata"]["labels"]["disk"] == "ssd"
        assert found["spec"]["taints"][0]["key"] == "gpu"
        assert (found["status"]["allocatable"]["cpu"], found["status"]["allocatable"]["example.com/gpu"]) == ("16", "2")
        with pytest.raises(ClusterError, match="There is a node 'gpu-1' already"):
            nodes.add(where, "gpu-1")
    finally:
        nodes.remove(where, "gpu-1")
    assert "gpu-1" not in ready(cluster)
    assert not (where.nodes / "gpu-1").exists()


def test_a_stopped_node_is_not_ready_its_pods_are_evicted_and_it_comes_back(cluster: Cluster, eventually) -> None:
    where = cluster.layout
    nodes.add(where, "unlucky", taints=["only=unlucky:NoSchedule"])
    try:
        pod = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": "victim"},
            "spec": {
                "nodeName": "unlucky",
                "terminationGracePeriodSeconds": 1,
                "containers": [{"name": "c", "image": "localhost/k8sext:0.1.0", "command": ["sleep", "600"]}],
                "tolerations": [
                    {"key": "only", "operator": "Exists"},
                    {
                        "key": "node.kubernetes.io/unreachable",
                        "operator": "Exists",
                        "effect": "NoExecute",
                        "tolerationSeconds": 1,
                    },
                ],
            },
        }
        cluster.kubectl("apply", "-f", "-", input=json.dumps(pod))
        cluster.kubectl("wait", "--for=condition=Ready", "pod/victim", "--timeout=90s")
        nodes.stop(where, "unlucky")
        eventually(lambda: ready(cluster)["unlucky"] == "Unknown", within=90)
        eventually(
            lambda: cluster.kubectl(
                "get", "pod", "victim", "-o", "jsonpath={.metadata.deletionTimestamp}", "--ignore-not-found"
            ),
            within=90,
        )
        nodes.start(where, "unlucky")
        cluster.kubectl("wait", "--for=delete", "pod/victim", "--timeout=90s")
    finally:
        nodes.remove(where, "unlucky")


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda where: nodes.add(where, "Bad_Name"), "cannot be a node's name"),
        (lambda where: nodes.add(where, "n", labels=["nonsense"]), "is not of the form KEY=VALUE"),
        (lambda where: nodes.add(where, "n", taints=["a=b:Sometimes"]), "is no taint"),
        (lambda where: nodes.add(where, "n", capacity=["cpu=banana"]), "'banana' is no amount of cpu"),
        (lambda where: nodes.add(where, "n", capacity=["pods=250"]), "A node has addresses for 126 pods"),
        (lambda where: nodes.add(where, "n", labels=["bad key=x"]), "'bad key=x' is no label"),
        (lambda where: nodes.add(where, "fake"), "'fake' cannot be a node's name"),
        (lambda where: nodes.remove(where, "k8sext-control-plane"), "carries the control plane and cannot be removed"),
        (lambda where: nodes.stop(where, "nobody"), "There is no node 'nobody': choose one of k8sext-control-plane"),
    ],
)
def test_bad_input_is_one_sentence_and_changes_nothing(change, sentence: str, cluster: Cluster) -> None:
    before = cluster.layout.nodes_file.read_text()
    with pytest.raises(ClusterError, match=sentence):
        change(cluster.layout)
    assert cluster.layout.nodes_file.read_text() == before
    assert not (cluster.layout.nodes / "n").exists()
