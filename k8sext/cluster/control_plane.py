"""The programs of an embedded cluster, in the stages in which they start, made from what `up` decided (cluster.json)."""

from __future__ import annotations

from typing import Any

from k8sext.cluster import components
from k8sext.cluster.components import Component
from k8sext.cluster.paths import Layout


def control_plane(layout: Layout, config: dict[str, Any]) -> list[list[Component]]:
    """The stages of a cluster's start; the members of a stage start together, the next one when all of them are well."""
    programs, ports, pki = config["programs"], config["ports"], layout.pki
    etcd = components.etcd(programs["etcd"], layout.etcd, pki, ports["etcd"], ports["etcd-peer"])
    api_server = components.api_server(
        programs["kube-apiserver"],
        pki,
        ports["kube-apiserver"],
        ports["etcd"],
        [f"--egress-selector-config-file={layout.data}/egress-selector.yaml"],
    )
    controller_manager = components.controller_manager(
        programs["kube-controller-manager"],
        pki,
        pki / "controller-manager.kubeconfig",
        ports["kube-controller-manager"],
    )
    scheduler = components.scheduler(
        programs["kube-scheduler"], pki, pki / "scheduler.kubeconfig", ports["kube-scheduler"]
    )
    return [[etcd], [api_server], [controller_manager, scheduler]]


def node_processes(layout: Layout, config: dict[str, Any]) -> list[Component]:
    """The two processes behind the nodes: the container runtime and the kubelet of the workbook itself."""
    return []
