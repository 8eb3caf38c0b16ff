"""How full volumes are, as Prometheus reads it: the names are those of every kubelet.

https://kubernetes.io/docs/reference/instrumentation/metrics/ (kubelet_volume_stats_*)
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from k8sext.infra.csi.proto import csi_pb2 as csi

FIGURES = {
    "capacity_bytes": (csi.VolumeUsage.BYTES, "total", "Capacity in bytes of the volume"),
    "available_bytes": (csi.VolumeUsage.BYTES, "available", "Number of available bytes in the volume"),
    "used_bytes": (csi.VolumeUsage.BYTES, "used", "Number of used bytes in the volume"),
    "inodes_used": (csi.VolumeUsage.INODES, "used", "Number of used inodes in the volume"),
}


def volume_metrics(stats: Iterable[tuple[Any, Any]]) -> str:
    """The text for what drivers said (NodeGetVolumeStatsResponse) about volumes that have a namespace and a claim."""
    stats, lines = list(stats), []
    for name, (unit, field, help) in FIGURES.items():
        metric = f"kubelet_volume_stats_{name}"
        lines += [f"# HELP {metric} {help}", f"# TYPE {metric} gauge"]
        for volume, answer in stats:
            labels = f'namespace="{volume.namespace}",persistentvolumeclaim="{volume.claim}"'
            lines += [f"{metric}{{{labels}}} {getattr(usage, field)}" for usage in answer.usage if usage.unit == unit]
    return "\n".join(lines) + "\n"
