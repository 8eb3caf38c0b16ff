"""What a node's kubelet takes for its machine: as many processors and as much memory as the lessons say, whatever this
machine has.

A kubelet counts the folders cpuN of /sys/devices/system/cpu (where no NUMA nodes are to be seen) and reads MemTotal in
/proc/meminfo. So files of our own stand there in its container, as LXCFS does it. What pods really get is decided by
this machine's kernel all the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from k8sext.cluster.errors import ClusterError
from k8sext.kube.quantity import parse


def files(folder: Path, capacity: Mapping[str, str]) -> dict[str, Path]:
    """Write a machine's files into folder; returns where in the container each is to stand (path there: path here)."""
    processors = _processors(capacity["cpu"])
    cpu = folder / "cpu"
    for number in range(processors):
        (cpu / f"cpu{number}").mkdir(parents=True, exist_ok=True)
    for name in ("online", "possible", "present"):
        (cpu / name).write_text(f"0-{processors - 1}\n" if processors > 1 else "0\n")
    (folder / "numa").mkdir(exist_ok=True)
    kilobytes = _kilobytes(capacity["memory"])
    lines = [
        f"MemTotal: {kilobytes} kB",
        f"MemFree: {kilobytes} kB",
        f"MemAvailable: {kilobytes} kB",
        "SwapTotal: 0 kB",
    ]
    (folder / "meminfo").write_text("\n".join([*lines, "SwapFree: 0 kB", ""]))
    return {
        "/sys/devices/system/cpu": cpu,
        "/sys/devices/system/node": folder / "numa",
        "/proc/meminfo": folder / "meminfo",
    }


def _processors(amount: str) -> int:
    number = _whole(amount)
    if not number or number > 1024:
        raise ClusterError(f"{amount!r} processors cannot be: a node of kind has whole ones, as cpu=4.")
    return number


def _kilobytes(amount: str) -> int:
    number = _whole(amount, 1024)
    if not number:
        raise ClusterError(f"{amount!r} is no memory for a node of kind: write whole units, as memory=8Gi.")
    return number


def _whole(amount: str, unit: int = 1) -> int:
    """So many units; 0 for what is no quantity, or no whole number of them."""
    try:
        number = parse(amount) / unit
    except ValueError:
        return 0
    return int(number) if number > 0 and number == int(number) else 0
