"""How full volumes are, as Prometheus reads it: the names are those of every kubelet.

https://kubernetes.io/docs/reference/instrumentation/metrics/ (kubelet_volume_stats_*)
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from k8sext.infra.csi.proto import csi_pb2 as csi

METRICS = {
    "capacity_bytes": (csi.VolumeUsage.BYTES, "total", "Capacity in bytes of the volume"),
    "available_bytes": (csi.VolumeUsage.BYTES, "available", "Number of available bytes in the volume"),
    "used_bytes": (csi.VolumeUsage.BYTES, "used", "Number of used bytes in the volume"),
    "inodes_used": (csi.VolumeUsage.INODES, "used", "Number of used inodes in the volume"),
}


class VolumeStats(NamedTuple):
    """What a driver said of the volume of a claim."""

    namespace: str
    claim: str
    answer: csi.NodeGetVolumeStatsResponse


def volume_metrics(stats: Iterable[VolumeStats]) -> str:
    """The metrics of all volumes, as text."""
    stats, lines = list(stats), []
    for name, (unit, field, help) in METRICS.items():
        metric = f"kubelet_volume_stats_{name}"
        lines += [f"# HELP {metric} {help}", f"# TYPE {metric} gauge"]
        for namespace, claim, answer in stats:
            labels = f'namespace="{namespace}",persistentvolumeclaim="{claim}"'
            lines += [f"{metric}{{{labels}}} {getattr(usage, field)}" for usage in answer.usage if usage.unit == unit]
    return "\n".join(lines) + "\n"
