"""Faults: kubelet and runtime are killed with SIGKILL while pods start. Nothing is lost, doubled or stuck."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.infra.kubelet.conftest import IMAGE, Namespace

pytestmark = [pytest.mark.cluster, pytest.mark.slow]


def pid_of(namespace: Namespace, component: str) -> int | None:
    found = next(c for c in namespace.cluster.status()["components"] if c["name"] == component)
    return found["pid"]


def kill(namespace: Namespace, component: str) -> None:
    """Kill it with SIGKILL, once it runs."""
    namespace.until(lambda: pid_of(namespace, component))
    pid = pid_of(namespace, component)
    if pid:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def processes(mark: str) -> Counter[str]:
    """How many processes run with this variable in their environment, by the name of their pod."""
    found: Counter[str] = Counter()
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if entry.name.isdigit() and f"MARK={mark}".encode() in (entry / "environ").read_bytes().split(b"\0"):
                words = (entry / "cmdline").read_bytes().split(b"\0")
                if words[0] == b"sleep":
                    found[
                        next(v for v in (entry / "environ").read_text().split("\0") if v.startswith("HOSTNAME="))
                    ] += 1
    return found


def running(namespace: Namespace) -> list[dict[str, Any]]:
    items = json.loads(namespace.kubectl("get", "pods", "-l", "app=many", "-o", "json"))["items"]
    return [pod for pod in items if all(s["ready"] for s in pod["status"].get("containerStatuses", [{"ready": False}]))]


@pytest.mark.parametrize("victims", [("kubelet",), ("kubelet", "container-runtime")], ids="+".join)
def test_fifty_pods_start_though_everything_is_killed_in_between(
    namespace: Namespace, victims: tuple[str, ...]
) -> None:
    mark = namespace.name
    env = [{"name": "MARK", "value": mark}]
    container = {"name": "main", "image": IMAGE, "command": ["sleep", "5000"], "env": env}
    template = {
        "metadata": {"labels": {"app": "many"}},
        "spec": {"containers": [container], "terminationGracePeriodSeconds": 1},
    }
    spec = {"replicas": 50, "selector": {"matchLabels": {"app": "many"}}, "template": template}
    namespace.apply({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "many"}, "spec": spec})
    chance = random.Random(len(victims))
    for _ in range(2):
        for victim in victims:
            time.sleep(chance.uniform(0.2, 1.0))  # not waiting for anything: the blow is to fall at any moment
            kill(namespace, victim)
    namespace.until(lambda: len(running(namespace)) == 50, within=180)
    names = {f"HOSTNAME={pod['metadata']['name']}" for pod in running(namespace)}
    namespace.until(lambda: processes(mark) == Counter(names), within=60)
    namespace.kubectl("delete", "deployment", "many", "--timeout=180s")
    namespace.until(lambda: not processes(mark), within=180)
    namespace.until(lambda: "No resources" in namespace.kubectl("get", "pods") or not namespace.kubectl("get", "pods"))


def test_a_restarted_kubelet_leaves_running_pods_alone(namespace: Namespace) -> None:
    probe = {"exec": {"command": ["true"]}, "periodSeconds": 1}
    namespace.pod("one", wait="Running", container={"readinessProbe": probe})
    namespace.until(lambda: namespace.condition("one", "Ready") == "True")
    before = namespace.get("pod", "one")["status"]
    pid = pid_of(namespace, "kubelet")
    kill(namespace, "kubelet")
    namespace.until(lambda: pid_of(namespace, "kubelet") not in (pid, None))
    namespace.until(lambda: "sleep" in namespace.kubectl("exec", "one", "--", "sh", "-c", "echo sleep"))
    after = namespace.get("pod", "one")["status"]
    assert after["containerStatuses"] == before["containerStatuses"]
    assert after["conditions"] == before["conditions"]


def test_a_pod_deleted_while_the_kubelet_is_away_goes_when_it_comes_back(namespace: Namespace) -> None:
    namespace.pod("one", wait="Running")
    kill(namespace, "kubelet")
    namespace.kubectl("delete", "pod", "one", "--timeout=90s")


def test_a_pod_forgotten_while_the_kubelet_is_away_leaves_no_process(namespace: Namespace) -> None:
    env = [{"name": "MARK", "value": namespace.name}]
    namespace.pod("one", container={"command": ["sleep", "5000"], "env": env}, wait="Running")
    namespace.until(lambda: processes(namespace.name))
    kill(namespace, "kubelet")
    namespace.kubectl("delete", "pod", "one", "--force", "--grace-period=0")
    namespace.until(lambda: not processes(namespace.name))
