"""The CSINode object: which CSI drivers this node has, what they call it, and by which labels they know where a volume can be reached.

The scheduler reads it, and so do provisioners. https://kubernetes.io/docs/reference/kubernetes-api/config-and-storage-resources/csi-node-v1/
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from k8sext.infra.kubelet.pod import Json
from k8sext.kube.request import MERGE_PATCH, ApiError, request

if TYPE_CHECKING:
    from kubernetes.aio.client import ApiClient

CSI_NODES = "/apis/storage.k8s.io/v1/csinodes"
TRIES = 5


class CsiNode:
    """The CSINode of one node."""

    def __init__(self, client: ApiClient, node_name: str) -> None:
        self._client, self._name = client, node_name

    async def add(self, driver: str, node_id: str, topology: dict[str, str]) -> None:
        """Make a driver known, its topology as labels of the Node. Raises ApiError, Unreachable."""
        node = f"/api/v1/nodes/{self._name}"
        if topology:
            await request(self._client, "PATCH", node, {"metadata": {"labels": topology}}, content_type=MERGE_PATCH)
        entry = {"name": driver, "nodeID": node_id, "topologyKeys": sorted(topology)}
        await self._change(driver, [entry])

    async def remove(self, driver: str) -> None:
        """Take a driver out. The label stays, as volumes that were made here do. Raises ApiError, Unreachable."""
        await self._change(driver, [])

    async def _change(self, driver: str, entries: list[Json]) -> None:
        for last in (False,) * (TRIES - 1) + (True,):
            try:
                return await self._change_once(driver, entries)
            except ApiError as error:
                if error.code != 409 or last:  # somebody else was quicker: read again
                    raise

    async def _change_once(self, driver: str, entries: list[Json]) -> None:
        path = f"{CSI_NODES}/{self._name}"
        try:
            found = await request(self._client, "GET", path)
        except ApiError as error:
            if error.code != 404:
                raise
            owner = await request(self._client, "GET", f"/api/v1/nodes/{self._name}")
            reference = {"apiVersion": "v1", "kind": "Node", "name": self._name, "uid": owner["metadata"]["uid"]}
            metadata = {"name": self._name, "ownerReferences": [reference]}
            await request(self._client, "POST", CSI_NODES, {"metadata": metadata, "spec": {"drivers": entries}})
            return
        drivers = found["spec"].get("drivers") or []
        wanted = [*(other for other in drivers if other["name"] != driver), *entries]
        if wanted != drivers:
            found["spec"]["drivers"] = wanted
            await request(self._client, "PUT", path, found)
