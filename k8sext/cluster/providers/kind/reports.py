"""What runs in a kind cluster, asked of Docker and of the API server; and the commands that show logs."""

from __future__ import annotations

import json
import re
from typing import Any

from k8sext.cluster import node_specs
from k8sext.cluster.docker import containers, docker
from k8sext.cluster.errors import ClusterError
from k8sext.cluster.kubectl import kubectl
from k8sext.cluster.paths import Layout
from k8sext.cluster.providers.kind import config
from k8sext.cluster.report import component, report
from k8sext.infra.nodes import is_ready, takes_pods

NODE = "k8sext.node"
"""The label of a container that joined later, with the node's name."""
CONTROL_PLANE_PODS = ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler")
BYTES = {"B": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}


def status(layout: Layout) -> dict[str, Any]:
    """As k8sext.cluster.report: the programs of the control plane, then the nodes with the memory of all they run."""
    found = layout.read_config()
    here = containers(layout.name) if found else {}
    running = any(entry["State"]["Running"] for entry in here.values())
    if not running:
        return report(layout, "down")
    rows = [*_programs(layout, found), *_nodes(layout, here)]
    return report(layout, "ready", version=found.get("version"), server=found.get("server"), components=rows)


def _programs(layout: Layout, found: dict[str, Any]) -> list[dict[str, Any]]:
    """The static pods of the control plane; without an API server that answers, what it says instead."""
    try:
        pods = _listed(layout, "pods", "--namespace=kube-system", "--selector=tier=control-plane")
    except ClusterError as error:
        return [
            component("kube-apiserver", found["version"], f"not well: {error}", port=found["ports"]["kube-apiserver"])
        ]
    rows = []
    for pod in sorted(pods, key=lambda pod: pod["metadata"]["labels"]["component"]):
        name = pod["metadata"]["labels"]["component"]
        container = pod["spec"]["containers"][0]
        port = found["ports"]["kube-apiserver"] if name == "kube-apiserver" else None
        restarts = sum(entry["restartCount"] for entry in pod["status"].get("containerStatuses", []))
        health = "ok" if is_ready(pod) else "not ready"
        rows.append(component(name, container["image"].rpartition(":")[2], health, port=port, restarts=restarts))
    return rows


def _nodes(layout: Layout, here: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
    try:
        objects = {node["metadata"]["name"]: node for node in _listed(layout, "nodes")}
    except ClusterError:
        objects = {}
    memory = _memory(here)
    rows = []
    for name in node_names(layout):
        container = config.container(layout.name, name)
        state = here[container]["State"] if container in here else {"Running": False, "Pid": 0}
        node = objects.get(name, {})
        health = "stopped" if not state["Running"] else "ok" if is_ready(node) else "not ready"
        version = node.get("status", {}).get("nodeInfo", {}).get("kubeletVersion", "unknown")
        restarts = here.get(container, {}).get("RestartCount", 0)
        rows.append(
            component(name, version, health, pid=state["Pid"] or None, memory=memory.get(container), restarts=restarts)
        )
    return rows


def node_names(layout: Layout) -> list[str]:
    """The names of all nodes that have a container, or should: those of kind, then those that joined later."""
    joined = [entry["Config"]["Labels"].get(NODE) for entry in containers(layout.name).values()]
    return [*(spec.name for spec in node_specs.defaults()), *filter(None, joined)]


def _memory(here: dict[str, dict[str, Any]]) -> dict[str, int]:
    """The memory of the running containers, in bytes, by name."""
    running = [name for name, entry in here.items() if entry["State"]["Running"]]
    if not running:
        return {}
    lines = docker("stats", "--no-stream", "--format", "{{.Name}} {{.MemUsage}}", *running).splitlines()
    found = {}
    for line in lines:
        if match := re.match(r"(\S+) ([\d.]+)([KMG]?i?B)", line):
            found[match[1]] = int(float(match[2]) * BYTES.get(match[3], 1))
    return found


def log_command(layout: Layout, component: str, follow: bool, tail: int) -> list[str]:
    """The command that prints a component's log: a program of the control plane, a node (its kubelet), or kind
    itself."""
    names = node_names(layout)
    if component in CONTROL_PLANE_PODS:
        container = config.container(layout.name, names[0])
        lines = f"-n {'+1' if tail < 0 else tail} {'-F' if follow else ''}"
        script = f"exec tail {lines} /var/log/pods/kube-system_{component}-*/{component}/*.log"
        return ["docker", "exec", container, "bash", "-c", script]
    if component in names:
        lines = ["--lines=all" if tail < 0 else f"--lines={tail}", *(["--follow"] if follow else [])]
        return [
            "docker",
            "exec",
            config.container(layout.name, component),
            "journalctl",
            "--no-pager",
            "--unit=kubelet",
            *lines,
        ]
    if component == "kind":
        return ["tail", "-n", "+1" if tail < 0 else str(tail), str(layout.logs / "kind.log")]
    raise ClusterError(
        f"There is no component {component!r}: choose one of {', '.join([*CONTROL_PLANE_PODS, *names, 'kind'])}."
    )


def ready_nodes(layout: Layout) -> set[str]:
    """The names of the nodes that take pods now (see `takes_pods`); none while the API server does not answer."""
    try:
        return {node["metadata"]["name"] for node in _listed(layout, "nodes") if takes_pods(node)}
    except ClusterError:
        return set()


def heartbeat(layout: Layout, name: str) -> str:
    """When a node's kubelet last renewed its lease."""
    return kubectl(layout, "get", "lease", name, "--namespace=kube-node-lease", "--output=jsonpath={.spec.renewTime}")


def _listed(layout: Layout, *what: str) -> list[dict[str, Any]]:
    return json.loads(kubectl(layout, "get", *what, "--output=json", "--request-timeout=5s"))["items"]
