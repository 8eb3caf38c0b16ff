"""Which CSI volume a pod means when it names a PersistentVolumeClaim, and how that volume grows."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from k8sext.infra.csi.proto import csi_pb2 as csi
from k8sext.infra.kubelet.objects import Objects
from k8sext.infra.kubelet.pod import Json
from k8sext.kube.quantity import parse, written
from k8sext.kube.request import STRATEGIC_MERGE_PATCH, request

if TYPE_CHECKING:
    from kubernetes.aio.client import ApiClient

log = logging.getLogger(__name__)

Mode = csi.VolumeCapability.AccessMode
MODES = {
    "ReadWriteOnce": (Mode.SINGLE_NODE_MULTI_WRITER, Mode.SINGLE_NODE_WRITER),
    "ReadWriteOncePod": (Mode.SINGLE_NODE_SINGLE_WRITER, Mode.SINGLE_NODE_WRITER),
    "ReadOnlyMany": (Mode.MULTI_NODE_READER_ONLY, Mode.MULTI_NODE_READER_ONLY),
    "ReadWriteMany": (Mode.MULTI_NODE_MULTI_WRITER, Mode.MULTI_NODE_MULTI_WRITER),
}
"""What an access mode of Kubernetes is called in CSI: by drivers that know the modes added in CSI 1.5, and by older ones."""

RESIZING = ("FileSystemResizePending", "Resizing", "NodeResizeError", "ControllerResizeError")
"""The conditions that tell of a claim's growth; others are not ours."""


class ClaimError(Exception):
    """A claim cannot be used (yet); the message is that of the FailedMount event."""


@dataclass(frozen=True)
class Claim:
    """A claim that is bound, and its volume."""

    claim: Json
    volume: Json

    @property
    def source(self) -> Json:
        """The volume's `spec.csi`."""
        return self.volume["spec"]["csi"]

    @property
    def name(self) -> str:
        """The PersistentVolume's name."""
        return self.volume["metadata"]["name"]

    @property
    def size(self) -> int:
        """The size the volume should have."""
        return int(parse(self.volume["spec"]["capacity"]["storage"]))

    @property
    def wants_to_grow(self) -> bool:
        """Whether the volume is larger than what the claim was told: its node has not done its part yet."""
        told = self.claim.get("status", {}).get("capacity", {}).get("storage", "0")
        return self.size > parse(told)

    def capability(self, knows_new_modes: bool) -> Any:
        """How the volume is to be used, in the words of CSI."""
        asked = (self.volume["spec"].get("accessModes") or ["ReadWriteOnce"])[0]
        mount = csi.VolumeCapability.MountVolume(
            fs_type=self.source.get("fsType", ""), mount_flags=self.volume["spec"].get("mountOptions") or []
        )
        mode = Mode(mode=MODES[asked][0 if knows_new_modes else 1])
        return csi.VolumeCapability(mount=mount, access_mode=mode)


class Claims:
    """Reads claims, and tells them when they have grown."""

    def __init__(self, client: ApiClient, objects: Objects) -> None:
        self._client, self._objects = client, objects

    async def find(self, namespace: str, name: str) -> Claim:
        """A claim with its volume. Raises ClaimError when a pod cannot use it (yet), ApiError, Unreachable."""
        claim = await self._objects.read(f"/api/v1/namespaces/{namespace}/persistentvolumeclaims/{name}")
        if claim is None:
            raise ClaimError(f'persistentvolumeclaim "{name}" not found')
        if claim.get("status", {}).get("phase") != "Bound":
            raise ClaimError(f'persistentvolumeclaim "{name}" is not bound to a volume yet')
        volume = await self._objects.read(f"/api/v1/persistentvolumes/{claim['spec']['volumeName']}")
        if volume is None or (volume["spec"].get("claimRef") or {}).get("uid") != claim["metadata"]["uid"]:
            raise ClaimError(f'the volume of persistentvolumeclaim "{name}" is gone or belongs to another claim')
        if "csi" not in volume["spec"]:
            raise ClaimError(
                f'the volume of persistentvolumeclaim "{name}" is not served: this kubelet serves CSI volumes'
            )
        if volume["spec"].get("volumeMode") == "Block":
            raise ClaimError(
                f'persistentvolumeclaim "{name}" asks for a block device, which this kubelet does not hand out'
            )
        driver = volume["spec"]["csi"]["driver"]
        about = await self._objects.read(f"/apis/storage.k8s.io/v1/csidrivers/{driver}")
        if about is None or about["spec"].get("attachRequired", True):
            raise ClaimError(
                f"driver {driver} wants volumes attached first, which this kubelet does not wait for: "
                "its CSIDriver object must say attachRequired: false"
            )
        return Claim(claim, volume)

    async def has_grown(self, found: Claim, size: int) -> None:
        """Tell a claim its new size, and that nothing is left to do. Raises ApiError, Unreachable."""
        metadata = found.claim["metadata"]
        told = {
            "capacity": {"storage": written(size)},
            "conditions": [{"$patch": "delete", "type": kind} for kind in RESIZING],
            "allocatedResourceStatuses": {"storage": None},
        }
        path = f"/api/v1/namespaces/{metadata['namespace']}/persistentvolumeclaims/{metadata['name']}/status"
        await request(self._client, "PATCH", path, {"status": told}, content_type=STRATEGIC_MERGE_PATCH)
        log.info("%s/%s has grown to %s", metadata["namespace"], metadata["name"], written(size))
