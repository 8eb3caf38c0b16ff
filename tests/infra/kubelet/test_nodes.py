"""Nodes: they register, lose power, come back, join and leave."""

from __future__ import annotations

import base64
import http.client
import json
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from k8sext.cluster.paths import read_json
from k8sext.cluster.providers.embedded import nodes
from k8sext.infra.kubelet.node.node import STATUS_SECONDS
from tests.infra.kubelet.conftest import IMAGE, Namespace

pytestmark = pytest.mark.cluster

WORKER = "k8sext-worker2"


def ready(namespace: Namespace, name: str) -> str:
    conditions = namespace.get("node", name)["status"]["conditions"]
    return next(c["status"] for c in conditions if c["type"] == "Ready")


@pytest.fixture
def worker(namespace: Namespace) -> Iterator[str]:
    """A node that is running again when the test is over."""
    yield WORKER
    nodes.start(namespace.cluster.layout, WORKER)


def test_a_node_says_what_it_is(namespace: Namespace) -> None:
    node = namespace.get("node", "k8sext-worker")
    labels, status = node["metadata"]["labels"], node["status"]
    assert labels["kubernetes.io/hostname"] == "k8sext-worker"
    assert labels["kubernetes.io/os"] == "linux"
    assert labels["topology.kubernetes.io/zone"]
    assert node["spec"]["podCIDR"] == "10.244.1.0/24"
    assert {a["type"]: a["address"] for a in status["addresses"]} == {
        "InternalIP": "10.244.1.1",
        "Hostname": "k8sext-worker",
    }
    assert (status["capacity"]["cpu"], status["capacity"]["memory"]) == ("4", "8Gi")
    assert status["declaredFeatures"] == ["ExtendWebSocketsToKubelet"]
    assert status["daemonEndpoints"]["kubeletEndpoint"]["Port"] == 10250
    lease = json.loads(
        namespace.cluster.kubectl("get", "lease", "-n", "kube-node-lease", "k8sext-worker", "-o", "json")
    )
    assert lease["spec"]["leaseDurationSeconds"] == 40


def test_a_node_without_power_is_not_ready_and_its_pods_move(namespace: Namespace, worker: str) -> None:
    gone_soon = [
        {"key": f"node.kubernetes.io/{kind}", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 0}
        for kind in ("unreachable", "not-ready")
    ]
    likes = {
        "weight": 100,
        "preference": {"matchExpressions": [{"key": "kubernetes.io/hostname", "operator": "In", "values": [worker]}]},
    }
    template = {
        "metadata": {"labels": {"app": "web"}},
        "spec": {
            "containers": [{"name": "main", "image": IMAGE, "command": ["sleep", "5000"]}],
            "terminationGracePeriodSeconds": 1,
            "tolerations": gone_soon,
            "affinity": {"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [likes]}},
        },
    }
    spec = {"replicas": 1, "selector": {"matchLabels": {"app": "web"}}, "template": template}
    namespace.apply({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}, "spec": spec})
    namespace.kubectl("rollout", "status", "deployment/web", "--timeout=90s")
    assert worker in namespace.kubectl("get", "pods", "-o", "wide")
    nodes.stop(namespace.cluster.layout, worker)
    namespace.until(lambda: ready(namespace, worker) == "Unknown", within=60)

    def moved() -> bool:
        items = json.loads(namespace.kubectl("get", "pods", "-o", "json"))["items"]
        return any(
            pod["spec"].get("nodeName") not in (None, worker) and pod["status"]["phase"] == "Running" for pod in items
        )

    namespace.until(moved, within=60)
    nodes.start(namespace.cluster.layout, worker)
    namespace.until(lambda: len(json.loads(namespace.kubectl("get", "pods", "-o", "json"))["items"]) == 1)


def test_a_pod_on_a_node_that_comes_back_runs_again(namespace: Namespace, worker: str) -> None:
    namespace.pod("one", nodeName=worker, wait="Running")
    nodes.stop(namespace.cluster.layout, worker)
    namespace.until(lambda: ready(namespace, worker) == "Unknown")
    nodes.start(namespace.cluster.layout, worker)
    namespace.until(
        lambda: namespace.status("one")["restartCount"] == 1 and namespace.condition("one", "Ready") == "True"
    )
    assert namespace.status("one")["lastState"]["terminated"]["exitCode"] == 137


def test_only_the_api_server_gets_into_a_kubelet(namespace: Namespace, tmp_path: Path) -> None:
    layout = namespace.cluster.layout
    user = yaml.safe_load((layout.nodes / "k8sext-worker" / "kubeconfig").read_text())["users"][0]["user"]
    somebody = tmp_path / "somebody.pem"
    somebody.write_bytes(b"".join(base64.b64decode(user[f"client-{part}-data"]) for part in ("certificate", "key")))

    def ask(certificate: Path | None) -> int:
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        if certificate:
            context.load_cert_chain(certificate)
        address = f"{read_json(layout.config)['loopback']}.1.1"
        connection = http.client.HTTPSConnection(address, 10250, context=context, timeout=5)
        connection.request("GET", "/healthz")
        return connection.getresponse().status

    assert namespace.cluster.kubectl("get", "--raw", "/api/v1/nodes/k8sext-worker/proxy/healthz") == "ok"
    assert ask(None) == 401
    assert ask(somebody) == 403


def test_a_node_that_another_says_is_not_ready_says_it_is(namespace: Namespace) -> None:
    wrong = [{"type": "Ready", "status": "Unknown", "reason": "Meddling"}]
    patch = json.dumps({"status": {"conditions": wrong}})
    namespace.cluster.kubectl("patch", "node", WORKER, "--subresource=status", "-p", patch)
    namespace.until(lambda: ready(namespace, WORKER) == "True", within=2 * STATUS_SECONDS)


def test_a_node_that_is_deleted_under_its_kubelet_is_back_at_its_next_look(namespace: Namespace) -> None:
    before = namespace.get("node", WORKER)
    namespace.cluster.kubectl("delete", "node", WORKER)
    namespace.until(lambda: ready(namespace, WORKER) == "True", within=2 * STATUS_SECONDS)
    assert namespace.get("node", WORKER)["metadata"]["uid"] != before["metadata"]["uid"]
    # the controller manager adds some of them; a driver's, which outlives the driver, came from another test
    own = {key: value for key, value in before["metadata"]["labels"].items() if not key.startswith("topology.csi.")}
    namespace.until(lambda: namespace.get("node", WORKER)["metadata"]["labels"] == own)
