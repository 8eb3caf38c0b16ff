"""Can the control plane call a program on this machine, such as a webhook in a notebook? Tried, not guessed.

A webhook is registered that only a dry run of our own meets, and we look whether anybody knocks at its port.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import time
from typing import Any

from k8sext.cluster.errors import ClusterError
from k8sext.cluster.providers.existing.inventory import HOME
from k8sext.cluster.providers.existing.target import OWNER, Target

NAME = "callback.k8sext.dev"
LIMIT = 8.0


def find(target: Target, owner: str) -> str:
    """The address of this machine at which the control plane reaches it, "" when there is none.

    Tried is $K8SEXT_CALLBACK_HOST, or else loopback and Docker's bridge, which only clusters on this machine reach.
    Raises ClusterError when the address named is not one of this machine.
    """
    with contextlib.ExitStack() as stack:
        listening = {}
        for host in _candidates():
            try:
                listening[host] = stack.enter_context(_listener(host))
            except OSError as error:
                if host == os.environ.get("K8SEXT_CALLBACK_HOST"):
                    raise ClusterError(
                        f"K8SEXT_CALLBACK_HOST is {host}, where this machine cannot listen ({error.strerror}): name an "
                        "address of its own."
                    ) from error
        configuration = _webhooks({host: door.getsockname()[1] for host, door in listening.items()}, owner)
        try:
            target.run("apply", "--filename=-", input=configuration)
            return _first_knock(target, listening)
        finally:
            target.run("delete", "validatingwebhookconfiguration", NAME, "--ignore-not-found")


def _candidates() -> list[str]:
    if named := os.environ.get("K8SEXT_CALLBACK_HOST"):
        return [named]
    return ["127.0.0.1", *_docker_bridge()]


def _docker_bridge() -> list[str]:
    from k8sext.cluster.docker import bridge_address

    with contextlib.suppress(ClusterError):
        if shutil.which("docker"):
            return [bridge_address()]
    return []


def _listener(host: str) -> socket.socket:
    door = socket.create_server((host, 0), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    door.setblocking(False)
    return door


def _webhooks(ports: dict[str, int], owner: str) -> dict[str, Any]:
    rules = [{"apiGroups": [""], "apiVersions": ["v1"], "resources": ["configmaps"], "operations": ["CREATE"]}]
    here = {"matchLabels": {"kubernetes.io/metadata.name": HOME}}
    return {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingWebhookConfiguration",
        "metadata": {"name": NAME, "labels": {OWNER: owner}},
        "webhooks": [
            {
                "name": f"n{number}.{NAME}",
                "clientConfig": {"url": f"https://{f'[{host}]' if ':' in host else host}:{port}/"},
                "rules": rules,
                "namespaceSelector": here,
                "failurePolicy": "Ignore",
                "sideEffects": "None",
                "timeoutSeconds": 1,
                "admissionReviewVersions": ["v1"],
            }
            for number, (host, port) in enumerate(ports.items())
        ],
    }


def _first_knock(target: Target, listening: dict[str, socket.socket]) -> str:
    trial = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "trial", "namespace": HOME}}
    deadline = time.monotonic() + LIMIT
    while time.monotonic() < deadline:
        target.run("create", "--dry-run=server", "--filename=-", input=trial)
        for host, door in listening.items():
            with contextlib.suppress(BlockingIOError):
                door.accept()[0].close()
                return host
        time.sleep(0.3)
    return ""
