"""The programs of an embedded cluster, in the stages in which they start, made from what `up` decided
(cluster.json)."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from k8sext.cluster import components
from k8sext.cluster.components import Component
from k8sext.cluster.paths import Layout


def stages(layout: Layout, config: dict[str, Any]) -> list[list[Component]]:
    """The stages of a cluster's start; the members of a stage start together, the next one when all of them are
    well."""
    programs, ports, pki = config["programs"], config["ports"], layout.pki
    etcd = components.etcd(programs["etcd"], layout.etcd, pki, ports["etcd"], ports["etcd-peer"])
    api_server = components.api_server(
        programs["kube-apiserver"],
        pki,
        ports["kube-apiserver"],
        ports["etcd"],
        [f"--egress-selector-config-file={layout.egress_selector}"],
    )
    controller_manager = components.controller_manager(
        programs["kube-controller-manager"],
        pki,
        pki / "controller-manager.kubeconfig",
        ports["kube-controller-manager"],
        # A thousand fake nodes on a small machine cannot all be heard in time: give them Kubernetes' own patience.
        grace_period=50 if config.get("fake_nodes") else 12,
    )
    scheduler = components.scheduler(
        programs["kube-scheduler"], pki, pki / "scheduler.kubeconfig", ports["kube-scheduler"]
    )
    runtime, kubelet = node_processes(layout, config)
    return [[etcd, runtime], [api_server], [controller_manager, scheduler, kubelet]]


def all_components(layout: Layout, config: dict[str, Any]) -> list[Component]:
    """All programs in the order of their start."""
    return [component for stage in stages(layout, config) for component in stage]


def node_processes(layout: Layout, config: dict[str, Any]) -> list[Component]:
    """The two processes behind the nodes: the container runtime and the kubelet of the workbook itself."""
    common = [
        f"--nodes={layout.nodes_file}",
        f"--root-dir={layout.nodes}",
        f"--socket-dir={layout.sockets}",
        f"--loopback={config['loopback']}",
    ]
    runtime = [sys.executable, "-m", "k8sext.infra.cri", *common]
    kubelet = [sys.executable, "-m", "k8sext.infra.kubelet", *common, f"--client-ca-file={layout.pki}/ca.crt"]
    path = {"PYTHONPATH": str(Path(__file__).parents[4]), "TMPDIR": str(layout.temporary)}
    return [Component("container-runtime", runtime, environment=path), Component("kubelet", kubelet, environment=path)]
