"""The embedded cluster beside a kind cluster of the same nodes: up, the start of a pod, all notebooks, memory.

Needs Docker, and images that can be had (K8SEXT_KIND_NODE_IMAGE and K8SEXT_IMAGE_BASE name others): `python -m
tests.kind --run python -m benchmarks kind` gives both where they are missing.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil

from benchmarks.report import Row
from k8sext import __version__, cluster
from k8sext.cluster.docker import check
from k8sext.cluster.errors import ClusterError

ROOT = Path(__file__).parents[1]
PROVIDERS = ("embedded", "kind")
PODS = 20


def run(rounds: int) -> Iterator[Row]:
    """All of it, round by round on one and the other; without Docker nothing, and why."""
    try:
        check()
    except ClusterError as reason:
        print(f"not measured: {reason}")
        return
    up: dict[str, list[float]] = {provider: [] for provider in PROVIDERS}
    pods: dict[str, list[float]] = {provider: [] for provider in PROVIDERS}
    memory: dict[str, list[float]] = {provider: [] for provider in PROVIDERS}
    for _ in range(rounds):
        for provider in PROVIDERS:
            began = time.perf_counter()
            with cluster.up(f"bench-{provider}", provider=provider) as found:
                up[provider].append(time.perf_counter() - began)
                pods[provider] += [_pod(found, f"pod-{number}") for number in range(PODS)]
                memory[provider].append(_memory(found))
    yield _row("up, all nodes Ready, image loaded", "s", up)
    yield _row("a pod from `kubectl run` to Ready", "s", pods)
    yield _row("memory of the cluster after its pods", "MB", memory)
    yield _row("all notebooks through nbval", "s", {provider: [_notebooks(provider)] for provider in PROVIDERS})


def _row(what: str, unit: str, values: dict[str, list[float]]) -> Row:
    return Row(what, unit, values["embedded"], "kind", values["kind"])


def _pod(found: cluster.Cluster, name: str) -> float:
    """Seconds from the command that makes a pod to the one that sees it Ready."""
    began = time.perf_counter()
    image = f"--image=localhost/k8sext:{__version__}"
    grace = json.dumps({"spec": {"terminationGracePeriodSeconds": 0}})
    found.kubectl("run", name, image, f"--overrides={grace}", "--command", "--", "sleep", "infinity")
    found.kubectl("wait", f"pod/{name}", "--for=condition=Ready", "--timeout=60s")
    seconds = time.perf_counter() - began
    found.kubectl("delete", "pod", name, "--wait=false")
    return seconds


def _memory(found: cluster.Cluster) -> float:
    """The memory of all its processes, in MB: as Docker counts it, or the sum over programs and supervisor."""
    status = found.status()
    total = sum(component["memory"] or 0 for component in status["components"])
    if status["pid"]:
        total += psutil.Process(status["pid"]).memory_info().rss
    return total / 1e6


def _notebooks(provider: str) -> float:
    began = time.perf_counter()
    command = [sys.executable, "-m", "tests.notebooks", "--provider", provider]
    subprocess.run(command, cwd=ROOT, stdout=subprocess.DEVNULL, env={**os.environ, "PYTEST_ADDOPTS": "-q"})
    return time.perf_counter() - began
