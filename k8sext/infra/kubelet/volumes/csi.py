"""CSI volumes of pods: staged once on the node, published for each pod, taken back when the pod is gone.

What was begun is written down beside it before the driver is asked, as every kubelet does (vol_data.json). A kubelet
that comes after a kill reads that, and so never leaves a volume published that no pod uses; nor does it remove a folder
into which something may still be mounted.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import logging
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from weakref import WeakValueDictionary

from k8sext import files
from k8sext.infra.csi.proto import csi_pb2 as csi
from k8sext.infra.kubelet.paths import KUBELET, Paths
from k8sext.infra.kubelet.plugins.csi import Driver, DriverFailure
from k8sext.infra.kubelet.plugins.watcher import Plugins
from k8sext.infra.kubelet.pod.podspec import uid
from k8sext.infra.kubelet.volumes.claims import Claim, ClaimError, Claims, VolumeStats, claim_name
from k8sext.kube.objects import Json, controller_of, key_of
from k8sext.kube.request import ApiError, Unreachable

log = logging.getLogger(__name__)

RECORD = "vol_data.json"
KIND = "kubernetes.io~csi"


@dataclass
class Record:
    """What was begun for one volume of one pod, with the field names that kubelets use, and whether it was done."""

    driverName: str
    volumeHandle: str
    specVolID: str
    namespace: str
    claim: str
    published: bool = False

    @property
    def key(self) -> str:
        return hashlib.sha256(self.volumeHandle.encode()).hexdigest()

    @property
    def staging(self) -> PurePosixPath:
        """Where the volume is staged, as the node calls it."""
        return KUBELET / "plugins" / "kubernetes.io" / "csi" / self.driverName / self.key / "globalmount"


class CsiVolumes:
    """The CSI volumes of one node."""

    def __init__(self, paths: Paths, plugins: Plugins, claims: Claims) -> None:
        self._node_paths, self._plugins, self._claims = paths, plugins, claims
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._paths: dict[tuple[str, str], Path] = {}

    async def publish(self, pod: Json, volume: Json) -> None:
        """Make a claim's volume stand on the node for this pod; grow it if it should. Raises ClaimError, ApiError,
        Unreachable."""
        namespace, claim = pod["metadata"]["namespace"], claim_name(pod, volume)
        found = await self._claims.find(namespace, claim)
        if "ephemeral" in volume and (controller_of(found.claim) or {}).get("uid") != uid(pod):
            raise ClaimError(f"PVC {namespace}/{claim} was not created for pod {key_of(pod)} (pod is not owner)")
        record = Record(found.source["driver"], found.source["volumeHandle"], found.name, namespace, claim)
        readonly = volume.get("persistentVolumeClaim", {}).get("readOnly", False)
        target = self._target(uid(pod), found.name)
        self._paths[uid(pod), volume["name"]] = self._node_paths.locate(target)
        async with self._lock(record):
            known = _read(self._folder(target))
            if not (known and known.published):
                driver = self._driver(record.driverName)
                _write(self._folder(target), record)
                await self._hand_out(driver, found, record, target, readonly=readonly)
                record.published = True
                _write(self._folder(target), record)
            if found.wants_to_grow:
                await self._grow(found, record, target)

    def path(self, pod: Json, volume: Json) -> Path:
        """Where a volume that was published stands on this machine; a link the driver put there is followed."""
        return self._paths[uid(pod), volume["name"]].resolve()

    def is_published(self, pod: Json, volume: Json) -> bool:
        """Does a claim's volume stand on the node for this pod?"""
        path = self._paths.get((uid(pod), volume["name"]))
        record = _read(path.parent) if path else None
        return record is not None and record.published

    async def unpublish_all(self, pod_uid: str) -> None:
        """Take back everything of a pod; calling again goes on with what is left. Raises ClaimError while a driver
        cannot do its part."""
        for folder in self._volumes_of(pod_uid):
            if record := _read(folder):
                async with self._lock(record):
                    await self._take_back(record, folder)
            if (folder / "mount").exists():
                raise ClaimError(f"{folder} is kept: something that its driver did not take away stands there")
            shutil.rmtree(folder)
        self._paths = {key: path for key, path in self._paths.items() if key[0] != pod_uid}

    async def stats(self) -> list[VolumeStats]:
        """What is used of every published volume, as its driver counts."""
        found: list[VolumeStats] = []
        for folder in self._everywhere():
            record = _read(folder)
            if record and record.published and (driver := self._plugins.driver(record.driverName)):
                target = self._target(folder.parents[2].name, record.specVolID)
                question = csi.NodeGetVolumeStatsRequest(volume_id=record.volumeHandle, volume_path=str(target))
                try:
                    found.append(VolumeStats(record.namespace, record.claim, await driver.volume_stats(question)))
                except DriverFailure as error:
                    log.debug("%s", error)
        return found

    async def _hand_out(
        self, driver: Driver, found: Claim, record: Record, target: PurePosixPath, *, readonly: bool
    ) -> None:
        capability = found.capability(driver.can("SINGLE_NODE_MULTI_WRITER"))
        context = found.source.get("volumeAttributes") or {}
        staging = str(record.staging) if driver.can("STAGE_UNSTAGE_VOLUME") else ""
        common = {"volume_id": record.volumeHandle, "volume_capability": capability, "volume_context": context}
        publish = csi.NodePublishVolumeRequest(
            target_path=str(target), staging_target_path=staging, readonly=readonly, **common
        )
        try:
            if staging:
                self._node_paths.locate(staging).mkdir(parents=True, exist_ok=True)
                await driver.stage(csi.NodeStageVolumeRequest(staging_target_path=staging, **common))
            await driver.publish(publish)
        except DriverFailure as error:
            raise ClaimError(f'MountVolume.SetUp failed for volume "{record.specVolID}" : {error}') from error

    async def _take_back(self, record: Record, folder: Path) -> None:
        driver = self._driver(record.driverName)
        id, target = record.volumeHandle, self._target(folder.parents[2].name, record.specVolID)
        others = (_read(other) for other in self._everywhere() if other != folder)
        try:
            await driver.unpublish(csi.NodeUnpublishVolumeRequest(volume_id=id, target_path=str(target)))
            last = not any(
                other and other.key == record.key and other.driverName == record.driverName for other in others
            )
            if last and driver.can("STAGE_UNSTAGE_VOLUME"):
                staging = str(record.staging)
                await driver.unstage(csi.NodeUnstageVolumeRequest(volume_id=id, staging_target_path=staging))
                for empty in (self._node_paths.locate(staging), self._node_paths.locate(staging).parent):
                    with contextlib.suppress(OSError):
                        empty.rmdir()
        except DriverFailure as error:
            raise ClaimError(f'UnmountVolume.TearDown failed for volume "{record.specVolID}" : {error}') from error

    async def _grow(self, found: Claim, record: Record, target: PurePosixPath) -> None:
        """The node's part of growing; when it fails the pod runs on, and it is tried again at the next look."""
        try:
            size, driver = found.size, self._driver(record.driverName)
            if driver.can("EXPAND_VOLUME"):
                question = csi.NodeExpandVolumeRequest(
                    volume_id=record.volumeHandle,
                    volume_path=str(target),
                    staging_target_path=str(record.staging),
                    capacity_range=csi.CapacityRange(required_bytes=size),
                    volume_capability=found.capability(driver.can("SINGLE_NODE_MULTI_WRITER")),
                )
                size = (await driver.expand(question)).capacity_bytes or size
            await self._claims.has_grown(found, size)
        except (DriverFailure, ClaimError, ApiError, Unreachable) as error:
            log.warning("%s/%s does not grow: %s", record.namespace, record.claim, error)

    def _driver(self, name: str) -> Driver:
        if driver := self._plugins.driver(name):
            return driver
        raise ClaimError(f"driver name {name} not found in the list of registered CSI drivers")

    def _lock(self, record: Record) -> asyncio.Lock:
        """Held while one volume is staged, published or taken back: the last pod may leave while the next one comes."""
        return self._locks.setdefault(f"{record.driverName} {record.volumeHandle}", asyncio.Lock())

    def _target(self, pod_uid: str, volume: str) -> PurePosixPath:
        return KUBELET / "pods" / pod_uid / "volumes" / KIND / volume / "mount"

    def _folder(self, target: PurePosixPath) -> Path:
        return self._node_paths.locate(target.parent)

    def _volumes_of(self, pod_uid: str) -> list[Path]:
        return [*(self._node_paths.root / "pods" / pod_uid / "volumes" / KIND).glob("*")]

    def _everywhere(self) -> list[Path]:
        return [*(self._node_paths.root / "pods").glob(f"*/volumes/{KIND}/*")]


def _read(folder: Path) -> Record | None:
    try:
        return Record(**json.loads((folder / RECORD).read_text()))
    except FileNotFoundError:
        return None


def _write(folder: Path, record: Record) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    files.replace(folder / RECORD, json.dumps(asdict(record)))
