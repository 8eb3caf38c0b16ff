"""The provisioner: makes a volume when a claim waits for one on this node, removes it at the end, lets it grow.

Kubernetes' own are three sidecars: external-provisioner, external-resizer, external-attacher. One of ours runs beside
each node's driver and minds only claims whose pod the scheduler has put on that node (the annotation `selected-node`),
so two never want the same claim and no lease is needed. Everything is derived from the claim: the volume's name from
its uid, the PersistentVolume's too. Killed anywhere, the next one asks for the same again and finds it done.

Left out: volumeBindingMode Immediate (nobody would have chosen a node), secrets, mount options, `dataSource` of claims
(copies are made through the driver by hand), CSIStorageCapacity. A claim that is deleted in the moment between its
folder and its PersistentVolume, with the provisioner killed in that same moment, leaves an empty folder.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc
import grpc.aio

from k8sext.infra.csi.expansion import Expansion
from k8sext.infra.csi.identity import DRIVER
from k8sext.infra.csi.persistent import (
    DELETED_BY_US,
    NODE_CHOSEN,
    PROVISIONER,
    create_request,
    node_of,
    persistent_volume,
    volume_name,
)
from k8sext.infra.csi.proto import csi_pb2 as csi
from k8sext.infra.csi.proto import csi_pb2_grpc
from k8sext.kube.connect import from_kubeconfig, in_cluster
from k8sext.kube.controller import Reconcile, TemporaryError, work
from k8sext.kube.events import EventRecorder
from k8sext.kube.informer import Informer, running
from k8sext.kube.objects import Json, key_of, reference_to
from k8sext.kube.queue import WorkQueue
from k8sext.kube.request import MERGE_PATCH, ApiError, request
from k8sext.kube.resource import PERSISTENT_VOLUME_CLAIMS, PERSISTENT_VOLUMES, Resource

if TYPE_CHECKING:
    from kubernetes.aio.client import ApiClient

log = logging.getLogger(__name__)

WORKERS = 4
STORAGE_CLASSES = Resource("storage.k8s.io", "v1", "storageclasses", namespaced=False)


@asynccontextmanager
async def connected(node: str, endpoint: str, kubeconfig: Path | None) -> AsyncIterator[Provisioner]:
    """A provisioner for one node and the driver at `endpoint`, for the length of a block. Raises ConnectError."""
    client = await from_kubeconfig(kubeconfig) if kubeconfig else await in_cluster()
    try:
        async with grpc.aio.insecure_channel(endpoint) as channel, EventRecorder(client, DRIVER, node) as recorder:
            yield Provisioner(client, csi_pb2_grpc.ControllerStub(channel), node, recorder)
    finally:
        await client.close()


class Provisioner:
    """Looks at claims and volumes of one node."""

    def __init__(self, client: ApiClient, driver: Any, node: str, recorder: EventRecorder) -> None:
        self._client, self._driver, self._node, self._recorder = client, driver, node, recorder
        self.claims = Informer(client, PERSISTENT_VOLUME_CLAIMS.collection())
        self.volumes = Informer(client, PERSISTENT_VOLUMES.collection())
        self.classes = Informer(client, STORAGE_CLASSES.collection())
        self._expansion = Expansion(client, driver)
        self.claim_queue: WorkQueue[str] = WorkQueue()
        self.volume_queue: WorkQueue[str] = WorkQueue()
        self.claims.on_change(lambda _, claim: self.claim_queue.add(key_of(claim)))
        self.volumes.on_change(lambda _, volume: self.volume_queue.add(key_of(volume)))

    @property
    def synced(self) -> bool:
        """Whether all copies of the world are there."""
        return all(informer.synced.is_set() for informer in (self.claims, self.volumes, self.classes))

    async def run(self) -> None:
        """Work until cancelled."""
        async with running(self.claims, self.volumes, self.classes), asyncio.TaskGroup() as group:
            log.info("serving claims of node %s", self._node)
            group.create_task(work("claim", self.claim_queue, _patient(self.sync_claim), WORKERS))
            group.create_task(work("volume", self.volume_queue, _patient(self.sync_volume), WORKERS))

    async def sync_claim(self, key: str) -> None:
        """Give a claim that waits for us a volume; let the volume of a claim that asks for more grow."""
        claim = self.claims.store.get(key)
        if claim is None or "deletionTimestamp" in claim["metadata"]:
            return
        notes = claim["metadata"].get("annotations") or {}
        if name := claim["spec"].get("volumeName"):
            volume = self.volumes.store.get(name)
            if volume and node_of(volume) == self._node and await self._expansion.sync(claim, volume):
                self._tell(claim, "Normal", "Resizing", f"Volume {name} grows; its node does the rest")
        elif notes.get(PROVISIONER) == DRIVER:
            found = self.classes.store.get(claim["spec"].get("storageClassName") or "")
            if found is None:
                return
            if found.get("volumeBindingMode") != "WaitForFirstConsumer":
                self._refuse_immediate(claim, found)
            elif notes.get(NODE_CHOSEN) == self._node:
                await self._provision(claim, found)

    async def _provision(self, claim: Json, of_class: Json) -> None:
        if claim["spec"].get("dataSource") or claim["spec"].get("volumeMode") == "Block":
            message = "This driver makes empty folders for claims: leave out dataSource, and volumeMode Block"
            self._tell(claim, "Warning", "ProvisioningFailed", message)
            return
        try:
            answer = await self._driver.CreateVolume(create_request(claim, of_class, self._node), timeout=120)
        except grpc.aio.AioRpcError as error:
            self._tell(claim, "Warning", "ProvisioningFailed", error.details() or error.code().name)
            if error.code() == grpc.StatusCode.RESOURCE_EXHAUSTED:
                await self._choose_another_node(claim)
                return
            raise
        try:
            volume = persistent_volume(claim, of_class, answer.volume)
            await request(self._client, "POST", PERSISTENT_VOLUMES.collection(), volume)
        except ApiError as error:
            if error.code != 409:  # there already, from before a kill
                raise
        name = volume_name(claim)
        self._tell(claim, "Normal", "ProvisioningSucceeded", f"Successfully provisioned volume {name}")

    async def _choose_another_node(self, claim: Json) -> None:
        """Give a claim back to the scheduler, which looks for a node anew."""
        path = PERSISTENT_VOLUME_CLAIMS.path(claim["metadata"]["name"], claim["metadata"]["namespace"])
        patch = {"metadata": {"annotations": {NODE_CHOSEN: None}}}
        await request(self._client, "PATCH", path, patch, content_type=MERGE_PATCH)

    async def sync_volume(self, key: str) -> None:
        """Remove a volume that nobody claims any more, if its reclaim policy says so."""
        volume = self.volumes.store.get(key)
        if volume is None or node_of(volume) != self._node:
            return
        metadata, spec = volume["metadata"], volume["spec"]
        if claim := spec.get("claimRef"):
            self.claim_queue.add(f"{claim['namespace']}/{claim['name']}")
        unclaimed = volume.get("status", {}).get("phase") in ("Released", "Failed")
        going = "deletionTimestamp" in metadata and metadata.get("finalizers") == [DELETED_BY_US]
        if not (going or (unclaimed and spec["persistentVolumeReclaimPolicy"] == "Delete")):
            return
        if spec["persistentVolumeReclaimPolicy"] == "Delete":
            try:
                await self._driver.DeleteVolume(
                    csi.DeleteVolumeRequest(volume_id=spec["csi"]["volumeHandle"]), timeout=120
                )
            except grpc.aio.AioRpcError as error:
                self._tell(volume, "Warning", "VolumeFailedDelete", error.details() or error.code().name)
                raise
        await self._let_go(volume, going=going)

    async def _let_go(self, volume: Json, *, going: bool) -> None:
        """Delete the PersistentVolume, of which nothing is left but the object."""
        path = PERSISTENT_VOLUMES.path(volume["metadata"]["name"])
        try:
            if not going:
                await request(self._client, "DELETE", path)
            rest = [f for f in volume["metadata"].get("finalizers") or [] if f != DELETED_BY_US]
            patch = {"metadata": {"finalizers": rest, "uid": volume["metadata"]["uid"]}}
            await request(self._client, "PATCH", path, patch, content_type=MERGE_PATCH)
        except ApiError as error:
            if error.code != 404:
                raise

    def _refuse_immediate(self, claim: Json, of_class: Json) -> None:
        name = of_class["metadata"]["name"]
        message = (
            "A folder is on one node, so a pod must choose it: "
            f"StorageClass {name} must say volumeBindingMode: WaitForFirstConsumer"
        )
        self._tell(claim, "Warning", "ProvisioningFailed", message)

    def _tell(self, item: Json, type: str, reason: str, message: str) -> None:
        self._recorder.event(reference_to(item), type, reason, message)


def _patient(reconcile: Callable[[str], Awaitable[None]]) -> Reconcile[str]:
    """What the driver refuses now it may grant later."""

    async def patient(key: str) -> None:
        try:
            await reconcile(key)
        except grpc.aio.AioRpcError as error:
            raise TemporaryError(error.details() or error.code().name) from error

    return patient
