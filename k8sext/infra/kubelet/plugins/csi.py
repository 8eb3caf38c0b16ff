"""A CSI driver of this node: its Node service, and its entry in the CSINode object.

The CSINode says which drivers this node has, what they call it, and by which labels they know where a volume can be
reached. The scheduler reads it, and so do provisioners.
https://kubernetes.io/docs/reference/kubernetes-api/config-and-storage-resources/csi-node-v1/
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import grpc
import grpc.aio
from google.protobuf.message import Message

from k8sext.infra.csi.proto import csi_pb2 as csi
from k8sext.infra.grpc import Response, call
from k8sext.kube.objects import Json, owner_reference
from k8sext.kube.request import MERGE_PATCH, ApiError, request
from k8sext.kube.resource import NODES, Resource

if TYPE_CHECKING:
    from kubernetes.aio.client import ApiClient

CSI_NODES = Resource("storage.k8s.io", "v1", "csinodes", namespaced=False)
TRIES = 5


class DriverFailure(Exception):
    """The driver refused or cannot be reached; `code` is the gRPC status."""

    def __init__(self, code: grpc.StatusCode, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass
class Driver:
    """A registered driver, asked by the messages of CSI. Every method that asks raises DriverFailure."""

    name: str
    channel: grpc.aio.Channel
    node_id: str = ""
    topology: dict[str, str] = field(default_factory=dict[str, str])
    abilities: set[int] = field(default_factory=set[int])

    def can(self, ability: str) -> bool:
        """Whether its Node service has a capability, by its name in the protocol."""
        return csi.NodeServiceCapability.RPC.Type.Value(ability) in self.abilities

    async def introduce(self) -> None:
        """Ask who it is and what it can do."""
        info = await self.call("NodeGetInfo", csi.NodeGetInfoRequest(), csi.NodeGetInfoResponse, 10)
        able = await self.call(
            "NodeGetCapabilities", csi.NodeGetCapabilitiesRequest(), csi.NodeGetCapabilitiesResponse, 10
        )
        self.node_id, self.topology = info.node_id, dict(info.accessible_topology.segments)
        self.abilities = {capability.rpc.type for capability in able.capabilities}

    async def stage(self, request: csi.NodeStageVolumeRequest) -> None:
        await self.call("NodeStageVolume", request, csi.NodeStageVolumeResponse)

    async def unstage(self, request: csi.NodeUnstageVolumeRequest) -> None:
        await self.call("NodeUnstageVolume", request, csi.NodeUnstageVolumeResponse)

    async def publish(self, request: csi.NodePublishVolumeRequest) -> None:
        await self.call("NodePublishVolume", request, csi.NodePublishVolumeResponse)

    async def unpublish(self, request: csi.NodeUnpublishVolumeRequest) -> None:
        await self.call("NodeUnpublishVolume", request, csi.NodeUnpublishVolumeResponse)

    async def expand(self, request: csi.NodeExpandVolumeRequest) -> csi.NodeExpandVolumeResponse:
        return await self.call("NodeExpandVolume", request, csi.NodeExpandVolumeResponse)

    async def volume_stats(self, request: csi.NodeGetVolumeStatsRequest) -> csi.NodeGetVolumeStatsResponse:
        return await self.call("NodeGetVolumeStats", request, csi.NodeGetVolumeStatsResponse, 10)

    async def call(self, method: str, request: Message, response: type[Response], timeout: float = 120) -> Response:
        """Call a method of the Node service."""
        try:
            return await call(self.channel, f"/csi.v1.Node/{method}", request, response, timeout)
        except grpc.aio.AioRpcError as error:
            message = error.details() or error.code().name
            raise DriverFailure(error.code(), f"driver {self.name}: {message}") from error


class CsiNode:
    """The CSINode of one node."""

    def __init__(self, client: ApiClient, node_name: str) -> None:
        self._client, self._name = client, node_name

    async def add(self, driver: str, node_id: str, topology: dict[str, str]) -> None:
        """Make a driver known, its topology as labels of the Node. Raises ApiError, Unreachable."""
        if topology:
            body = {"metadata": {"labels": topology}}
            await request(self._client, "PATCH", NODES.path(self._name), body, content_type=MERGE_PATCH)
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
        path = CSI_NODES.path(self._name)
        try:
            found = await request(self._client, "GET", path)
        except ApiError as error:
            if error.code != 404:
                raise
            node = await request(self._client, "GET", NODES.path(self._name))
            metadata = {"name": self._name, "ownerReferences": [owner_reference(node)]}
            body = {"metadata": metadata, "spec": {"drivers": entries}}
            await request(self._client, "POST", CSI_NODES.collection(), body)
            return
        drivers = found["spec"].get("drivers") or []
        wanted = [*(other for other in drivers if other["name"] != driver), *entries]
        if wanted != drivers:
            found["spec"]["drivers"] = wanted
            await request(self._client, "PUT", path, found)
