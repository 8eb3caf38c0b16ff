"""The kind cluster itself: what the embedded one promises of its nodes, kept by containers. `make test-kind` runs
it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from k8sext import cluster as clusters
from k8sext.cluster.errors import ClusterError
from k8sext.cluster.node_specs import defaults
from k8sext.versions import KUBERNETES, minor
from tests.existing.snapshot import difference, settled
from tests.notebooks.lab import STARTED
from tests.support.eventually import eventually

WORKER = "k8sext-worker2"
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def kind(request: pytest.FixtureRequest) -> clusters.Cluster:
    """The cluster named by --cluster, if kind made it."""
    if not request.config.getoption("--cluster"):
        pytest.skip("needs a kind cluster: `make test-kind` makes one and runs this")
    found = request.getfixturevalue("cluster")
    assert found.provider == "kind"
    return found


def k8sext(kind: clusters.Cluster, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "k8sext", *arguments, "--data", str(kind.layout.data)]
    return subprocess.run(command, capture_output=True, text=True)


def node(kind: clusters.Cluster, name: str) -> dict:
    return json.loads(kind.kubectl("get", "node", name, "-o", "json"))


def is_ready(kind: clusters.Cluster, name: str) -> str:
    return next(c["status"] for c in node(kind, name)["status"]["conditions"] if c["type"] == "Ready")


def test_nodes_have_the_names_labels_and_taints_of_the_embedded_ones(kind: clusters.Cluster) -> None:
    for planned in defaults():
        found = node(kind, planned.name)
        assert planned.labels.items() <= found["metadata"]["labels"].items()
        assert [taint["key"] for taint in found["spec"].get("taints", [])] == [t["key"] for t in planned.taints]
        assert (found["status"]["capacity"]["cpu"], found["status"]["capacity"]["memory"]) == ("4", "8Gi")
        assert minor(found["status"]["nodeInfo"]["kubeletVersion"]) == minor(KUBERNETES)


def test_it_is_found_running_and_its_status_is_well(kind: clusters.Cluster) -> None:
    again = k8sext(kind, "up")
    assert "is up already" in again.stdout, again.stderr
    status = json.loads(k8sext(kind, "status", "-o", "json").stdout)
    assert status["phase"] == "ready"
    names = [component["name"] for component in status["components"]]
    assert names == [
        *("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler"),
        *(planned.name for planned in defaults()),
    ]
    assert {component["health"] for component in status["components"]} == {"ok"}
    assert all(component["memory"] > 50e6 for component in status["components"][-3:])


@pytest.mark.parametrize("component", ["kube-apiserver", "k8sext-worker", "kind"])
def test_logs_are_printed(kind: clusters.Cluster, component: str) -> None:
    assert len(k8sext(kind, "logs", component, "--tail", "3").stdout.splitlines()) == 3


def test_logs_of_what_is_not_there_name_what_is(kind: clusters.Cluster) -> None:
    assert "choose one of etcd, kube-apiserver" in k8sext(kind, "logs", "nothing").stderr


def test_a_node_joins_with_what_it_was_given_runs_pods_and_leaves(kind: clusters.Cluster) -> None:
    given = (
        "--zone",
        "lab-b",
        "--label",
        "disk=ssd",
        "--taint",
        "gpu=yes:NoSchedule",
        "--capacity",
        "example.com/gpu=1",
    )
    added = k8sext(kind, "node", "add", "more", *given, "--capacity", "cpu=6")
    assert "Node more is Ready" in added.stdout, added.stderr
    found = node(kind, "more")
    assert found["metadata"]["labels"]["disk"] == "ssd"
    assert found["metadata"]["labels"]["topology.kubernetes.io/zone"] == "lab-b"
    assert {"key": "gpu", "value": "yes", "effect": "NoSchedule"} in found["spec"]["taints"]
    assert (found["status"]["allocatable"]["example.com/gpu"], found["status"]["capacity"]["cpu"]) == ("1", "6")
    try:
        assert "There is a node 'more' already" in k8sext(kind, "node", "add", "more").stderr
        names = [
            component["name"] for component in json.loads(k8sext(kind, "status", "-o", "json").stdout)["components"]
        ]
        assert names[-1] == "more"
    finally:
        gone = k8sext(kind, "node", "rm", "more")
    assert "Node more is gone" in gone.stdout, gone.stderr
    assert "more" not in kind.kubectl("get", "nodes", "-o", "name")


def test_the_nodes_that_kind_made_stay(kind: clusters.Cluster) -> None:
    assert "is one of the nodes a kind cluster was made with" in k8sext(kind, "node", "rm", WORKER).stderr
    assert "There is no node 'nobody'" in k8sext(kind, "node", "stop", "nobody").stderr


@pytest.fixture
def worker(kind: clusters.Cluster) -> Iterator[str]:
    """A node that has power again, and no pod of ours, when the test is over."""
    yield WORKER
    clusters.start_node(kind.layout, WORKER)
    kind.kubectl("delete", "pod", "on-and-off", "--ignore-not-found", "--grace-period=0", "--force")


def test_a_node_without_power_is_not_ready_and_runs_its_pods_again_when_it_is_back(
    kind: clusters.Cluster, worker: str
) -> None:
    from k8sext.cluster.providers.kind.images import WORKBOOK

    container = {"name": "main", "image": WORKBOOK, "command": ["sleep", "5000"]}
    spec = {"nodeName": worker, "containers": [container], "terminationGracePeriodSeconds": 1}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "on-and-off"}, "spec": spec}
    kind.kubectl("apply", "-f", "-", input=json.dumps(pod))
    kind.kubectl("wait", "pod/on-and-off", "--for=condition=Ready", "--timeout=60s")
    clusters.stop_node(kind.layout, worker)
    eventually(lambda: is_ready(kind, worker) == "Unknown", within=60)
    stopped = json.loads(k8sext(kind, "status", "-o", "json").stdout)["components"][-1]
    assert (stopped["name"], stopped["health"]) == (worker, "stopped")
    clusters.start_node(kind.layout, worker)
    assert is_ready(kind, worker) == "True"

    def runs_again() -> bool:
        status = json.loads(kind.kubectl("get", "pod", "on-and-off", "-o", "json"))["status"]["containerStatuses"][0]
        return status["restartCount"] == 1 and status["ready"]

    eventually(runs_again, within=60)


def test_pods_reach_a_server_on_this_machine_at_the_callback_address(kind: clusters.Cluster) -> None:
    import http.server
    import threading

    from k8sext.cluster.providers.kind.images import WORKBOOK

    class Hello(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"hello")

        def log_message(self, format: str, *args: object) -> None:
            pass

    with http.server.HTTPServer((kind.callback_host, 0), Hello) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://{kind.callback_host}:{server.server_port}/"
        script = f"import urllib.request; print(urllib.request.urlopen('{url}', timeout=10).read().decode())"
        try:
            run = ("run", "caller", f"--image={WORKBOOK}", "--restart=Never", "--command", "--")
            kind.kubectl(*run, "python", "-c", script)
            kind.kubectl("wait", "pod/caller", "--for=jsonpath={.status.phase}=Succeeded", "--timeout=60s")
            assert kind.kubectl("logs", "caller").strip() == "hello"
        finally:
            kind.kubectl("delete", "pod", "caller", "--ignore-not-found")
            server.shutdown()


def test_it_can_be_borrowed_as_a_cluster_that_is_there_and_is_left_as_it_was(kind: clusters.Cluster) -> None:
    before = settled(kind)
    command = [sys.executable, "-m", "tests.notebooks", "--provider", "existing", "00", "04", "05", "07"]
    environment = {**os.environ, "KUBECONFIG": str(kind.kubeconfig), "K8SEXT_CONTEXT": kind.name}
    environment.pop(STARTED, None)
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]
    assert difference(before, settled(kind)) == []


def test_another_cluster_of_the_same_name_is_refused(kind: clusters.Cluster, tmp_path_factory) -> None:
    with pytest.raises(ClusterError, match="half made or made by somebody else"):
        clusters.up(kind.name, tmp_path_factory.mktemp("other"), provider="kind")
