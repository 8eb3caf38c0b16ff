"""Which CSI volume a pod means when it names a PersistentVolumeClaim, and how that volume grows."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from k8sext.infra import access_modes
from k8sext.infra.csi.proto import csi_pb2 as csi
from k8sext.infra.kubelet.pod.references import References
from k8sext.kube.objects import Json
from k8sext.kube.quantity import parse, written
from k8sext.kube.request import STRATEGIC_MERGE_PATCH, request
from k8sext.kube.resource import PERSISTENT_VOLUME_CLAIMS, PERSISTENT_VOLUMES, Resource

if TYPE_CHECKING:
    from kubernetes.aio.client import ApiClient

log = logging.getLogger(__name__)

CSI_DRIVERS = Resource("storage.k8s.io", "v1", "csidrivers", namespaced=False)
RESIZING = ("FileSystemResizePending", "Resizing", "NodeResizeError", "ControllerResizeError")
"""The conditions that tell of a claim's growth; others are not ours."""


class ClaimError(Exception):
    """A claim cannot be used (yet); the message is that of the FailedMount event."""


class VolumeStats(NamedTuple):
    """What a driver said of the volume of a claim."""

    namespace: str
    claim: str
    answer: csi.NodeGetVolumeStatsResponse


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

    def capability(self, knows_new_modes: bool) -> csi.VolumeCapability:
        """How the volume is to be used, in the words of CSI."""
        asked = (self.volume["spec"].get("accessModes") or ["ReadWriteOnce"])[0]
        flags = self.volume["spec"].get("mountOptions") or []
        return access_modes.capability(asked, self.source.get("fsType", ""), flags, knows_new_modes=knows_new_modes)


def is_claimed(volume: Json) -> bool:
    """Whether a volume is that of a claim: the pod's own, made from a template, or another."""
    return "persistentVolumeClaim" in volume or "ephemeral" in volume


def claim_name(pod: Json, volume: Json) -> str:
    """The claim of such a volume; one that was made from a template in the pod is called after both. Source:
    KEP-1698."""
    if "ephemeral" in volume:
        return f"{pod['metadata']['name']}-{volume['name']}"
    return volume["persistentVolumeClaim"]["claimName"]


class Claims:
    """Reads claims, and tells them when they have grown."""

    def __init__(self, client: ApiClient, references: References) -> None:
        self._client, self._references = client, references

    async def find(self, namespace: str, name: str) -> Claim:
        """A claim with its volume. Raises ClaimError when a pod cannot use it (yet), ApiError, Unreachable."""
        claim = await self._references.read(PERSISTENT_VOLUME_CLAIMS.path(name, namespace))
        if claim is None:
            raise ClaimError(f'persistentvolumeclaim "{name}" not found')
        if claim.get("status", {}).get("phase") != "Bound":
            raise ClaimError(f'persistentvolumeclaim "{name}" is not bound to a volume yet')
        volume = await self._references.read(PERSISTENT_VOLUMES.path(claim["spec"]["volumeName"]))
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
        about = await self._references.read(CSI_DRIVERS.path(driver))
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
        path = PERSISTENT_VOLUME_CLAIMS.path(metadata["name"], metadata["namespace"], "status")
        await request(self._client, "PATCH", path, {"status": told}, content_type=STRATEGIC_MERGE_PATCH)
        log.info("%s/%s has grown to %s", metadata["namespace"], metadata["name"], written(size))
