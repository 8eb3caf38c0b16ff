"""A namespace and the type WeatherReport on the tests' cluster."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from k8sext.cluster import Cluster, ClusterError, environment
from k8sext.resources import weather_report_crd
from tests.admission.reviews import report
from tests.conftest import until_served

MANIFESTS = Path(__file__).parents[2] / "manifests" / "admission"
numbers = itertools.count(1)


class Lesson:
    """A namespace of the test's own, and kubectl in it."""

    def __init__(self, cluster: Cluster, namespace: str) -> None:
        self.cluster, self.namespace = cluster, namespace

    def create(self, city: str = "Paris", days: int = 1, name: str = "", *options: str, **metadata: Any) -> str:
        """Create a weather report; returns what kubectl printed, warnings included. Raises ClusterError."""
        name = name or f"report-{next(numbers)}"
        wanted = report(city, days, **metadata) | {}
        wanted["metadata"] |= {"name": name, "namespace": self.namespace}
        return self.kubectl("create", "-f", "-", *options, input=json.dumps(wanted))

    def kubectl(self, *arguments: str, input: str | None = None) -> str:
        """Run kubectl in this namespace; returns standard output and errors. Raises ClusterError."""
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

    def registered(self) -> list[str]:
        """The webhook configurations there are."""
        kinds = "validatingwebhookconfigurations,mutatingwebhookconfigurations"
        return [line.partition("/")[2] for line in self.kubectl("get", kinds, "-o", "name").split()]


@pytest.fixture(scope="module")
def weather_reports(cluster: Cluster) -> Cluster:
    """The cluster, once it knows weather reports; tests of other rooms, which may run in between, take the kind away
    again."""
    cluster.kubectl("apply", "-f", "-", input=json.dumps(weather_report_crd()))
    cluster.kubectl("wait", "--for=condition=Established", "crd/weatherreports.k8s.packt.com")
    until_served(cluster, "apis/k8s.packt.com/v1/weatherreports")
    return cluster


@pytest.fixture
def lesson(weather_reports: Cluster, monkeypatch: pytest.MonkeyPatch) -> Iterator[Lesson]:
    """A namespace that is gone afterwards; nothing may stay registered in the cluster."""
    lesson = Lesson(weather_reports, f"admission-{next(numbers)}")
    monkeypatch.setenv("KUBECONFIG", str(weather_reports.kubeconfig))
    lesson.kubectl("create", "namespace", lesson.namespace)
    before = lesson.registered()
    yield lesson
    assert lesson.registered() == before
    lesson.kubectl("delete", "namespace", lesson.namespace, "--wait=false")
