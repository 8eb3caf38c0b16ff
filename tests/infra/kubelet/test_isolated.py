"""Pods of RuntimeClass oci on a real cluster: probes reach them, and when they are gone nothing of them is left."""

from __future__ import annotations

import json
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from k8sext.cluster.providers.embedded import nodes
from k8sext.infra.cri.handlers.oci import capability_checks as possible
from k8sext.infra.cri.shim.processes import start_time
from tests.infra.kubelet.conftest import IMAGE, Namespace
from tests.infra.kubelet.test_nodes import ready
from tests.infra.kubelet.test_pods import SERVER
from tests.infra.kubelet.test_port_forward import ADDRESS, TALK, forward, talk
from tests.support.eventually import eventually

pytestmark = pytest.mark.cluster


@pytest.fixture
def oci(namespace: Namespace) -> Iterator[str]:
    """The name of a RuntimeClass with the handler `oci`."""
    if reasons := possible.obstacles():
        pytest.skip(f"the handler oci cannot be used here: {'; '.join(reasons)}")
    name = f"oci-{namespace.name}"
    namespace.apply(
        {"apiVersion": "node.k8s.io/v1", "kind": "RuntimeClass", "metadata": {"name": name}, "handler": "oci"}
    )
    yield name
    namespace.kubectl("delete", "runtimeclass", name)


@pytest.mark.parametrize("kind", ["httpGet", "tcpSocket"])
def test_network_probes_reach_a_pod_with_a_network_of_its_own(namespace: Namespace, oci: str, kind: str) -> None:
    probe = {kind: {"port": 8080}, "periodSeconds": 1, "timeoutSeconds": 10}
    main = {"command": ["python", "-c", SERVER], "readinessProbe": probe}
    namespace.pod("one", container=main, runtimeClassName=oci)
    namespace.until(lambda: namespace.condition("one", "Ready") == "True", within=60)


def test_a_network_probe_that_finds_nobody_says_so_in_an_event(namespace: Namespace, oci: str) -> None:
    probe = {"tcpSocket": {"port": 9}, "periodSeconds": 1, "timeoutSeconds": 10}
    namespace.pod("one", container={"readinessProbe": probe}, runtimeClassName=oci, wait="Running")
    ip = namespace.get("pod", "one")["status"]["podIP"]
    said = ("Unhealthy", f"Readiness probe failed: dial tcp {ip}:9: Connection refused")
    namespace.until(lambda: said in namespace.events("one"), within=60)
    assert namespace.condition("one", "Ready") == "False"


@pytest.mark.parametrize("websockets", ["true", "false"])
def test_ports_of_an_isolated_pod_are_forwarded_to_its_own_localhost(
    namespace: Namespace, oci: str, websockets: str
) -> None:
    local = TALK.replace(ADDRESS, '"127.0.0.1"')
    ready = {"exec": {"command": ["python", "-c", "import socket; socket.create_connection(('127.0.0.1', 8081))"]}}
    main = {"command": ["python", "-c", local], "readinessProbe": ready | {"periodSeconds": 1, "timeoutSeconds": 10}}
    namespace.pod("talk", container=main, runtimeClassName=oci)
    namespace.until(lambda: namespace.condition("talk", "Ready") == "True")
    with forward(namespace, "talk", ":8081", ":9", KUBECTL_PORT_FORWARD_WEBSOCKETS=websockets) as running:
        port, closed = running.port(), running.port()
        assert talk(port, 10 << 20) == 10 << 20
        with socket.create_connection(("127.0.0.1", closed), timeout=60) as connection:
            assert connection.recv(100) == b""
        eventually(lambda: "onnection refused" in "".join(running.said))


def test_an_isolated_pod_of_a_node_that_lost_power_has_one_address_and_can_be_deleted(
    namespace: Namespace, oci: str
) -> None:
    node, layout = "k8sext-worker2", namespace.cluster.layout
    namespace.pod("one", runtimeClassName=oci, nodeName=node, wait="Running")
    nodes.stop(layout, node)
    namespace.until(lambda: ready(namespace, node) == "Unknown", within=60)
    nodes.start(layout, node)
    namespace.until(lambda: namespace.status("one")["restartCount"] == 1, within=90)
    namespace.until(lambda: namespace.condition("one", "Ready") == "True")
    status = namespace.get("pod", "one")["status"]
    assert [one["ip"] for one in status["podIPs"]] == [status["podIP"]]
    namespace.kubectl("delete", "pod", "one", "--timeout=30s")


@pytest.mark.slow
def test_pods_that_come_and_go_leave_nothing(namespace: Namespace, oci: str, request: pytest.FixtureRequest) -> None:
    count = 100 if request.config.getoption("--long") else 10
    traces = Traces(namespace)
    for _ in range(3):
        pods = [pod(f"pod-{number}", oci if number % 2 else "") for number in range(count)]
        namespace.apply({"apiVersion": "v1", "kind": "List", "items": pods})
        namespace.until(lambda: phases(namespace) == ["Running"] * count, within=60 + 3 * count)
        traces.remember()
        assert len(traces.left()) > 3 * count
        namespace.kubectl("delete", "pods", "--all", f"--timeout={60 + 3 * count}s")
        eventually(traces.none_is_left, within=60)


def pod(name: str, runtime_class: str) -> dict[str, Any]:
    main = {"name": "main", "image": IMAGE, "command": ["sleep", "5000"]}
    isolated = {"runtimeClassName": runtime_class} if runtime_class else {}
    spec = {"containers": [main], "terminationGracePeriodSeconds": 1, **isolated}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec}


def phases(namespace: Namespace) -> list[str]:
    pods = json.loads(namespace.kubectl("get", "pods", "-o", "json"))["items"]
    return [pod["status"]["phase"] for pod in pods]


class Traces:
    """What pods are made of on this machine. What is there at the beginning belongs to others, who may be busy
    taking it away."""

    def __init__(self, namespace: Namespace) -> None:
        self.nodes = namespace.cluster.layout.nodes
        self.of_others = {*self._files(), *self._addresses(), *self._links()}
        self.groups: set[Path] = set()
        self.processes: set[tuple[int, int | None]] = set()

    def remember(self) -> None:
        """Note the processes and cgroups of the containers and sandboxes that are there now."""
        folders = [Path(folder) for folder in self._files() - self.of_others]
        for note in [folder / "spec.json" for folder in folders if (folder / "spec.json").exists()]:
            self.groups |= {Path(entrance).parent for entrance in json.loads(note.read_text())["cgroups"]}
        for note in [folder / "process.json" for folder in folders if (folder / "process.json").exists()]:
            self.processes |= {
                (pid, start_time(pid)) for key, pid in json.loads(note.read_text()).items() if key != "started"
            }

    def left(self) -> list[object]:
        """Return every process, mount, cgroup, folder, address and link that is there and belongs to nobody else."""
        mounts = [line for line in Path("/proc/self/mountinfo").read_text().splitlines() if str(self.nodes) in line]
        groups = [group for group in self.groups if group.exists()]
        alive = [(pid, started) for pid, started in self.processes if started and start_time(pid) == started]
        here = {*self._files(), *self._addresses(), *self._links()} - self.of_others
        return [*alive, *mounts, *groups, *here]

    def none_is_left(self) -> bool:
        assert self.left() == []
        return True

    def _files(self) -> set[str]:
        return {str(path) for kind in ("containers", "sandboxes") for path in self.nodes.glob(f"*/cri/{kind}/*")}

    def _addresses(self) -> set[str]:
        files = self.nodes.glob("*/cri/cni/pods/addresses.json")
        return {address for file in files for address in json.loads(file.read_text())["addresses"]}

    def _links(self) -> set[str]:
        """The cables in the cluster's room, once there is one."""
        if not (self.nodes / "room.json").exists():
            return set()
        room = json.loads((self.nodes / "room.json").read_text())["pid"]
        user = ["--user", "--preserve-credentials"] if possible.namespace_flags() else []
        listing = ["nsenter", f"--target={room}", *user, "--net", "--", "ip", "-json", "link"]
        links = json.loads(subprocess.run(listing, capture_output=True, text=True, check=True).stdout)
        return {link["ifname"] for link in links if link["ifname"].startswith("k8x")}
