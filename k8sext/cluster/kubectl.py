"""Running kubectl, for all of this room but `existing`, which speaks of contexts."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

from k8sext.cluster.errors import ClusterError
from k8sext.cluster.paths import Layout


def run(program: Path | str, *arguments: str, environment: Mapping[str, str], input: str | None = None) -> str:
    """What kubectl prints, with more in its environment. Raises ClusterError with kubectl's own message when it
    fails."""
    command = [str(program), *arguments]
    done = subprocess.run(
        command, input=input, capture_output=True, text=True, env={**os.environ, "KUBERC": "off", **environment}
    )
    if done.returncode != 0:
        raise ClusterError(f"kubectl {' '.join(arguments)} failed: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout


def kubectl(layout: Layout, *arguments: str) -> str:
    """What the kubectl of a cluster prints, as its administrator. Raises ClusterError."""
    environment = {"KUBECONFIG": str(layout.kubeconfig), "KUBECACHEDIR": str(layout.kubectl_cache)}
    return run(layout.config_in_use()["programs"]["kubectl"], *arguments, environment=environment)


def usual_files() -> str:
    """The kubeconfig that kubectl reads: $KUBECONFIG, else ~/.kube/config."""
    return os.environ.get("KUBECONFIG") or str(Path.home() / ".kube" / "config")


def contexts(kubectl: Path, files: str) -> list[str]:
    """The contexts in a kubeconfig; none where it cannot be read."""
    command = [str(kubectl), "config", "get-contexts", "--output=name"]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "KUBECONFIG": files})
    return done.stdout.split() if done.returncode == 0 else []
