"""How a volume grows: first the volume as such, here; then its file system where it is used, by the kubelet.

The fields of a claim's status are those of KEP-1790 (recovering from failed expansion), which kubelets wait for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from k8sext.infra.csi.persistent import asked
from k8sext.infra.csi.proto import csi_pb2 as csi
from k8sext.kube.objects import Json, timestamp
from k8sext.kube.quantity import parse, written
from k8sext.kube.request import MERGE_PATCH, STRATEGIC_MERGE_PATCH, request
from k8sext.kube.resource import PERSISTENT_VOLUME_CLAIMS, PERSISTENT_VOLUMES

if TYPE_CHECKING:
    from kubernetes.aio.client import ApiClient

PENDING = "FileSystemResizePending"


class Expansion:
    """The controller's half."""

    def __init__(self, client: ApiClient, driver: Any) -> None:
        self._client, self._driver = client, driver

    async def sync(self, claim: Json, volume: Json) -> bool:
        """Let a volume grow if its claim asks for more. Returns whether it did.

        Raises ApiError, Unreachable, AioRpcError.
        """
        wanted, size = asked(claim), int(parse(volume["spec"]["capacity"]["storage"]))
        if wanted > size:
            question = csi.ControllerExpandVolumeRequest(
                volume_id=volume["spec"]["csi"]["volumeHandle"],
                capacity_range=csi.CapacityRange(required_bytes=wanted),
            )
            grown = await self._driver.ControllerExpandVolume(question, timeout=120)
            capacity = {"spec": {"capacity": {"storage": written(grown.capacity_bytes)}}}
            path = PERSISTENT_VOLUMES.path(volume["metadata"]["name"])
            volume = await request(self._client, "PATCH", path, capacity, content_type=MERGE_PATCH)
        return await self._ask_node(claim, volume)

    async def _ask_node(self, claim: Json, volume: Json) -> bool:
        """Leave word for the kubelet that the volume is larger than what the claim was told. Returns whether it did."""
        status, size = claim.get("status", {}), volume["spec"]["capacity"]["storage"]
        told = status.get("capacity", {}).get("storage")
        waiting = any(condition["type"] == PENDING for condition in status.get("conditions") or [])
        if told is None or parse(told) >= parse(size) or waiting:
            return False
        condition = {
            "type": PENDING,
            "status": "True",
            "lastTransitionTime": timestamp(),
            "message": "Waiting for the node of a pod that uses the volume.",
        }
        word = {
            "allocatedResources": {"storage": size},
            "allocatedResourceStatuses": {"storage": "NodeResizePending"},
            "conditions": [condition],
        }
        metadata = claim["metadata"]
        path = PERSISTENT_VOLUME_CLAIMS.path(metadata["name"], metadata["namespace"], "status")
        await request(self._client, "PATCH", path, {"status": word}, content_type=STRATEGIC_MERGE_PATCH)
        return True
