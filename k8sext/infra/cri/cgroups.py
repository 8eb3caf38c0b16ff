"""Enforce memory and CPU limits where a cgroup may be used, and say so where not.

An ordinary process may not limit others, except by a control group that was delegated to it (a systemd user session,
or root). Address-space rlimits are no substitute: Go programs reserve far more than they use and would die.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import time
from pathlib import Path

from k8sext.infra.cri import cleanup
from k8sext.infra.cri.proto import api_pb2 as api
from k8sext.infra.grpc import invalid_argument

MOUNT = Path("/sys/fs/cgroup")
NOT_ENFORCED = (
    "limits are not enforced: no cgroup is delegated to this user (start the cluster as root or in a systemd user "
    "session)"
)
log = logging.getLogger(__name__)


class Cgroups:
    """Control groups of one node's containers, in the version 1 or 2 hierarchy that this process may write to."""

    def __init__(self, parents: dict[str, Path]) -> None:
        """`parents`: controller ("memory", "cpu") to the folder in which groups can be made; the same folder twice in
        version 2."""
        self._parents = parents
        self._unified = (MOUNT / "cgroup.controllers").exists()

    @property
    def enforced(self) -> bool:
        """Whether memory and CPU limits hold."""
        return {"memory", "cpu"} <= self._parents.keys()

    def entrances(self, container_id: str) -> list[str]:
        """Return the files through which a process joins the container's groups: note them before you make the
        groups."""
        return [str(group / "cgroup.procs") for group in self._groups(container_id)]

    def create(self, container_id: str, resources: api.LinuxContainerResources) -> None:
        """Make the container's groups."""
        for group in self._groups(container_id):
            group.mkdir(exist_ok=True)
        self.limit(container_id, resources)

    def limit(self, container_id: str, resources: api.LinuxContainerResources) -> None:
        """Set the limits, also of a container that runs.

        Raises StatusError for what the kernel calls no limit, OSError for other trouble.
        """
        if not self.enforced:
            return
        try:
            self._write(container_id, resources)
        except OSError as problem:
            if problem.errno not in (errno.EINVAL, errno.ERANGE):
                raise
            raise invalid_argument(f"the kernel takes no such limits of memory or processor: {problem}") from problem

    def _write(self, container_id: str, resources: api.LinuxContainerResources) -> None:
        memory, cpu = (self._parents[controller] / _name(container_id) for controller in ("memory", "cpu"))
        limit, quota, period = resources.memory_limit_in_bytes, resources.cpu_quota, resources.cpu_period or 100_000
        if self._unified:
            (memory / "memory.max").write_text(str(limit or "max"))
            (cpu / "cpu.max").write_text(f"{quota if quota > 0 else 'max'} {period}")
            (cpu / "cpu.weight").write_text(str(1 + max(0, resources.cpu_shares - 2) * 9999 // 262142))
        else:
            (memory / "memory.limit_in_bytes").write_text(str(limit or -1))
            (cpu / "cpu.cfs_period_us").write_text(str(period))
            (cpu / "cpu.cfs_quota_us").write_text(str(quota if quota > 0 else -1))
            (cpu / "cpu.shares").write_text(str(resources.cpu_shares or 1024))

    def ran_out_of_memory(self, container_id: str) -> bool:
        """Whether the kernel killed something in the container for want of memory."""
        if "memory" not in self._parents:
            return False
        file = (
            self._parents["memory"] / _name(container_id) / ("memory.events" if self._unified else "memory.oom_control")
        )
        try:
            counts = dict(line.split() for line in file.read_text().splitlines())
        except OSError:
            return False
        return int(counts.get("oom_kill", 0)) > 0

    async def remove(self, container_id: str) -> None:
        """Remove the container's groups, in which nothing runs any more."""
        deadline = time.monotonic() + cleanup.PATIENCE
        while left := [group for group in self._groups(container_id) if not cleanup.remove_group(group)]:
            if time.monotonic() > deadline:
                return log.warning("the cgroups %s stay behind: something runs in them", left)
            await asyncio.sleep(0.01)

    def _groups(self, container_id: str) -> list[Path]:
        return (
            [parent / _name(container_id) for parent in dict.fromkeys(self._parents.values())] if self.enforced else []
        )


def probe() -> Cgroups:
    """Find the groups under which this process may make its own: next to its own group or below it."""
    own = _own_groups()
    if (MOUNT / "cgroup.controllers").exists():
        folder = MOUNT / own.get("", "/").lstrip("/")
        for parent in (folder, folder.parent):
            if parent.is_relative_to(MOUNT) and _can_make_groups(parent, {"memory", "cpu"}):
                return Cgroups({"memory": parent, "cpu": parent})
        return Cgroups({})
    found = {}
    for controller in ("memory", "cpu"):
        for parent in (MOUNT / controller / own.get(controller, "/").lstrip("/"), MOUNT / controller):
            if controller not in found and parent.is_dir() and _can_make_groups(parent, set()):
                found[controller] = parent
    return Cgroups(found if len(found) == 2 else {})


def _own_groups() -> dict[str, str]:
    """Return this process's group in each hierarchy; "" names the one of version 2."""
    groups = {}
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        groups |= dict.fromkeys(controllers.split(","), path)
    return groups


def _can_make_groups(parent: Path, needed: set[str]) -> bool:
    """Try it: permission bits do not tell about read-only mounts and delegation."""
    probe = parent / f"k8sext-probe-{os.getpid()}"
    try:
        if needed and not needed <= set((parent / "cgroup.subtree_control").read_text().split()):
            return False
        probe.mkdir()
        probe.rmdir()
    except OSError:
        return False
    return os.access(parent / "cgroup.procs", os.W_OK)


def _name(container_id: str) -> str:
    return f"k8sext-{container_id[:24]}"
