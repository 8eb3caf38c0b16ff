"""The Node service: a volume on this machine, prepared once (stage), then given to each pod (publish).

What is to stand somewhere is written down before it is put there, and forgotten after it is taken away. So only what is
written down is ever removed, whatever path a caller names, and a SIGKILL in the middle leaves nothing unknown.
"""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

from grpc import StatusCode

from k8sext.infra.csi import capabilities
from k8sext.infra.csi.capabilities import TOPOLOGY_KEY, Mode
from k8sext.infra.csi.proto import csi_pb2 as csi
from k8sext.infra.csi.proto import csi_pb2_grpc
from k8sext.infra.csi.publish import Publisher
from k8sext.infra.csi.state import Store, Volume, usage
from k8sext.infra.grpc import StatusError, failed_precondition, invalid_argument, not_found

RPC = csi.NodeServiceCapability.RPC
ABILITIES = (RPC.STAGE_UNSTAGE_VOLUME, RPC.GET_VOLUME_STATS, RPC.EXPAND_VOLUME, RPC.SINGLE_NODE_MULTI_WRITER)


class Node(csi_pb2_grpc.NodeServicer):
    """Puts volumes where the kubelet wants them."""

    def __init__(self, store: Store, publisher: Publisher, name: str) -> None:
        self._store, self._publisher, self._name = store, publisher, name

    async def NodeGetCapabilities(self, request: Any, context: Any) -> csi.NodeGetCapabilitiesResponse:
        """Return what this service can do."""
        able = [csi.NodeServiceCapability(rpc=RPC(type=ability)) for ability in ABILITIES]
        return csi.NodeGetCapabilitiesResponse(capabilities=able)

    async def NodeGetInfo(self, request: Any, context: Any) -> csi.NodeGetInfoResponse:
        """Return this node's name, and that a volume made here can be used only here."""
        here = csi.Topology(segments={TOPOLOGY_KEY: self._name})
        return csi.NodeGetInfoResponse(node_id=self._name, accessible_topology=here)

    async def NodeStageVolume(self, request: csi.NodeStageVolumeRequest, context: Any) -> csi.NodeStageVolumeResponse:
        """Prepare a volume on this node: a disk would be formatted and mounted, a folder is only brought there."""
        id, staging = self._subject(request.volume_id, request.staging_target_path, "staging target path")
        capabilities.check([request.volume_capability] if request.HasField("volume_capability") else [])
        async with self._store.lock(id):
            volume = self._find(id)
            if volume.staged not in ("", staging) and self._stands(volume.staged, staged=True):
                raise failed_precondition(f"volume {id} is staged at {volume.staged} already")
            volume.staged = staging
            self._store.save(volume)
            place = self._publisher.staged_at(Path(staging))
            await asyncio.to_thread(self._publisher.place, self._store.data(id), place)
        return csi.NodeStageVolumeResponse()

    async def NodeUnstageVolume(
        self, request: csi.NodeUnstageVolumeRequest, context: Any
    ) -> csi.NodeUnstageVolumeResponse:
        """Undo NodeStageVolume."""
        id, staging = self._subject(request.volume_id, request.staging_target_path, "staging target path")
        async with self._store.lock(id):
            volume = self._store.volume(id)
            if volume and volume.staged == staging:
                await asyncio.to_thread(self._publisher.remove, self._publisher.staged_at(Path(staging)))
                volume.staged = ""
                self._store.save(volume)
        return csi.NodeUnstageVolumeResponse()

    async def NodePublishVolume(
        self, request: csi.NodePublishVolumeRequest, context: Any
    ) -> csi.NodePublishVolumeResponse:
        """Make a staged volume stand at a pod's path."""
        id, target = self._subject(request.volume_id, request.target_path, "target path")
        capabilities.check([request.volume_capability] if request.HasField("volume_capability") else [])
        staging = capabilities.path(request.staging_target_path, "staging target path")
        mode = request.volume_capability.access_mode.mode
        async with self._store.lock(id):
            volume = self._find(id)
            if volume.staged != staging:
                raise failed_precondition(f"volume {id} is not staged at {staging}: stage it first")
            self._check_writers(volume, target, mode)
            volume.published[target] = Mode.Mode.Name(mode)
            self._store.save(volume)
            source = self._publisher.staged_at(Path(staging))
            await asyncio.to_thread(self._publisher.place, source, Path(target), request.readonly)
        return csi.NodePublishVolumeResponse()

    async def NodeUnpublishVolume(
        self, request: csi.NodeUnpublishVolumeRequest, context: Any
    ) -> csi.NodeUnpublishVolumeResponse:
        """Undo NodePublishVolume."""
        id, target = self._subject(request.volume_id, request.target_path, "target path")
        async with self._store.lock(id):
            volume = self._store.volume(id)
            if volume and target in volume.published:
                await asyncio.to_thread(self._publisher.remove, Path(target))
                del volume.published[target]
                self._store.save(volume)
        return csi.NodeUnpublishVolumeResponse()

    async def NodeGetVolumeStats(
        self, request: csi.NodeGetVolumeStatsRequest, context: Any
    ) -> csi.NodeGetVolumeStatsResponse:
        """Count what a volume's files take. Its size is a promise: a plain folder stops nobody from writing more."""
        volume = self._at(request.volume_id, request.volume_path)
        used, inodes = await asyncio.to_thread(usage, self._store.data(volume.id))
        disk = os.statvfs(self._store.root)
        room = csi.VolumeUsage(
            unit=csi.VolumeUsage.BYTES, total=volume.capacity, used=used, available=max(0, volume.capacity - used)
        )
        names = csi.VolumeUsage(unit=csi.VolumeUsage.INODES, total=disk.f_files, used=inodes, available=disk.f_favail)
        return csi.NodeGetVolumeStatsResponse(usage=[room, names])

    async def NodeExpandVolume(
        self, request: csi.NodeExpandVolumeRequest, context: Any
    ) -> csi.NodeExpandVolumeResponse:
        """The node's half of growing: a disk's file system would grow here, a folder is as big as the first half
        said."""
        volume = self._at(request.volume_id, request.volume_path)
        if request.capacity_range.required_bytes > volume.capacity:
            message = f"volume {volume.id} has {volume.capacity} bytes: ask ControllerExpandVolume for more first"
            raise StatusError(StatusCode.OUT_OF_RANGE, message)
        return csi.NodeExpandVolumeResponse(capacity_bytes=volume.capacity)

    def _subject(self, id: str, path: str, what: str) -> tuple[str, str]:
        if not id:
            raise invalid_argument("the volume id is missing")
        return id, capabilities.path(path, what)

    def _find(self, id: str) -> Volume:
        volume = self._store.volume(id)
        if volume is None:
            raise not_found(f"there is no volume {id[:64]!r} on node {self._name}")
        return volume

    def _at(self, id: str, path: str) -> Volume:
        """The volume that stands at a path, staged or published."""
        if not id or not path:
            raise invalid_argument(f"the volume {'path' if id else 'id'} is missing")
        volume = self._find(id)
        known = (path == volume.staged and self._stands(path, staged=True)) or (
            path in volume.published and self._stands(path)
        )
        if not known:
            raise not_found(f"volume {id} does not stand at {path}")
        return volume

    def _stands(self, path: str, *, staged: bool = False) -> bool:
        place = self._publisher.staged_at(Path(path)) if staged else Path(path)
        return self._publisher.stands(place)

    def _check_writers(self, volume: Volume, target: str, mode: int) -> None:
        """A volume for a single writer is published once."""
        single = Mode.SINGLE_NODE_SINGLE_WRITER
        for other, other_mode in volume.published.items():
            alone = mode == single or other_mode == "SINGLE_NODE_SINGLE_WRITER"
            if other != target and alone and self._stands(other):
                message = f"volume {volume.id} is for one writer and published at {other} already"
                raise failed_precondition(message)
