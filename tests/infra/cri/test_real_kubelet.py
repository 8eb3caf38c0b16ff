"""The real kubelet drives this runtime: a static pod, without a control plane."""

from __future__ import annotations

import json
import os
import signal
import ssl
import subprocess
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from k8sext.infra.cri.built_in import BUILT_IN
from tests.infra.real_kubelet import configuration, free_port, tidied
from tests.support.eventually import eventually


@pytest.mark.slow
@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="the real kubelet wants root")
def test_the_real_kubelet_runs_a_pod_on_this_runtime(
    folder: Path, start_server: Callable[..., Any], real_kubelet: Path
) -> None:
    server = start_server()
    eventually(server.socket.exists)
    (folder / "static").mkdir()
    (folder / "static" / "pod.json").write_text(json.dumps(pod()))
    port = free_port()
    (folder / "kubelet.json").write_text(json.dumps(configuration(folder, server.socket, port)))
    command = [
        str(real_kubelet),
        "--config",
        f"{folder}/kubelet.json",
        "--root-dir",
        f"{folder}/kubelet",
        "--cert-dir",
        f"{folder}/certificates",
    ]
    with tidied(folder), (folder / "kubelet.log").open("wb") as log:
        process = subprocess.Popen([*command, "--hostname-override", "judge"], stdout=log, stderr=log)
        try:
            status = eventually(lambda: ready_status(port), not_yet=OSError)
            assert status["podIP"] == "10.244.0.2"
            log_file = next((folder / "logs").glob("default_hello-judge_*/main/0.log"))
            lines = [line.split(" ", 3)[3] for line in log_file.read_text().splitlines()]
            assert lines == ["hello-judge", "10.244.0.2\thello-judge", "read-only", "127.244.0.2"]
            assert ask(port, "/run/default/hello-judge/main?cmd=cat%20/data/file", method="POST") == b"kept\n"
            (folder / "static" / "pod.json").unlink()
            eventually(lambda: any(server.root.glob("node/cri/containers/*/exit.json")))
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(20)


def pod() -> dict[str, Any]:
    asked = [
        "hostname",
        "tail -n 1 /etc/hosts",
        "touch /x 2> /dev/null || echo read-only",
        'echo "$K8SEXT_BIND_ADDRESS"',
    ]
    script = "; ".join([*asked, "echo kept > /data/file", "exec sleep 1000"])
    security = {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    container = {
        "name": "main",
        "image": BUILT_IN,
        "command": ["sh", "-c", script],
        "resources": {"limits": {"memory": "64Mi", "cpu": "500m"}},
        "volumeMounts": [{"name": "data", "mountPath": "/data"}],
        "readinessProbe": {"exec": {"command": ["cat", "/data/file"]}, "periodSeconds": 1},
        "securityContext": {**security, "readOnlyRootFilesystem": True},
    }
    spec = {
        "containers": [container],
        "volumes": [{"name": "data", "emptyDir": {}}],
        "terminationGracePeriodSeconds": 1,
    }
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "hello", "namespace": "default"}, "spec": spec}


def ready_status(port: int) -> dict[str, Any] | None:
    for item in json.loads(ask(port, "/pods"))["items"] or []:
        if any(container["ready"] for container in item["status"].get("containerStatuses", [])):
            return item["status"]
    return None


def ask(port: int, path: str, method: str = "GET") -> bytes:
    context = ssl._create_unverified_context()
    request = urllib.request.Request(f"https://127.0.0.1:{port}{path}", method=method)
    with urllib.request.urlopen(request, context=context, timeout=10) as answer:
        return answer.read()
