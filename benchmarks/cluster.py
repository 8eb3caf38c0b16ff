"""The embedded cluster: time to come up, memory when idle, time of `%load_ext k8sext`, and the life of a pod."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator

import psutil

from benchmarks.report import Row
from k8sext import __version__, cluster
from k8sext.cluster.providers.embedded import nodes

LOAD = """
import time
from IPython.core.interactiveshell import InteractiveShell
shell = InteractiveShell.instance()
began = time.perf_counter()
shell.run_line_magic("load_ext", "k8sext")
print("seconds", time.perf_counter() - began)
"""
CONTROL_PLANE = ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler")


def run(rounds: int) -> Iterator[Row]:
    """All of it, `up` alternating with a bare etcd and kube-apiserver."""
    ours, bare = [], []
    for _ in range(rounds):
        ours.append(_timed(lambda: cluster.up("bench"), cluster.Cluster.down))
        bare.append(_bare())
    yield Row("up, programs cached, nodes Ready", "s", ours, "bare etcd and kube-apiserver", bare, "at most 1.5x")
    with cluster.up("bench") as found:
        yield from _idle(found)
        loads = [_load_extension(found) for _ in range(rounds)]
        yield Row("%load_ext k8sext, cluster up", "s", loads, reach="at most 1 s")
        yield from _pods(found)


def _timed(start: Callable[[], cluster.Cluster], stop: Callable[[cluster.Cluster], None]) -> float:
    began = time.perf_counter()
    found = start()
    seconds = time.perf_counter() - began
    stop(found)
    return seconds


def _bare() -> float:
    began = time.perf_counter()
    with cluster.private_api_server():
        return time.perf_counter() - began


def _idle(found: cluster.Cluster) -> Iterator[Row]:
    time.sleep(30)  # what is measured is a cluster that has come to rest
    status = found.status()
    processes = {c["name"]: psutil.Process(c["pid"]) for c in status["components"]}
    processes["supervisor"] = psutil.Process(status["pid"])
    for process in psutil.process_iter(["cmdline"]):
        if "shim" in " ".join(process.info["cmdline"] or ()) and str(found.layout.data) in " ".join(
            process.info["cmdline"]
        ):
            processes[f"shim {process.pid}"] = process
    before = {name: sum(p.cpu_times()[:2]) for name, p in processes.items()}
    time.sleep(20)
    cpu = {name: (sum(p.cpu_times()[:2]) - before[name]) / 20 * 100 for name, p in processes.items()}
    memory = {name: p.memory_info().rss / 1e6 for name, p in processes.items()}
    control_plane = [*CONTROL_PLANE, "supervisor"]
    of_nodes = [name for name in processes if name not in control_plane]
    yield Row("idle memory of the control plane", "MB", [sum(memory[n] for n in control_plane)], reach="at most 550 MB")
    yield Row("idle memory of three nodes", "MB", [sum(memory[n] for n in of_nodes)], reach="at most 150 MB")
    yield Row("idle memory of all", "MB", [sum(memory.values())], reach="at most 700 MB")
    yield Row("idle CPU of three nodes", "% of a core", [sum(cpu[n] for n in of_nodes)], reach="at most 3 %")
    yield Row("idle CPU of all", "% of a core", [sum(cpu.values())])


def _load_extension(found: cluster.Cluster) -> float:
    answer = subprocess.run(
        [sys.executable, "-c", LOAD], capture_output=True, text=True, check=True, env=_environment(found)
    )
    return float(answer.stdout.rpartition("seconds ")[2])


def _environment(found: cluster.Cluster) -> dict[str, str]:
    return {**os.environ, "K8SEXT_CLUSTER": found.name, "K8SEXT_DATA": str(found.layout.data)}


def _pods(found: cluster.Cluster) -> Iterator[Row]:
    """The time from a pod's creation to Running, seen by a watch; then 500 pods at once on three nodes."""
    seconds = [_one_pod(found, f"single-{number}") for number in range(50)]
    yield Row("pod created to Running, one by one", "s", seconds, reach="0.3 s")
    for number in range(3):
        nodes.add(found.layout, f"bench-{number}", labels=["bench=yes"], capacity=["pods=250"])
    before = _node_memory(found)
    began = time.perf_counter()
    found.kubectl("apply", "-f", "-", input=json.dumps(_deployment(500)))
    _wait_for_running(found, 500)
    yield Row("500 pods on 3 nodes, created to all Running", "s", [time.perf_counter() - began])
    yield Row("memory of the nodes with 500 pods", "MB", [_node_memory(found)], "before", [before])


def _one_pod(found: cluster.Cluster, name: str) -> float:
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name},
        "spec": {"terminationGracePeriodSeconds": 0, "containers": [_container()]},
    }
    environment = {**_environment(found), **cluster.environment(found)}
    watch = subprocess.Popen(
        ["kubectl", "get", "pods", "--watch-only", "--no-headers", f"--field-selector=metadata.name={name}"],
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
    )
    assert watch.stdout is not None
    time.sleep(0.3)  # the watch must stand before the pod comes
    found.kubectl("apply", "-f", "-", input=json.dumps(pod))
    created = running = 0.0
    for line in watch.stdout:
        created = created or time.perf_counter()
        if "Running" in line:
            running = time.perf_counter()
            break
    watch.kill()
    watch.wait()
    found.kubectl("delete", "pod", name, "--wait=false")
    return running - created


def _container() -> dict[str, object]:
    return {"name": "c", "image": f"localhost/k8sext:{__version__}", "command": ["sleep", "3600"]}


def _deployment(replicas: int) -> dict[str, object]:
    labels = {"app": "many"}
    template = {
        "metadata": {"labels": labels},
        "spec": {"nodeSelector": {"bench": "yes"}, "containers": [_container()]},
    }
    spec = {"replicas": replicas, "selector": {"matchLabels": labels}, "template": template}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "many"}, "spec": spec}


def _wait_for_running(found: cluster.Cluster, count: int) -> None:
    deadline = time.monotonic() + 300
    while (running := _running(found)) < count:
        if time.monotonic() > deadline:
            raise SystemExit(f"only {running} of {count} pods ran within 300 s")
        time.sleep(0.2)


def _running(found: cluster.Cluster) -> int:
    return len(
        found.kubectl("get", "pods", "-l", "app=many", "--field-selector=status.phase=Running", "-o", "name").split()
    )


def _node_memory(found: cluster.Cluster) -> float:
    return sum(c["memory"] for c in found.status()["components"] if c["name"] in ("container-runtime", "kubelet")) / 1e6
