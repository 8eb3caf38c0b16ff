"""The Controller service: volumes and snapshots as such. Each method is idempotent."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp
from google.protobuf.wrappers_pb2 import Int64Value
from grpc import StatusCode

from k8sext.infra.csi import capabilities
from k8sext.infra.csi.capabilities import DEFAULT_CAPACITY, TOPOLOGY_KEY
from k8sext.infra.csi.proto import csi_pb2 as csi
from k8sext.infra.csi.proto import csi_pb2_grpc
from k8sext.infra.csi.publish import Publisher
from k8sext.infra.csi.state import SNAPSHOT_ID, VOLUME_ID, Item, Snapshot, Store, Volume, id_of
from k8sext.infra.grpc import StatusError, failed_precondition, invalid_argument, not_found

RPC = csi.ControllerServiceCapability.RPC
ABILITIES = (
    RPC.CREATE_DELETE_VOLUME,
    RPC.LIST_VOLUMES,
    RPC.GET_CAPACITY,
    RPC.CREATE_DELETE_SNAPSHOT,
    RPC.LIST_SNAPSHOTS,
    RPC.CLONE_VOLUME,
    RPC.EXPAND_VOLUME,
    RPC.SINGLE_NODE_MULTI_WRITER,
)


class Controller(csi_pb2_grpc.ControllerServicer):
    """Makes, copies, grows and removes the folders of one node."""

    def __init__(self, store: Store, publisher: Publisher, node: str) -> None:
        self._store, self._publisher, self._node = store, publisher, node

    async def ControllerGetCapabilities(self, request: Any, context: Any) -> csi.ControllerGetCapabilitiesResponse:
        """Return what this service can do."""
        able = [csi.ControllerServiceCapability(rpc=RPC(type=ability)) for ability in ABILITIES]
        return csi.ControllerGetCapabilitiesResponse(capabilities=able)

    async def CreateVolume(self, request: csi.CreateVolumeRequest, context: Any) -> csi.CreateVolumeResponse:
        """Make a folder, empty or with a copy of a snapshot or another volume."""
        if not request.name:
            raise invalid_argument("the volume's name is missing")
        capabilities.check(request.volume_capabilities)
        self._check_topology(request.accessibility_requirements)
        if request.parameters or request.mutable_parameters:
            names = ", ".join(sorted({*request.parameters, *request.mutable_parameters}))
            raise invalid_argument(
                f"a folder has no settings, and the StorageClass sets {names}: remove its parameters"
            )
        source, least = self._source(request.volume_content_source)
        size = capabilities.capacity(request.capacity_range, max(DEFAULT_CAPACITY, least))
        id = id_of("vol", request.name)
        async with self._store.lock(id):
            if volume := self._store.volume(id):
                if not capabilities.fits(volume.capacity, request.capacity_range) or volume.source != source:
                    message = (
                        f"a volume {request.name!r} of {volume.capacity} bytes exists, and is not what is asked for now"
                    )
                    raise StatusError(StatusCode.ALREADY_EXISTS, message)
                return csi.CreateVolumeResponse(volume=self._tell(volume))
            if size < least:
                raise StatusError(StatusCode.OUT_OF_RANGE, f"{size} bytes are less than the {least} of {source}")
            self._check_room(size)
            volume = Volume(id, request.name, size, source)
            await self._store.add(volume, source)
        return csi.CreateVolumeResponse(volume=self._tell(volume))

    async def DeleteVolume(self, request: csi.DeleteVolumeRequest, context: Any) -> csi.DeleteVolumeResponse:
        """Remove a folder with all that is in it; what is not there is removed already."""
        id = _named(request.volume_id, "volume id")
        async with self._store.lock(id):
            if volume := self._store.volume(id):
                self._check_unused(volume)
                await self._store.remove(id)
        return csi.DeleteVolumeResponse()

    async def ValidateVolumeCapabilities(
        self, request: csi.ValidateVolumeCapabilitiesRequest, context: Any
    ) -> csi.ValidateVolumeCapabilitiesResponse:
        """Tell whether a volume can be used as asked, and if not why."""
        volume = self._find(request.volume_id)
        if not request.volume_capabilities:
            raise invalid_argument(f"the volume capability for {volume.id} is missing")
        answer = csi.ValidateVolumeCapabilitiesResponse
        if problem := capabilities.objection(request.volume_capabilities):
            return answer(message=problem)
        return answer(confirmed=answer.Confirmed(volume_capabilities=request.volume_capabilities))

    async def ListVolumes(self, request: csi.ListVolumesRequest, context: Any) -> csi.ListVolumesResponse:
        """Return volumes by id, a page at a time."""
        page, next_token = _page(self._store.volumes(), VOLUME_ID, request)
        entries = [csi.ListVolumesResponse.Entry(volume=self._tell(volume)) for volume in page]
        return csi.ListVolumesResponse(entries=entries, next_token=next_token)

    async def GetCapacity(self, request: csi.GetCapacityRequest, context: Any) -> csi.GetCapacityResponse:
        """Return the room on the disk, none for what cannot be made here."""
        wanted = request.accessible_topology.segments.get(TOPOLOGY_KEY, self._node)
        possible = wanted == self._node and not capabilities.objection(request.volume_capabilities)
        room = self._store.free_bytes() if possible else 0
        return csi.GetCapacityResponse(available_capacity=room, maximum_volume_size=Int64Value(value=room))

    async def CreateSnapshot(self, request: csi.CreateSnapshotRequest, context: Any) -> csi.CreateSnapshotResponse:
        """Copy a volume's files. A file that is written meanwhile may be caught between two states."""
        name, source = _named(request.name, "snapshot's name"), _named(request.source_volume_id, "source volume id")
        id = id_of("snap", name)
        async with self._store.lock(id):
            snapshot = self._store.snapshot(id)
            if snapshot is None:
                volume = self._find(source)
                snapshot = Snapshot(id, name, volume.id, volume.capacity)
                await self._store.add(snapshot, volume.id)
            elif snapshot.volume != source:
                message = f"the snapshot {name!r} exists, of volume {snapshot.volume}: choose another name"
                raise StatusError(StatusCode.ALREADY_EXISTS, message)
        return csi.CreateSnapshotResponse(snapshot=_tell_snapshot(snapshot))

    async def DeleteSnapshot(self, request: csi.DeleteSnapshotRequest, context: Any) -> csi.DeleteSnapshotResponse:
        """Remove a snapshot; volumes made from it are copies and stay."""
        id = _named(request.snapshot_id, "snapshot id")
        async with self._store.lock(id):
            if self._store.snapshot(id):
                await self._store.remove(id)
        return csi.DeleteSnapshotResponse()

    async def ListSnapshots(self, request: csi.ListSnapshotsRequest, context: Any) -> csi.ListSnapshotsResponse:
        """Return snapshots by id, all or those of one volume, a page at a time."""
        chosen = (
            snapshot
            for snapshot in self._store.snapshots()
            if request.snapshot_id in ("", snapshot.id) and request.source_volume_id in ("", snapshot.volume)
        )
        page, next_token = _page(chosen, SNAPSHOT_ID, request)
        entries = [csi.ListSnapshotsResponse.Entry(snapshot=_tell_snapshot(snapshot)) for snapshot in page]
        return csi.ListSnapshotsResponse(entries=entries, next_token=next_token)

    async def ControllerExpandVolume(
        self, request: csi.ControllerExpandVolumeRequest, context: Any
    ) -> csi.ControllerExpandVolumeResponse:
        """Let a volume grow. It never shrinks: a smaller size is one it has already."""
        id = _named(request.volume_id, "volume id")
        if not request.HasField("capacity_range"):
            raise invalid_argument("the capacity range is missing")
        if request.HasField("volume_capability"):
            capabilities.check([request.volume_capability])
        async with self._store.lock(id):
            volume = self._find(id)
            size = capabilities.capacity(request.capacity_range, volume.capacity)
            if size > volume.capacity:
                self._check_room(size - volume.capacity)
                volume.capacity = size
                self._store.save(volume)
        return csi.ControllerExpandVolumeResponse(capacity_bytes=volume.capacity, node_expansion_required=True)

    def _find(self, id: str) -> Volume:
        volume = self._store.volume(_named(id, "volume id"))
        if volume is None:
            raise not_found(f"there is no volume {id[:64]!r} on node {self._node}")
        return volume

    def _source(self, content: csi.VolumeContentSource) -> tuple[str, int]:
        """The id of what a new volume is a copy of, and the least size it must have."""
        if content.HasField("snapshot"):
            snapshot = self._store.snapshot(content.snapshot.snapshot_id)
            if snapshot is None:
                raise not_found(f"there is no snapshot {content.snapshot.snapshot_id[:64]!r} on node {self._node}")
            return snapshot.id, snapshot.size
        if content.HasField("volume"):
            volume = self._find(content.volume.volume_id)
            return volume.id, volume.capacity
        return "", 0

    def _tell(self, volume: Volume) -> csi.Volume:
        told = csi.Volume(volume_id=volume.id, capacity_bytes=volume.capacity)
        told.accessible_topology.add().segments[TOPOLOGY_KEY] = self._node
        if volume.source.startswith("snap-"):
            told.content_source.snapshot.snapshot_id = volume.source
        elif volume.source:
            told.content_source.volume.volume_id = volume.source
        return told

    def _check_topology(self, asked: csi.TopologyRequirement) -> None:
        nodes = [topology.segments.get(TOPOLOGY_KEY, self._node) for topology in asked.requisite]
        if nodes and self._node not in nodes:
            message = f"this driver makes volumes on node {self._node}, and the volume is wanted on {', '.join(nodes)}"
            raise StatusError(StatusCode.RESOURCE_EXHAUSTED, message)

    def _check_room(self, size: int) -> None:
        if size > (free := self._store.free_bytes()):
            raise StatusError(
                StatusCode.RESOURCE_EXHAUSTED, f"{size} bytes are asked for, and {free} are free on {self._node}"
            )

    def _check_unused(self, volume: Volume) -> None:
        for target in volume.published:
            if self._publisher.stands(Path(target)):
                raise failed_precondition(f"volume {volume.id} is in use at {target}: unpublish it first")


def _named(text: str, what: str) -> str:
    if not text:
        raise invalid_argument(f"the {what} is missing")
    return text


def _tell_snapshot(snapshot: Snapshot) -> csi.Snapshot:
    created = Timestamp()
    created.FromNanoseconds(snapshot.created)
    return csi.Snapshot(
        snapshot_id=snapshot.id,
        source_volume_id=snapshot.volume,
        size_bytes=snapshot.size,
        creation_time=created,
        ready_to_use=True,
    )


def _page(
    items: Iterable[Item], ids: re.Pattern[str], request: csi.ListVolumesRequest | csi.ListSnapshotsRequest
) -> tuple[list[Item], str]:
    """A page of the items after the one whose id is the token, and the next page's token, which outlives its item."""
    size, token = request.max_entries, request.starting_token
    if token and not ids.fullmatch(token):
        raise StatusError(StatusCode.ABORTED, f"{token[:64]!r} is no token of an earlier list: begin anew without one")
    if size < 0:
        raise invalid_argument(f"a page cannot have {size} entries")
    rest = [item for item in items if item.id > token]
    page = rest[:size] if size else rest
    return page, page[-1].id if len(page) < len(rest) else ""
