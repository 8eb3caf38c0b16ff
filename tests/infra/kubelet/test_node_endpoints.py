"""What the API server passes on to a node as a whole: `kubectl get --raw /api/v1/nodes/NODE/proxy/...`."""

from __future__ import annotations

import json
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from k8sext.cluster import ClusterError
from k8sext.infra.kubelet.server.metrics import resource_metrics
from tests.infra.kubelet.conftest import Namespace

BUSY = "while :; do :; done"


def measured(used: int, memory: int) -> dict[str, Any]:
    return {
        "cpu": {"time": "2026-11-27T10:00:00Z", "usageCoreNanoSeconds": used},
        "memory": {"time": "2026-11-27T10:00:00Z", "workingSetBytes": memory},
    }


def test_what_pods_use_is_told_in_the_names_that_metrics_server_reads() -> None:
    started = {"name": "main", "startTime": "2026-11-27T09:00:00Z"}
    pod = {"podRef": {"name": "web", "namespace": "shop", "uid": "u1"}, "containers": [started | measured(1, 5)]}
    idle = {"time": "2026-11-27T10:00:00Z"}
    empty = {"podRef": {"name": "new", "namespace": "shop", "uid": "u2"}, "containers": [], "cpu": idle, "memory": idle}
    text = resource_metrics({"node": measured(7 * 10**9, 70), "pods": [pod | measured(25 * 10**8, 9), empty]})
    found = {
        (sample.name, *sorted(sample.labels.items())): (sample.value, sample.timestamp)
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }
    main, web = ("container", "main"), (("namespace", "shop"), ("pod", "web"))
    at = 1795773600.0
    assert found.pop(("container_start_time_seconds", main, *web)) == (at - 3600, None)
    assert found.pop(("node_cpu_usage_seconds_total",)) == (7, at)
    assert found.pop(("node_memory_working_set_bytes",)) == (70, at)
    assert found.pop(("pod_cpu_usage_seconds_total", *web)) == (2.5, at)
    assert found.pop(("pod_memory_working_set_bytes", *web)) == (9, at)
    assert found.pop(("container_cpu_usage_seconds_total", main, *web)) == (1e-9, at)
    assert found.pop(("container_memory_working_set_bytes", main, *web)) == (5, at)
    assert found.pop(("resource_scrape_error",)) == (0, None)
    assert {name for name, *_ in found} == {"pod_cpu_usage_seconds_total", "pod_memory_working_set_bytes"}


@pytest.mark.cluster
def test_a_node_tells_its_pods_what_they_use_and_how_it_is_set(namespace: Namespace) -> None:
    volumes = [{"name": "scratch", "emptyDir": {}}, {"name": "about", "downwardAPI": {"items": []}}]
    namespace.pod("idle", "sleep 1000", wait="Running")
    node = namespace.get("pod", "idle")["spec"]["nodeName"]
    mounts = {"volumeMounts": [{"name": "scratch", "mountPath": "/scratch"}]}
    script = f"head -c 3000000 /dev/zero > /scratch/file; echo said; {BUSY}"
    namespace.pod("busy", script, container=mounts, wait="Running", nodeName=node, volumes=volumes)

    def ask(path: str) -> str:
        return namespace.cluster.kubectl("get", "--raw", f"/api/v1/nodes/{node}/proxy/{path}")

    def mine(pods: list[dict[str, Any]], where: str) -> dict[str, dict[str, Any]]:
        return {pod[where]["name"]: pod for pod in pods if pod[where]["namespace"] == namespace.name}

    assert ask("healthz") == "ok"
    pods = json.loads(ask("pods"))
    assert (pods["kind"], pods["apiVersion"]) == ("PodList", "v1")
    assert {name: pod["status"]["phase"] for name, pod in mine(pods["items"], "metadata").items()} == {
        "idle": "Running",
        "busy": "Running",
    }

    found: dict[str, Any] = {}

    def both_are_measured() -> bool:
        found.update(mine(json.loads(ask("stats/summary"))["pods"], "podRef"))
        return found.keys() >= {"idle", "busy"} and found["busy"]["cpu"].get("usageNanoCores", 0) > 10**8

    namespace.until(both_are_measured)
    assert found["idle"]["cpu"]["usageCoreNanoSeconds"] < found["busy"]["cpu"]["usageCoreNanoSeconds"]
    assert found["busy"]["memory"]["workingSetBytes"] > 100_000
    disk = {volume["name"]: volume for volume in found["busy"]["volume"]}
    assert 3_000_000 <= disk["scratch"]["usedBytes"] < 4_000_000
    assert disk["scratch"]["capacityBytes"] > disk["scratch"]["availableBytes"] > 0
    [container] = found["busy"]["containers"]
    assert container["logs"]["usedBytes"] > 0
    whole = found["busy"]["ephemeral-storage"]["usedBytes"]
    assert whole >= 3_000_000 + container["logs"]["usedBytes"] + container["rootfs"]["usedBytes"]

    names = {family.name for family in text_string_to_metric_families(ask("metrics/resource"))}
    assert {"node_cpu_usage_seconds", "pod_memory_working_set_bytes", "container_cpu_usage_seconds"} <= names
    settings = json.loads(ask("configz"))["kubeletconfig"]
    assert settings["maxPods"] == int(namespace.get("node", node)["status"]["capacity"]["pods"])
    assert settings["kind"] == "KubeletConfiguration"
    with pytest.raises(ClusterError, match="NotFound"):
        ask("nothing")
