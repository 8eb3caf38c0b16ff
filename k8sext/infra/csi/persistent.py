"""Claims in the words of CSI, and volumes in the words of Kubernetes: pure functions.

https://kubernetes.io/docs/concepts/storage/persistent-volumes/
"""

from __future__ import annotations

from k8sext.infra.access_modes import capability
from k8sext.infra.csi.capabilities import TOPOLOGY_KEY
from k8sext.infra.csi.identity import DRIVER
from k8sext.infra.csi.proto import csi_pb2 as csi
from k8sext.kube.objects import Json
from k8sext.kube.quantity import parse, written

PROVISIONER = "volume.kubernetes.io/storage-provisioner"
NODE_CHOSEN = "volume.kubernetes.io/selected-node"
PROVISIONED_BY = "pv.kubernetes.io/provisioned-by"
DELETED_BY_US = "external-provisioner.volume.kubernetes.io/finalizer"
"""Keeps a PersistentVolume until its folder is gone, whichever of claim and volume is deleted first (KEP-2644)."""


def volume_name(claim: Json) -> str:
    """The name of a claim's volume, the same each time one asks."""
    return f"pvc-{claim['metadata']['uid']}"


def asked(claim: Json) -> int:
    """The bytes a claim asks for."""
    return int(parse(claim["spec"]["resources"]["requests"]["storage"]))


def create_request(claim: Json, of_class: Json, node: str) -> csi.CreateVolumeRequest:
    """What to ask the driver for."""
    limit = (claim["spec"]["resources"].get("limits") or {}).get("storage", "0")
    here = csi.Topology(segments={TOPOLOGY_KEY: node})
    return csi.CreateVolumeRequest(
        name=volume_name(claim),
        capacity_range=csi.CapacityRange(required_bytes=asked(claim), limit_bytes=int(parse(limit))),
        volume_capabilities=[capability(mode) for mode in claim["spec"]["accessModes"]],
        parameters=of_class.get("parameters") or {},
        accessibility_requirements=csi.TopologyRequirement(requisite=[here], preferred=[here]),
    )


def persistent_volume(claim: Json, of_class: Json, volume: csi.Volume) -> Json:
    """The PersistentVolume for a volume the driver made, bound to its claim, usable on its node only."""
    metadata = claim["metadata"]
    terms = [
        {
            "matchExpressions": [
                {"key": key, "operator": "In", "values": [value]} for key, value in place.segments.items()
            ]
        }
        for place in volume.accessible_topology
    ]
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {
            "name": volume_name(claim),
            "annotations": {PROVISIONED_BY: DRIVER},
            "finalizers": [DELETED_BY_US],
        },
        "spec": {
            "capacity": {"storage": written(volume.capacity_bytes)},
            "accessModes": claim["spec"]["accessModes"],
            "persistentVolumeReclaimPolicy": of_class.get("reclaimPolicy", "Delete"),
            "storageClassName": of_class["metadata"]["name"],
            "volumeMode": "Filesystem",
            "claimRef": {
                "apiVersion": "v1",
                "kind": "PersistentVolumeClaim",
                "namespace": metadata["namespace"],
                "name": metadata["name"],
                "uid": metadata["uid"],
            },
            "csi": {
                "driver": DRIVER,
                "volumeHandle": volume.volume_id,
                "volumeAttributes": dict(volume.volume_context),
            },
            "nodeAffinity": {"required": {"nodeSelectorTerms": terms}},
        },
    }


def node_of(volume: Json) -> str:
    """The node of a volume that we provisioned, "" for any other."""
    if (volume["metadata"].get("annotations") or {}).get(PROVISIONED_BY) != DRIVER:
        return ""
    terms = volume["spec"].get("nodeAffinity", {}).get("required", {}).get("nodeSelectorTerms") or []
    places = (expression for term in terms for expression in term.get("matchExpressions") or [])
    return next((place["values"][0] for place in places if place["key"] == TOPOLOGY_KEY), "")
