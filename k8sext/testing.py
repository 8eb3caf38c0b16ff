"""A pytest plugin: a real Kubernetes for anybody's tests. It is there as soon as the package is installed.

def test_a_deployment_gets_its_pods(k8s_namespace):
    k8s_namespace.kubectl("create", "deployment", "web", "--image=localhost/k8sext:0.1.0", "--", "sleep", "1000")
    k8s_namespace.kubectl("rollout", "status", "deployment/web", "--timeout=60s")
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:  # whoever has this installed pays for it only in tests that ask for a cluster
    from k8sext.cluster import Cluster


@dataclass(frozen=True)
class Namespace:
    """A namespace of one test."""

    cluster: Cluster
    name: str

    def kubectl(self, *arguments: str, input: str | None = None) -> str:
        """Run the real kubectl in this namespace and return what it prints. Raises k8sext.cluster.ClusterError with its
        message."""
        return self.cluster.kubectl("--namespace", self.name, *arguments, input=input)


@pytest.fixture(scope="session")
def k8s_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A cluster for all tests of the session, stopped at its end; with K8SEXT_CLUSTER set, the running one of that
    name, left as it is.

    It has `.kubeconfig` (a path), `.server` (an address) and `.kubectl(*arguments, input=None)`.
    """
    from k8sext import cluster
    from k8sext.cluster.programs.progress import LineProgress

    shared = os.environ.get("K8SEXT_CLUSTER")
    name = shared or f"pytest-{uuid.uuid4().hex[:6]}"
    data = None if shared else tmp_path_factory.mktemp("k8sext") / name
    with cluster.up(name, data, progress=LineProgress()) as found:  # stops it only if it was started here
        yield found


@pytest.fixture
def k8s_namespace(k8s_cluster: Cluster) -> Iterator[Namespace]:
    """A fresh namespace on that cluster, with its `default` service account; deleted after the test."""
    name = f"test-{uuid.uuid4().hex[:8]}"
    k8s_cluster.kubectl("create", "namespace", name)
    try:
        k8s_cluster.kubectl("wait", "--for=create", "serviceaccount/default", "--namespace", name, "--timeout=60s")
        yield Namespace(k8s_cluster, name)
    finally:
        k8s_cluster.kubectl("delete", "namespace", name, "--wait=false")
