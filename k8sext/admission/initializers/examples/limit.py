"""Block what breaks a limit of one's own: so many replicas in a namespace, over all its Deployments."""

from __future__ import annotations

from typing import TYPE_CHECKING

from k8sext.admission.initializers.controller import initializer
from k8sext.admission.initializers.model import read
from k8sext.admission.review import Denied
from k8sext.kube.objects import Json
from k8sext.kube.request import request
from k8sext.kube.resource import DEPLOYMENTS

if TYPE_CHECKING:
    from kubernetes.aio.client import ApiClient

NAME = "limit.initializers.k8s.packt.com"
MOST = 5


@initializer(NAME, "deployments.apps")
async def limit(deployment: Json, client: ApiClient) -> None:
    """Refuse a Deployment that would make it too many, beside those that have passed here.

    One object after the other is counted, and every one is stored already: two that come at once cannot both find room,
    as they could before a webhook.
    """
    namespace = deployment["metadata"]["namespace"]
    others = await request(client, "GET", DEPLOYMENTS.collection(namespace))
    there = sum(other["spec"].get("replicas", 1) for other in others["items"] or [] if _has_passed(other))
    asked = deployment["spec"].get("replicas", 1)
    if there + asked > MOST:
        raise Denied(f"{MOST} replicas are allowed in {namespace}: {there} are there, and {asked} more are too many")


def _has_passed(deployment: Json) -> bool:
    found = read(deployment)
    return found is None or (NAME not in found.pending and found.result is None)
