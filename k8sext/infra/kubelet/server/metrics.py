"""How full volumes are, and what pods use, as Prometheus reads it: the names are those of every kubelet.

https://kubernetes.io/docs/reference/instrumentation/metrics/ (kubelet_volume_stats_*)
https://kubernetes.io/docs/reference/instrumentation/node-metrics/ (/metrics/resource, which metrics-server reads)
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from k8sext.infra.csi.proto import csi_pb2 as csi
from k8sext.infra.kubelet.volumes.claims import VolumeStats
from k8sext.kube.objects import Json

METRICS = {
    "capacity_bytes": (csi.VolumeUsage.BYTES, "total", "Capacity in bytes of the volume"),
    "available_bytes": (csi.VolumeUsage.BYTES, "available", "Number of available bytes in the volume"),
    "used_bytes": (csi.VolumeUsage.BYTES, "used", "Number of used bytes in the volume"),
    "inodes_used": (csi.VolumeUsage.INODES, "used", "Number of used inodes in the volume"),
}


def volume_metrics(stats: Iterable[VolumeStats]) -> str:
    """The metrics of all volumes, as text."""
    stats, lines = list(stats), []
    for name, (unit, field, help) in METRICS.items():
        metric = f"kubelet_volume_stats_{name}"
        lines += _head(metric, help)
        for namespace, claim, answer in stats:
            labels = f'namespace="{namespace}",persistentvolumeclaim="{claim}"'
            lines += [f"{metric}{{{labels}}} {getattr(usage, field)}" for usage in answer.usage if usage.unit == unit]
    return "\n".join(lines) + "\n"


RESOURCES = (
    ("cpu_usage_seconds_total", "counter", "Cumulative cpu time consumed by the {} in core-seconds"),
    ("memory_working_set_bytes", "gauge", "Current working set of the {} in bytes"),
)


def resource_metrics(summary: Json) -> str:
    """What the node, its pods and their containers use, as text, from a Summary.

    Source: pkg/kubelet/metrics/collectors/resource_metrics.go.
    """
    pods = [(pod, f'namespace="{pod["podRef"]["namespace"]}",pod="{pod["podRef"]["name"]}"') for pod in summary["pods"]]
    containers = [
        (container, f'container="{container["name"]}",{labels}')
        for pod, labels in pods
        for container in pod["containers"]
    ]
    lines = _head("container_start_time_seconds", "Start time of the container since unix epoch in seconds")
    for container, labels in containers:
        lines.append(f"container_start_time_seconds{{{labels}}} {_seconds(container['startTime'])}")
    for what, measured in (("node", [(summary["node"], "")]), ("pod", pods), ("container", containers)):
        for name, type, help in RESOURCES:
            lines += _head(f"{what}_{name}", help.format(what), type)
            for one, labels in measured:
                lines.append(f"{what}_{name}{f'{{{labels}}}' if labels else ''} {_used(one, name)}")
    return "\n".join([*lines, *_head("resource_scrape_error", SCRAPE_ERROR), "resource_scrape_error 0"]) + "\n"


SCRAPE_ERROR = "1 if there was an error while getting container metrics, 0 otherwise"


def _head(name: str, help: str, type: str = "gauge") -> list[str]:
    return [f"# HELP {name} {help}", f"# TYPE {name} {type}"]


def _used(one: Json, name: str) -> str:
    """A value and its time, in milliseconds."""
    part = one["cpu" if name.startswith("cpu") else "memory"]
    value = part.get("usageCoreNanoSeconds", 0) / 1e9 if name.startswith("cpu") else part.get("workingSetBytes", 0)
    return f"{value} {_seconds(part['time']) * 1000}"


def _seconds(time: str) -> int:
    return int(datetime.fromisoformat(time).timestamp())
