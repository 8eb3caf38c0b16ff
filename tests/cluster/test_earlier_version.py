"""A cluster that an earlier version started: found, used and stopped by this one, as after an upgrade in the middle of
a lesson."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import tarfile
from pathlib import Path

import psutil
import pytest

from k8sext import cluster as clusters
from k8sext.cluster.paths import layout

FIRST_RELEASE = "764e2fc"
CHECKOUT = Path(__file__).parents[2]
HOLD_THE_LOCK = """
import fcntl, os, signal, sys
lock = open(sys.argv[1], "w")
fcntl.flock(lock, fcntl.LOCK_EX)
lock.write(str(os.getpid())); lock.flush()
print("locked", flush=True)
signal.pause()
"""


def written_by_the_first_release(data: Path, server: str) -> None:
    """The files that its `up` and its supervisor left, but for keys and logs."""
    (data / "nodes" / "k8sext-worker" / "cri").mkdir(parents=True)
    taint = {"key": "node-role.kubernetes.io/control-plane", "effect": "NoSchedule"}
    capacity = {"cpu": "4", "memory": "8Gi", "ephemeral-storage": "20Gi", "pods": "110"}
    common = {"state": "running", "labels": {}, "capacity": capacity}
    nodes = [
        {"name": "k8sext-control-plane", "index": 0, "taints": [taint], **common},
        {"name": "k8sext-worker", "index": 1, "taints": [], **common},
    ]
    names = ("kube-apiserver", "etcd", "etcd-peer", "kube-controller-manager", "kube-scheduler")
    config = {
        "name": "one",
        "version": "v1.37.2",
        "server": server,
        "ports": {name: 20000 + number for number, name in enumerate(names)},
        "loopback": "127.244",
        "programs": {name: f"/nowhere/{name}" for name in (*names, "kubectl")},
    }
    state = {
        "name": "one",
        "pid": 1,
        "phase": "ready",
        "message": "",
        "started": 1.0,
        "version": "v1.37.2",
        "server": server,
        "components": {},
    }
    for name, content in {
        "nodes.json": {"nodes": nodes, "light": {"count": 2}},
        "cluster.json": config,
        "state.json": state,
    }.items():
        (data / name).write_text(json.dumps(content, indent=1))
    for name in (".k8sext-cluster", "kubeconfig", "egress-selector.yaml", "nodes.lock"):
        (data / name).touch()
    for name in ("pki", "logs", "etcd", "tmp", "kubectl-cache", "images"):
        (data / name).mkdir()


def test_its_files_are_understood_and_it_is_stopped(tmp_path: Path) -> None:
    where = layout("one", tmp_path / "one")
    where.data.mkdir()
    written_by_the_first_release(where.data, "https://127.0.0.1:20000")
    (where.pki / "ca.crt").touch()
    command = [sys.executable, "-c", HOLD_THE_LOCK, str(where.supervisor_lock)]
    supervisor = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert supervisor.stdout is not None and supervisor.stdout.readline() == "locked\n"
        found = clusters.up("one", where.data, fake_nodes=2)
        assert not found.started_here and found.server == "https://127.0.0.1:20000"
        with pytest.raises(clusters.ClusterError, match="is up with 2 fake nodes, not 3"):
            clusters.up("one", where.data, fake_nodes=3)
        clusters.stop_node(where, "k8sext-worker")
        written = json.loads(where.nodes_file.read_text())
        assert [(node["name"], node["state"]) for node in written["nodes"]] == [
            ("k8sext-control-plane", "running"),
            ("k8sext-worker", "stopped"),
        ]
        assert clusters.down(where)
        assert supervisor.wait(60) == -15 and not where.data.exists()
    finally:
        supervisor.kill()


@pytest.mark.slow
@pytest.mark.cluster
@pytest.mark.usefixtures("programs")
def test_the_real_one_is_found_gets_a_node_runs_a_pod_and_leaves_nothing(tmp_path: Path) -> None:
    archive = subprocess.run(["git", "archive", FIRST_RELEASE, "k8sext"], cwd=CHECKOUT, capture_output=True)
    if archive.returncode:
        pytest.skip(f"this copy of the repository does not hold {FIRST_RELEASE}")
    with tarfile.open(fileobj=io.BytesIO(archive.stdout)) as tar:
        tar.extractall(tmp_path / "earlier", filter="data")
    data = tmp_path / "one"
    where = layout("one", data)
    earlier = {**os.environ, "PYTHONPATH": str(tmp_path / "earlier")}
    command = [sys.executable, "-m", "k8sext", "up", "--name", "one", "--data", str(data)]
    try:
        subprocess.run(command, cwd=tmp_path / "earlier", env=earlier, check=True)
        assert "version" not in json.loads(where.nodes_file.read_text()), "it was not the earlier version that ran"
        found = clusters.up("one", data)
        assert not found.started_here
        assert {component["health"] for component in found.status()["components"]} == {"ok"}
        clusters.add_node(where, "extra", labels=["disk=ssd"])
        container = {"name": "c", "image": "localhost/k8sext:0.1.0", "command": ["sleep", "5000"]}
        pod = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": "one"},
            "spec": {"nodeName": "extra", "containers": [container]},
        }
        found.kubectl("create", "-f", "-", input=json.dumps(pod))
        found.kubectl("wait", "--for=condition=Ready", "pod/one", "--timeout=90s")
        clusters.remove_node(where, "k8sext-worker2")
    finally:
        assert clusters.down(where)
    assert not data.exists() and not where.sockets.exists()
    running = [process.info["cmdline"] or [] for process in psutil.process_iter(["cmdline"])]
    assert not [line for line in running if any(str(data) in part for part in line)]
