"""What the tests of clients share: kubectl with our plugins on PATH, in a namespace and a home of their own."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import k8sext
from k8sext import cluster as clusters
from tests.support.eventually import eventually
from tests.support.namespace import make_namespace

IMAGE = f"localhost/k8sext:{k8sext.__version__}"
NAMESPACE = "clients"


class Run:
    """kubectl as a user runs it: `run("uptime", "-A")` returns the finished process."""

    def __init__(self, environment: dict[str, str], folder: Path) -> None:
        self.environment, self.folder = environment, folder

    def __call__(self, *arguments: str, input: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["kubectl", *arguments],
            input=input,
            capture_output=True,
            text=True,
            env=self.environment | environment,
            cwd=self.folder,
            timeout=60,
        )

    def output(self, *arguments: str, **environment: str) -> str:
        done = self(*arguments, **environment)
        assert done.returncode == 0, done.stderr
        return done.stdout


@pytest.fixture
def kubectl(cluster: clusters.Cluster, tmp_path: Path) -> Run:
    """kubectl with the plugins; HOME and the configuration are empty, the working folder is tmp_path."""
    home = tmp_path / "home"
    home.mkdir()
    own = {"HOME": str(home), "XDG_CONFIG_HOME": str(home / "config"), "XDG_STATE_HOME": str(home / "state")}
    kept = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "KUBECTL_CTX_AUTO_RULES")}
    return Run(kept | clusters.environment(cluster) | own, tmp_path)


@pytest.fixture(scope="session")
def namespace(cluster: clusters.Cluster) -> Iterator[str]:
    """The namespace of these tests, with the pod `web` running in it."""
    make_namespace(cluster, NAMESPACE)
    cluster.kubectl("apply", "-f", "-", input=json.dumps(pod("web", "sleep 1000")))
    eventually(lambda: '"Running"' in cluster.kubectl("get", "pod", "web", "-n", NAMESPACE, "-o", "json"))
    eventually(
        lambda: cluster.kubectl(
            "get", "pod", "web", "-n", NAMESPACE, "-o", "jsonpath={.status.containerStatuses[0].state.running}"
        )
    )
    yield NAMESPACE
    cluster.kubectl("delete", "namespace", NAMESPACE, "--wait=false")


def pod(name: str, script: str, **spec: Any) -> dict[str, Any]:
    """A pod that runs a shell script."""
    container = {"name": "main", "image": IMAGE, "command": ["sh", "-c", script]}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": NAMESPACE, "labels": {"app": name}},
        "spec": {"terminationGracePeriodSeconds": 1, "containers": [container]} | spec,
    }
