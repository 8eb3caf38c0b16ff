"""Put a container of the platform beside those of every Deployment."""

from __future__ import annotations

from typing import Any

from k8sext import __version__
from k8sext.admission.initializers.controller import initializer
from k8sext.kube.objects import Json

SIDECAR = {
    "name": "sidecar",
    "image": f"localhost/k8sext:{__version__}",
    "command": ["sleep", "infinity"],
}


@initializer("sidecar.initializers.k8s.packt.com", "deployments.apps")
def sidecar(deployment: Json, _client: Any) -> None:
    """Add the container, unless there is one of that name."""
    containers = deployment["spec"]["template"]["spec"]["containers"]
    if all(container["name"] != SIDECAR["name"] for container in containers):
        containers.append(SIDECAR)
