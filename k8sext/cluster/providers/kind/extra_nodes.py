"""Nodes that join a kind cluster later, which kind itself cannot do: a container like those it makes, and `kubeadm
join` in it."""

from __future__ import annotations

import json
import re
import shutil
import time
from collections.abc import Sequence
from pathlib import Path

from k8sext.cluster import node_specs
from k8sext.cluster.docker import containers, docker
from k8sext.cluster.errors import ClusterError
from k8sext.cluster.kubectl import kubectl
from k8sext.cluster.paths import Layout
from k8sext.cluster.programs.progress import Progress
from k8sext.cluster.providers.kind import config, images, machine, program, reports
from k8sext.infra.nodes import NodeSpec

READY_LIMIT = 180.0
PRIVILEGES = (
    "--privileged",
    "--security-opt=seccomp=unconfined",
    "--security-opt=apparmor=unconfined",
    "--cgroupns=private",
)
STORAGE = ("--tmpfs=/tmp", "--tmpfs=/run", "--volume=/var", "--volume=/lib/modules:/lib/modules:ro")


def add(
    layout: Layout,
    name: str,
    zone: str = "lab-a",
    labels: Sequence[str] = (),
    taints: Sequence[str] = (),
    capacity: Sequence[str] = (),
) -> None:
    """A node joins; returns when it is Ready. The arguments are those of k8sext.cluster.add_node. Raises
    ClusterError."""
    spec = node_specs.described(name, 0, zone, labels, taints, capacity)
    if name in reports.node_names(layout):
        raise ClusterError(f"There is a node {name!r} already: see `kubectl get nodes`.")
    container = config.container(layout.name, name)
    worker = containers(layout.name)[config.container(layout.name, f"{config.NAME}-worker")]
    try:
        _run(layout, container, spec, worker["Config"]["Image"])
        _load(layout, container)
        _join(layout, container, spec)
        _dress(layout, spec)
        _wait(layout, name)
    except BaseException:
        _take_back(layout, name)
        raise


def remove(layout: Layout, name: str) -> None:
    """A node leaves for good: its container is removed, its Node object deleted. Those that kind made stay."""
    if name in [spec.name for spec in node_specs.defaults()]:
        raise ClusterError(
            f"{name} is one of the nodes a kind cluster was made with, and those stay: stop it with `k8sext node stop`."
        )
    if name not in reports.node_names(layout):
        raise ClusterError(f"There is no node {name!r}: choose one of {', '.join(reports.node_names(layout))}.")
    _take_back(layout, name)


def _take_back(layout: Layout, name: str) -> None:
    container = config.container(layout.name, name)
    if container in containers(layout.name):
        docker("rm", "--force", "--volumes", container)
    kubectl(layout, "delete", "node", name, "--ignore-not-found")
    shutil.rmtree(layout.nodes / name, ignore_errors=True)


def _run(layout: Layout, container: str, spec: NodeSpec, image: str) -> None:
    """Start the container, with the options that kind gives a worker, and wait until its runtime answers."""
    labels = ("io.x-k8s.kind.role=worker", f"io.x-k8s.kind.cluster={layout.name}", f"{reports.NODE}={spec.name}")
    seen = machine_files(layout, spec)
    docker(
        *("run", "--detach", "--tty", "--init=false", "--restart=on-failure:1", "--net=kind"),
        *(f"--name={container}", f"--hostname={container}", *PRIVILEGES, *STORAGE),
        *[f"--label={label}" for label in labels],
        *[f"--volume={here}:{there}:ro" for there, here in seen.items()],
        image,
    )
    deadline = time.monotonic() + READY_LIMIT
    while True:
        try:
            docker("exec", container, "ctr", "version")
            return
        except ClusterError as error:
            if time.monotonic() > deadline:
                raise ClusterError(f"The container of node {spec.name} does not come up ({error}).") from error
            time.sleep(0.2)


def machine_files(layout: Layout, spec: NodeSpec) -> dict[str, Path]:
    """The files from which a node's kubelet reads how large its machine is."""
    folder = layout.nodes / spec.name
    folder.mkdir(parents=True, exist_ok=True)
    return machine.files(folder, spec.capacity)


def _load(layout: Layout, container: str) -> None:
    kind = program.find(Progress())
    images.load(kind, layout.name, container)


def _join(layout: Layout, container: str, spec: NodeSpec) -> None:
    """Join as kind lets a worker join: its configuration, with this node's name, labels, taints and address."""
    import yaml

    from k8sext.kube.manifest import to_yaml

    plane = config.container(layout.name, f"{config.NAME}-control-plane")
    worker = config.container(layout.name, f"{config.NAME}-worker")
    token = docker("exec", plane, "kubeadm", "--kubeconfig=/etc/kubernetes/admin.conf", "token", "create", "--ttl=10m")
    documents = yaml.safe_load_all(docker("exec", worker, "cat", "/kind/kubeadm.conf"))
    join = next(document for document in documents if document["kind"] == "JoinConfiguration")
    join["discovery"]["bootstrapToken"]["token"] = token.splitlines()[-1]
    join["nodeRegistration"] |= {"name": spec.name, "taints": spec.taints}
    provider = f"kind://docker/{layout.name}/{container}"
    own = {
        "node-ip": _address(container),
        "provider-id": provider,
        "node-labels": _joined(node_specs.place_labels(spec)),
    }
    join["nodeRegistration"]["kubeletExtraArgs"] = [{"name": key, "value": value} for key, value in own.items()]
    docker("exec", "--interactive", container, "cp", "/dev/stdin", "/kind/kubeadm.conf", input=to_yaml(join))
    docker("exec", container, "kubeadm", "join", "--config=/kind/kubeadm.conf", "--skip-phases=preflight")


def _address(container: str) -> str:
    return docker("inspect", "--format", "{{.NetworkSettings.Networks.kind.IPAddress}}", container)


def _joined(labels: dict[str, str]) -> str:
    return ",".join(f"{key}={value}" for key, value in labels.items())


def _dress(layout: Layout, spec: NodeSpec) -> None:
    """Labels that a kubelet may not give itself, and resources that only a device plugin could tell it."""
    # `kubeadm join` ends when the kubelet may register its node, not when it has.
    kubectl(layout, "wait", "--for=create", f"node/{spec.name}", f"--timeout={READY_LIMIT:.0f}s")
    if labels := [f"{key}={value}" for key, value in spec.labels.items()]:
        kubectl(layout, "label", "node", spec.name, "--overwrite", *labels)
    extended = {name: amount for name, amount in spec.capacity.items() if re.search(r"\..*/", name)}
    if extended:
        patch = json.dumps({"status": {"capacity": extended, "allocatable": extended}})
        kubectl(layout, "patch", "node", spec.name, "--subresource=status", "--patch", patch)


def _wait(layout: Layout, name: str) -> None:
    deadline = time.monotonic() + READY_LIMIT
    while name not in reports.ready_nodes(layout):
        if time.monotonic() > deadline:
            raise ClusterError(
                f"Node {name} took longer than {READY_LIMIT:.0f} s to be Ready: see `k8sext logs {name}`."
            )
        time.sleep(0.5)
