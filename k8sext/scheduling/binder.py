"""Tell the API server: bind a pod to a node, or say why it cannot be placed.

Binding is a request of its own (pods/NAME/binding) that sets nodeName once and for ever; the server refuses a second
one with 409.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Mapping
from typing import TYPE_CHECKING

from k8sext.kube.objects import Json, condition_of, timestamp
from k8sext.kube.request import MERGE_PATCH, STRATEGIC_MERGE_PATCH, ApiError, Unreachable, request
from k8sext.kube.resource import PODS
from k8sext.scheduling.snapshot import PodInfo

if TYPE_CHECKING:
    from kubernetes.aio.client import ApiClient

PATIENCE = 0.2, 5.0


class Binder:
    """Writes what a scheduler decides."""

    def __init__(self, client: ApiClient) -> None:
        self._client = client

    async def bind(self, pod: PodInfo, node: str) -> None:
        """Bind a pod to a node. Raises ApiError when the server refuses, Unreachable when nobody knows what it did."""
        name = pod.item["metadata"]["name"]
        body = {
            "apiVersion": "v1",
            "kind": "Binding",
            # with the UID: another pod that took the name meanwhile is not meant
            "metadata": {"name": name, "namespace": pod.namespace, "uid": pod.uid},
            "target": {"apiVersion": "v1", "kind": "Node", "name": node},
        }
        await request(self._client, "POST", _path(pod, "binding"), body)

    async def truth(self, pod: PodInfo) -> Json | None:
        """What the API server knows of this pod; None if it is gone. Asks until there is an answer."""
        delay, longest = PATIENCE
        while True:
            try:
                item = await request(self._client, "GET", _path(pod), timeout=5)
                return item if item["metadata"]["uid"] == pod.uid else None
            except ApiError as error:
                if error.code == 404:
                    return None
            except Unreachable:
                pass
            await asyncio.sleep(delay * random.uniform(0.5, 1.5))
            delay = min(delay * 2, longest)

    async def say_unschedulable(self, pod: PodInfo, message: str) -> None:
        """Set the condition PodScheduled to False, unless it says so already. Raises ApiError, Unreachable."""
        before = condition_of(pod.item, "PodScheduled")
        if (before.get("reason"), before.get("message")) == ("Unschedulable", message):
            return
        condition = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message}
        condition["lastTransitionTime"] = before.get("lastTransitionTime") or timestamp()
        body = {"metadata": {"uid": pod.uid}, "status": {"conditions": [condition]}}
        await request(self._client, "PATCH", _path(pod, "status"), body, content_type=STRATEGIC_MERGE_PATCH)

    async def annotate(self, pod: PodInfo, annotations: Mapping[str, str]) -> None:
        """Write annotations on a pod. Raises ApiError, Unreachable."""
        body = {"metadata": {"uid": pod.uid, "annotations": dict(annotations)}}
        await request(self._client, "PATCH", _path(pod), body, content_type=MERGE_PATCH)


def _path(pod: PodInfo, subresource: str = "") -> str:
    return PODS.path(pod.item["metadata"]["name"], pod.namespace, subresource)
