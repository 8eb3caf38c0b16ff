"""What containers use, summed over their processes from /proc: works with and without cgroups."""

from __future__ import annotations

import os
import time
from pathlib import Path

from k8sext.files import disk_usage
from k8sext.infra.cri.proto import api_pb2 as api
from k8sext.infra.cri.shim.processes import children
from k8sext.infra.cri.store import Container

_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")


def container_stats(container: Container, init: int | None, work: Path) -> api.ContainerStats:
    """Return CPU time and memory of a container whose first process is `init` (None: it does not run)."""
    now = time.time_ns()
    ticks, pages = 0, 0
    for pid in _family(init) if init else []:
        used = _usage(pid)
        ticks, pages = ticks + used[0], pages + used[1]
    memory = api.UInt64Value(value=pages * _PAGE)
    return api.ContainerStats(
        attributes=api.ContainerAttributes(
            id=container.id,
            metadata=container.config.metadata,
            labels=container.config.labels,
            annotations=container.config.annotations,
        ),
        cpu=api.CpuUsage(timestamp=now, usage_core_nano_seconds=api.UInt64Value(value=ticks * 10**9 // _TICKS)),
        memory=api.MemoryUsage(timestamp=now, working_set_bytes=memory, usage_bytes=memory, rss_bytes=memory),
        writable_layer=api.FilesystemUsage(
            timestamp=now, fs_id=api.FilesystemIdentifier(mountpoint=str(work)), **_disk(work)
        ),
    )


def _family(init: int) -> list[int]:
    """Return the pids below init, without init itself, which is ours."""
    found, waiting = [], children(init)
    while waiting:
        pid = waiting.pop()
        found.append(pid)
        waiting += children(pid)
    return found


def _usage(pid: int) -> tuple[int, int]:
    """Return clock ticks (with those of children that were waited for) and resident pages of a process; zeros when it
    is gone."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
    except OSError:
        return 0, 0
    return sum(map(int, fields[11:15])), int(fields[21])


def _disk(work: Path) -> dict[str, api.UInt64Value]:
    size, count = disk_usage(work)
    return {"used_bytes": api.UInt64Value(value=size), "inodes_used": api.UInt64Value(value=count)}
