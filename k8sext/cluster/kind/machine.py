"""What a node's kubelet takes for its machine: as many processors and as much memory as the lessons say, whatever this machine has.

A kubelet counts the folders cpuN of /sys/devices/system/cpu (where no NUMA nodes are to be seen) and reads MemTotal in
/proc/meminfo. So files of our own stand there in its container, as LXCFS does it. What pods really get is decided by this
machine's kernel all the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from k8sext.cluster.errors import ClusterError

UNITS = {"Ki": 1, "Mi": 2**10, "Gi": 2**20, "Ti": 2**30}


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
    if not amount.isdigit() or not 0 < int(amount) <= 1024:
        raise ClusterError(f"{amount!r} processors cannot be: a node of kind has whole ones, as cpu=4.")
    return int(amount)


def _kilobytes(amount: str) -> int:
    number, unit = amount[:-2], amount[-2:]
    if unit not in UNITS or not number.isdigit():
        raise ClusterError(f"{amount!r} is no memory for a node of kind: write whole units, as memory=8Gi.")
    return int(number) * UNITS[unit]
