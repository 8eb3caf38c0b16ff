"""A namespace of the tests' cluster in which initializers are switched on, and a kubectl for it."""

from __future__ import annotations

import base64
import itertools
import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from k8sext.admission.initializers import Initializer, start, switch_on
from k8sext.cluster import Cluster, ClusterError, environment
from k8sext.kube.background import BackgroundTask
from k8sext.kube.objects import Json
from tests.admission.initializers.objects import configuration, rule
from tests.conftest import until_served
from tests.support.namespace import make_namespace

numbers = itertools.count(1)
RESOURCES = ("pods", "deployments.apps", "configmaps")


class World:
    """One namespace with initializers, and what the test has started in it."""

    def __init__(self, cluster: Cluster, namespace: str) -> None:
        self.cluster, self.namespace = cluster, namespace
        self.kubeconfig = cluster.kubeconfig
        self.running: list[BackgroundTask] = []

    def kubectl(self, *arguments: str, input: str | None = None) -> str:
        """Run kubectl in the namespace. Raises ClusterError with all it printed."""
        done = subprocess.run(
            ["kubectl", f"--namespace={self.namespace}", *arguments],
            input=input,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={**os.environ, **environment(self.cluster)},
        )
        if done.returncode:
            raise ClusterError(done.stdout)
        return done.stdout

    def configure(self, *initializers: Initializer, name: str = "") -> None:
        """Configure initializers, in this order, for what they initialize. Nobody else's objects match: only here are
        they switched on."""
        entries = []
        for found in initializers:
            plural, _, group = found.resources[0].partition(".")
            entries.append((found.name, [rule([plural], [group])]))
        self.create(configuration(name or self.namespace, *entries))

    def start(self, *initializers: Initializer) -> BackgroundTask:
        """Run initializers until the test ends."""
        self.running.append(start(*initializers, namespaces=[self.namespace], kubeconfig=self.kubeconfig))
        return self.running[-1]

    def create(self, item: Json, *options: str) -> str:
        """Create an object."""
        return self.kubectl("create", "-f", "-", *options, input=json.dumps(item))

    def get(self, what: str, *options: str) -> Json:
        """One object, or a list, as JSON."""
        return json.loads(self.kubectl("get", what, *options, "-o", "json"))

    def names(self, what: str) -> list[str]:
        """The names of the objects of a resource."""
        return [item["metadata"]["name"] for item in self.get(what)["items"]]

    def secret(self, name: str) -> dict[str, str]:
        """What a Secret holds, decoded."""
        return {key: base64.b64decode(text).decode() for key, text in self.get(f"secret/{name}")["data"].items()}


def deployment(name: str = "web", replicas: int = 1, **metadata: Any) -> Json:
    """A Deployment of the workbook's image."""
    labels = {"app": name}
    from k8sext import __version__

    container = {"name": "web", "image": f"localhost/k8sext:{__version__}", "command": ["sleep", "infinity"]}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, **metadata},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": {"containers": [container], "terminationGracePeriodSeconds": 0},
            },
        },
    }


@pytest.fixture(scope="session")
def manifests() -> Path:
    """The folder of this room's manifests."""
    return Path(__file__).parents[3] / "manifests" / "initializers"


@pytest.fixture(scope="session")
def configurable(cluster: Cluster, manifests: Path) -> Iterator[Cluster]:
    """The cluster, as long as it knows InitializerConfigurations."""
    cluster.kubectl("apply", "-f", str(manifests / "crd.yaml"))
    cluster.kubectl("wait", "--for=condition=Established", "crd/initializerconfigurations.initializers.k8s.packt.com")
    until_served(cluster, "apis/initializers.k8s.packt.com/v1alpha1/initializerconfigurations")
    yield cluster
    cluster.kubectl("delete", "-f", str(manifests / "crd.yaml"))


@pytest.fixture
def world(configurable: Cluster) -> Iterator[World]:
    """A namespace of the test's own where initializers are switched on; nothing of it stays registered."""
    found = World(configurable, f"initializers-{next(numbers)}")
    make_namespace(configurable, found.namespace)
    with switch_on(*RESOURCES, namespaces=[found.namespace], kubeconfig=found.kubeconfig):
        yield found
        for running in found.running:
            running.stop()
        found.kubectl("delete", "initializerconfigurations", "--all")
    assert not found.kubectl("get", "validatingwebhookconfigurations,mutatingwebhookconfigurations", "-o", "name")
    found.kubectl("delete", "namespace", found.namespace, "--wait=false")
