"""A cluster that stands for somebody's: an embedded one, reached by the name of its context, with things of other
people in it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from k8sext import cluster as clusters
from k8sext.cluster.programs.progress import LineProgress
from k8sext.notebook.exercises.exercise import catalogue

THEIRS = """
{apiVersion: v1, kind: Namespace, metadata: {name: theirs}}
---
{apiVersion: v1, kind: ConfigMap, metadata: {name: settings, namespace: theirs}, data: {a: b}}
---
{apiVersion: scheduling.k8s.io/v1, kind: PriorityClass, metadata: {name: theirs}, value: 7}
---
{apiVersion: node.k8s.io/v1, kind: RuntimeClass, metadata: {name: theirs}, handler: any}
---
{apiVersion: rbac.authorization.k8s.io/v1, kind: ClusterRole, metadata: {name: theirs}, rules: []}
"""
Up = Callable[..., clusters.Cluster]


@pytest.fixture(scope="module")
def host(programs: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[clusters.Cluster]:
    """The cluster that is there already."""
    with clusters.up("host", tmp_path_factory.mktemp("host") / "cluster", progress=LineProgress()) as found:
        found.kubectl("apply", "--filename=-", input=THEIRS)
        found.kubectl("wait", "--for=create", "configmap/kube-root-ca.crt", "--namespace=theirs", "--timeout=60s")
        yield found


@pytest.fixture(scope="module")
def borrow(host: clusters.Cluster, tmp_path_factory: pytest.TempPathFactory) -> Up:
    """Call `up` for it, as a learner; each with a folder of its own unless one is given."""

    def call(name: str = "learner", folder: Path | None = None, **options: Any) -> clusters.Cluster:
        data = folder or tmp_path_factory.mktemp("data") / name
        given = {"context": "host", "kubeconfig": host.kubeconfig, "consent": lambda plan: True, **options}
        return clusters.up(name, data, provider="existing", progress=LineProgress(), **given)

    return call


@pytest.fixture(scope="module")
def borrowed(borrow: Up) -> Iterator[clusters.Cluster]:
    """It, made ready for notebooks."""
    with borrow() as found:
        yield found


def k8sext(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run the command line, without a terminal."""
    command = [sys.executable, "-m", "k8sext", *arguments]
    environment = {**os.environ, **variables}
    return subprocess.run(command, capture_output=True, text=True, env=environment, stdin=subprocess.DEVNULL)


def made_by_notebooks() -> set[tuple[str, str]]:
    """Kind and name of what notebooks, exercises and manifests make; the kind of `kubectl create KIND NAME` in small
    letters."""
    root = Path(__file__).parents[2]
    notebooks = [path.read_text() for path in (root / "notebooks" / "source").glob("*.md")]
    pages = "\n".join([*notebooks, *(exercise.solution for exercise in catalogue().values())])
    found = set(re.findall(r"kubectl create ([a-z]+) ([a-z][\w.:-]*)", pages))
    found |= set(re.findall(r'"kind": "(\w+)", "metadata": \{"name": "([\w.:-]+)"', pages))
    typed = re.findall(r"^\s*kubectl [^\n]*<<'EOF'\n(.*?)\n\s*EOF\n", pages, re.DOTALL | re.MULTILINE)
    manifests = [path.read_text() for path in (root / "manifests").rglob("*.yaml")]
    for text in [*map(textwrap.dedent, typed), *manifests]:
        found |= {(item["kind"], item["metadata"]["name"]) for item in yaml.safe_load_all(text) if item}
    return found
