"""What the tests on a real cluster share: a namespace for each test, and a way to make pods in it."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import k8sext
from k8sext.cluster.errors import ClusterError
from tests.conftest import wait_for

IMAGE = f"localhost/k8sext:{k8sext.__version__}"
Json = dict[str, Any]


class Namespace:
    """A namespace of one test, and kubectl in it."""

    def __init__(self, cluster: Any, name: str) -> None:
        self.cluster, self.name = cluster, name

    def kubectl(self, *args: str) -> str:
        return self.cluster.kubectl("--namespace", self.name, *args)

    @property
    def command(self) -> list[str]:
        """The real kubectl, for those who want its own input, output and exit code."""
        return [
            str(self.cluster.programs["kubectl"]),
            f"--kubeconfig={self.cluster.kubeconfig}",
            f"--namespace={self.name}",
        ]

    def get(self, kind: str, name: str) -> Json:
        return json.loads(self.kubectl("get", kind, name, "-o", "json"))

    def apply(self, *items: Json) -> None:
        """Create objects; they need no namespace and no kind if they are pods."""
        for item in items:
            body = {"apiVersion": "v1", "kind": "Pod"} | item
            self.cluster.kubectl("--namespace", self.name, "apply", "-f", "-", input=json.dumps(body))

    def pod(
        self, name: str, script: str = "sleep 1000", *, wait: str = "", container: Json | None = None, **spec: Any
    ) -> None:
        """A pod with one container `main` that runs a shell script; `wait` for a phase."""
        main = {"name": "main", "image": IMAGE, "command": ["sh", "-c", script]} | (container or {})
        spec = {"terminationGracePeriodSeconds": 1, "containers": [main]} | spec
        self.apply({"metadata": {"name": name, "labels": {"app": name}}, "spec": spec})
        if wait:
            self.until(lambda: self.get("pod", name)["status"].get("phase") == wait)

    def status(self, name: str) -> Json:
        """The status of the first container of a pod."""
        return self.get("pod", name)["status"].get("containerStatuses", [{}])[0]

    def condition(self, name: str, kind: str) -> str:
        conditions = self.get("pod", name)["status"].get("conditions", [])
        return next((c["status"] for c in conditions if c["type"] == kind), "")

    def events(self, name: str) -> list[tuple[str, str]]:
        """Reason and message of all events about a pod."""
        items = json.loads(self.kubectl("get", "events", "-o", "json"))["items"]
        return [(item["reason"], item["message"]) for item in items if item["involvedObject"]["name"] == name]

    def reasons(self, name: str) -> set[str]:
        return {reason for reason, _ in self.events(name)}

    def until(self, condition: Callable[[], object], within: float = 90) -> None:
        """Wait until a condition holds; a kubectl that fails, and a field that no one has written, mean: not yet."""

        def holds() -> object:
            try:
                return condition()
            except (ClusterError, KeyError) as error:
                raise AssertionError(repr(error)) from error

        wait_for(holds, within=within, every=0.1)


@pytest.fixture
def namespace(cluster: Any) -> Iterator[Namespace]:
    """A namespace that is gone when the test is over."""
    name = f"kubelet-{time.monotonic_ns() % 10**9:09d}"
    cluster.kubectl("create", "namespace", name)
    found = Namespace(cluster, name)
    wait_for(lambda: "default" in found.kubectl("get", "serviceaccount", "-o", "name"))
    wait_for(lambda: "kube-root-ca.crt" in found.kubectl("get", "configmap", "-o", "name"))
    yield found
    cluster.kubectl("delete", "namespace", name, "--wait=false")
