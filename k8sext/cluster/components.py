"""The command line of every program of the control plane, as data: what a flag is for stands beside it.

Flags: https://kubernetes.io/docs/reference/command-line-tools-reference/ and
https://etcd.io/docs/v3.6/op-guide/configuration/
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from k8sext.infra.addresses import SERVICE_NETWORK, node_address

ISSUER = "https://kubernetes.default.svc.cluster.local"

# Collect garbage at half the usual growth: a tenth less memory (measured), and a small cluster makes little garbage.
SMALL = {"GOGC": "50"}


@dataclass(frozen=True)
class Component:
    """A program to keep running, and how to ask it whether it is well."""

    name: str
    command: Sequence[str]
    port: int | None = None
    health_path: str = "/healthz"
    environment: Mapping[str, str] = field(default_factory=dict)
    # Long-lived watches keep a server from ending by itself: after so many seconds it is killed. All data is in etcd.
    patience: float = 3.0


def etcd(program: str, data: Path, pki: Path, port: int, peer_port: int) -> Component:
    """The store of the API server, alone in its cluster. It does not wait for the disk: fast, and made to be thrown
    away."""
    url, peer = f"https://127.0.0.1:{port}", f"https://127.0.0.1:{peer_port}"
    command = [
        program,
        "--name=k8sext",
        f"--data-dir={data}",
        "--unsafe-no-fsync",
        f"--listen-client-urls={url}",
        f"--advertise-client-urls={url}",
        f"--listen-peer-urls={peer}",
        f"--initial-advertise-peer-urls={peer}",
        f"--initial-cluster=k8sext={peer}",
        "--client-cert-auth",
        f"--trusted-ca-file={pki}/ca.crt",
        f"--cert-file={pki}/etcd.crt",
        f"--key-file={pki}/etcd.key",
        "--peer-client-cert-auth",
        f"--peer-trusted-ca-file={pki}/ca.crt",
        f"--peer-cert-file={pki}/etcd.crt",
        f"--peer-key-file={pki}/etcd.key",
        # A day's work in a notebook makes many revisions: keep an hour of them.
        "--auto-compaction-retention=1h",
        "--log-level=warn",
    ]
    return Component("etcd", command, port, "/health", SMALL, patience=5.0)


def api_server(program: str, pki: Path, port: int, etcd_port: int, flags: Sequence[str] = ()) -> Component:
    """The API server. flags come last, so that they win over the ones here."""
    # A file of authorizers says it all: the server refuses it beside --authorization-mode.
    by_file = any(flag.startswith("--authorization-config=") for flag in flags)
    command = [
        program,
        f"--etcd-servers=https://127.0.0.1:{etcd_port}",
        f"--etcd-cafile={pki}/ca.crt",
        f"--etcd-certfile={pki}/etcd.crt",
        f"--etcd-keyfile={pki}/etcd.key",
        "--bind-address=127.0.0.1",
        f"--secure-port={port}",
        f"--tls-cert-file={pki}/apiserver.crt",
        f"--tls-private-key-file={pki}/apiserver.key",
        f"--client-ca-file={pki}/ca.crt",
        # Never announced (see the reconciler below), but without it a machine that has no network at all is refused.
        f"--advertise-address={node_address(0)}",
        # Endpoints may not be loopback addresses, so the Service `kubernetes` has none.
        "--endpoint-reconciler-type=none",
        f"--service-cluster-ip-range={SERVICE_NETWORK}",
        *([] if by_file else ["--authorization-mode=Node,RBAC"]),
        "--enable-admission-plugins=NodeRestriction",
        "--allow-privileged=true",
        f"--service-account-issuer={ISSUER}",
        f"--service-account-signing-key-file={pki}/service-accounts.key",
        f"--service-account-key-file={pki}/service-accounts.pub",
        # Aggregated API servers learn who calls from headers; only the front proxy may set them.
        f"--requestheader-client-ca-file={pki}/ca.crt",
        "--requestheader-allowed-names=front-proxy-client",
        "--requestheader-username-headers=X-Remote-User",
        "--requestheader-group-headers=X-Remote-Group",
        "--requestheader-extra-headers-prefix=X-Remote-Extra-",
        f"--proxy-client-cert-file={pki}/front-proxy-client.crt",
        f"--proxy-client-key-file={pki}/front-proxy-client.key",
        # No kube-proxy here: reach the Service of a webhook by the addresses of its pods.
        "--enable-aggregator-routing=true",
        f"--kubelet-certificate-authority={pki}/ca.crt",
        f"--kubelet-client-certificate={pki}/apiserver-kubelet-client.crt",
        f"--kubelet-client-key={pki}/apiserver-kubelet-client.key",
        "--kubelet-preferred-address-types=InternalIP",
        "--profiling=false",
        *flags,
    ]
    return Component("kube-apiserver", command, port, "/readyz", SMALL)


def egress_selector(socket: Path) -> str:
    """An EgressSelectorConfiguration (YAML): what goes to pods and nodes passes through the relay behind a unix socket.

    Source: https://kubernetes.io/docs/tasks/extend-kubernetes/setup-konnectivity/
    """
    return f"""\
apiVersion: apiserver.k8s.io/v1beta1
kind: EgressSelectorConfiguration
egressSelections:
- name: cluster
  connection:
    proxyProtocol: HTTPConnect
    transport:
      uds:
        udsName: {socket}
"""


def controller_manager(program: str, pki: Path, kubeconfig: Path, port: int, *, grace_period: int = 12) -> Component:
    """The controllers of Kubernetes itself: Deployments, Jobs, garbage collection, node lifecycle and some thirty more.

    grace_period is how many seconds a node may be silent before it is called NotReady.
    """
    command = [
        program,
        f"--kubeconfig={kubeconfig}",
        f"--authentication-kubeconfig={kubeconfig}",
        f"--authorization-kubeconfig={kubeconfig}",
        "--bind-address=127.0.0.1",
        f"--secure-port={port}",
        f"--tls-cert-file={pki}/controller-manager.crt",
        f"--tls-private-key-file={pki}/controller-manager.key",
        "--leader-elect=false",
        # Its own user has few rights; each controller acts as a service account of its own.
        "--use-service-account-credentials",
        f"--service-account-private-key-file={pki}/service-accounts.key",
        f"--root-ca-file={pki}/ca.crt",
        f"--cluster-signing-cert-file={pki}/ca.crt",
        f"--cluster-signing-key-file={pki}/ca.key",
        # The default of 20 a second holds up a fresh cluster for five seconds.
        "--kube-api-qps=1000",
        "--kube-api-burst=2000",
        # Short for teaching (Kubernetes: 50s and 5s): a stopped node is NotReady within a quarter of a minute.
        f"--node-monitor-grace-period={grace_period}s",
        "--node-monitor-period=2s",
        "--profiling=false",
    ]
    return Component("kube-controller-manager", command, port, environment=SMALL)


def scheduler(program: str, pki: Path, kubeconfig: Path, port: int) -> Component:
    """The default scheduler, as shipped."""
    command = [
        program,
        f"--kubeconfig={kubeconfig}",
        f"--authentication-kubeconfig={kubeconfig}",
        f"--authorization-kubeconfig={kubeconfig}",
        "--bind-address=127.0.0.1",
        f"--secure-port={port}",
        f"--tls-cert-file={pki}/scheduler.crt",
        f"--tls-private-key-file={pki}/scheduler.key",
        "--leader-elect=false",
        "--profiling=false",
    ]
    return Component("kube-scheduler", command, port, environment=SMALL)
