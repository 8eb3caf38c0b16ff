"""kubectl in a namespace of a test's own."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from k8sext.cluster import Cluster, ClusterError
from k8sext.kube.objects import Json
from tests.support.eventually import WITHIN, eventually


class OwnNamespace:
    """A namespace, and kubectl in it."""

    def __init__(self, cluster: Cluster, name: str) -> None:
        self.cluster, self.name = cluster, name

    def kubectl(self, *arguments: str, input: str | None = None) -> str:
        """Run kubectl in this namespace and return its output. Raises ClusterError."""
        return self.cluster.kubectl("--namespace", self.name, *arguments, input=input)

    @property
    def command(self) -> list[str]:
        """The beginning of kubectl's command line, for tests that want its own input, output and exit code."""
        kubectl = str(self.cluster.programs["kubectl"])
        return [kubectl, f"--kubeconfig={self.cluster.kubeconfig}", f"--namespace={self.name}"]

    def get(self, kind: str, name: str) -> Json:
        """One object, as the API server has it now."""
        return json.loads(self.kubectl("get", kind, name, "-o", "json"))

    def until(self, condition: Callable[[], object], within: float = WITHIN) -> None:
        """Wait until a condition holds; a kubectl that fails, and a field that no one has written, mean: not yet."""
        eventually(condition, within=within, every=0.1, not_yet=(ClusterError, KeyError))


def make_namespace(cluster: Cluster, name: str) -> None:
    """Make a namespace, and wait until its controllers have put there what a pod needs to start."""
    cluster.kubectl("create", "namespace", name)
    for needed in ("serviceaccount/default", "configmap/kube-root-ca.crt"):
        cluster.kubectl("wait", "--for=create", needed, "--namespace", name, "--timeout=180s")


@contextmanager
def fresh_namespace(cluster: Cluster, prefix: str) -> Iterator[str]:
    """Make a namespace in which pods can start, for the length of a block; it goes in its own time afterwards."""
    name = f"{prefix}-{time.monotonic_ns() % 10**9:09d}"
    make_namespace(cluster, name)
    yield name
    cluster.kubectl("delete", "namespace", name, "--wait=false")
