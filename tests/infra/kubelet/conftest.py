"""What tests share: on a real cluster a namespace with pods in it; without one, a pod's worker on a stage."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

import k8sext
from k8sext.kube.objects import Json
from tests.infra.kubelet.fakes import FakeApi, FakeRuntime, surroundings
from tests.infra.kubelet.stage import Stage
from tests.support.namespace import OwnNamespace, fresh_namespace

IMAGE = f"localhost/k8sext:{k8sext.__version__}"


class Namespace(OwnNamespace):
    """A namespace of one test, and its pods."""

    def apply(self, *items: Json) -> None:
        """Create objects; they need no namespace and no kind if they are pods."""
        for item in items:
            body = {"apiVersion": "v1", "kind": "Pod"} | item
            self.kubectl("apply", "-f", "-", input=json.dumps(body))

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


@pytest.fixture
def namespace(cluster: Any) -> Iterator[Namespace]:
    """A namespace that is gone when the test is over."""
    with fresh_namespace(cluster, "kubelet") as name:
        yield Namespace(cluster, name)


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    runtime, api = FakeRuntime(), FakeApi()
    async with surroundings(tmp_path, runtime, api) as parts:
        found = Stage(parts, runtime, api)
        yield found
        await found.die()
