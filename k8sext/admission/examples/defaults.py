"""What nobody wants to write into every pod: a label that says whose it is, and what it asks of a node."""

from __future__ import annotations

from k8sext.admission import AdmissionRequest, mutating
from k8sext.kube.objects import Json

REQUESTS = {"cpu": "100m", "memory": "64Mi"}


@mutating("pods", on=["CREATE"], reinvocation="IfNeeded")
def pod_defaults(pod: Json, request: AdmissionRequest) -> None:
    """Fill in what is missing; what the author wrote stays. Asked twice, it changes nothing more."""
    labels = pod["metadata"].setdefault("labels", {})
    labels.setdefault("team", request.namespace)
    for container in pod["spec"]["containers"]:
        wanted = container.setdefault("resources", {}).setdefault("requests", {})
        for resource, amount in REQUESTS.items():
            # A limit without a request becomes the request: the API server has filled that in already.
            wanted.setdefault(resource, amount)
