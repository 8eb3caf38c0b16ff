"""The real kubelet without systemd: its settings, and what it leaves on the machine."""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from k8sext.infra.csi.publish import mount_points

KERNEL_FLAGS = (
    "kernel/panic_on_oops",
    "vm/overcommit_memory",
    "vm/panic_on_oom",
    "kernel/panic",
    "kernel/keys/root_maxkeys",
    "kernel/keys/root_maxbytes",
)


@contextmanager
def tidied(folder: Path) -> Iterator[None]:
    """Put the flags of the kernel back that a kubelet sets, and take down what it mounted below its folder."""
    before = {flag: Path("/proc/sys", flag).read_text() for flag in KERNEL_FLAGS}
    try:
        yield
    finally:
        for place in sorted(mount_points(), reverse=True):  # what is inside goes first
            if place.startswith(f"{folder}/"):
                subprocess.run(["umount", place], check=True)
        for flag, value in before.items():
            Path("/proc/sys", flag).write_text(value)


def configuration(folder: Path, runtime: Path, port: int) -> dict[str, Any]:
    """Return settings under which a kubelet runs without systemd, swap control and a control plane."""
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "containerRuntimeEndpoint": f"unix://{runtime}",
        "staticPodPath": f"{folder}/static",
        "podLogsDir": f"{folder}/logs",
        "fileCheckFrequency": "500ms",
        "cgroupsPerQOS": False,
        "enforceNodeAllocatable": [],
        "failSwapOn": False,
        "failCgroupV1": False,
        "makeIPTablesUtilChains": False,
        "localStorageCapacityIsolation": False,
        "authentication": {"anonymous": {"enabled": True}, "webhook": {"enabled": False}},
        "authorization": {"mode": "AlwaysAllow"},
        "address": "127.0.0.1",
        "port": port,
        "healthzPort": 0,
    }


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
