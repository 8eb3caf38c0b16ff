"""Memory and CPU limits hold where a cgroup may be used; where not, the runtime says so."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from k8sext.infra.cri import cleanup, stop_all
from k8sext.infra.cri.cgroups import NOT_ENFORCED, Cgroups
from k8sext.infra.cri.proto import api_pb2 as api
from tests.support.eventually import eventually_async


@pytest.fixture
async def limited(runtime: Any) -> Any:
    status = await runtime.calls.Status(api.StatusRequest(verbose=True), wait_for_ready=True)
    if status.info["limits"] != "enforced":
        pytest.skip(status.info["limits"])
    return runtime


def resources(**limits: Any) -> api.LinuxContainerConfig:
    return api.LinuxContainerConfig(resources=api.LinuxContainerResources(**limits))


async def test_a_program_that_takes_too_much_memory_is_oom_killed(limited: Any) -> None:
    script = "data = bytearray(400 << 20); print(len(data))"
    container = await limited.run(["python", "-c", script], linux=resources(memory_limit_in_bytes=64 << 20))
    status = await limited.ended(container)
    assert (status.exit_code, status.reason) == (137, "OOMKilled")
    assert limited.log() == []


async def test_limits_are_told_and_can_be_changed_while_the_container_runs(limited: Any) -> None:
    container = await limited.run(
        ["sleep", "1000"], linux=resources(memory_limit_in_bytes=64 << 20, cpu_quota=50000, cpu_period=100000)
    )
    assert (await limited.status(container)).resources.linux.memory_limit_in_bytes == 64 << 20
    change = api.LinuxContainerResources(memory_limit_in_bytes=96 << 20)
    await limited.calls.UpdateContainerResources(
        api.UpdateContainerResourcesRequest(container_id=container, linux=change)
    )
    assert (await limited.status(container)).resources.linux.memory_limit_in_bytes == 96 << 20
    assert (await limited.status(container)).resources.linux.cpu_quota == 50000
    seen = [
        line
        for line in Path("/proc", str(await _pid(limited, container)), "cgroup").read_text().splitlines()
        if "k8sext-" in line
    ]
    assert seen


async def test_a_removed_container_leaves_no_cgroup(limited: Any) -> None:
    container = await limited.run(["sleep", "1000"])
    group = f"k8sext-{container[:24]}"
    assert list(Path("/sys/fs/cgroup").glob(f"**/{group}"))
    await limited.calls.RemoveContainer(api.RemoveContainerRequest(container_id=container))
    assert not list(Path("/sys/fs/cgroup").glob(f"**/{group}"))


async def test_stop_all_leaves_no_cgroup(own: Any) -> None:
    container = await own.run(["sleep", "1000"], linux=resources(memory_limit_in_bytes=64 << 20))
    own.server.stop()
    stop_all(own.server.root, own.server.folder)
    assert not list(Path("/sys/fs/cgroup").glob(f"**/k8sext-{container[:24]}"))


async def test_a_group_that_the_kernel_still_holds_is_removed_a_little_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    groups = Cgroups({"memory": tmp_path, "cpu": tmp_path})
    (group,) = [Path(entrance).parent for entrance in groups.entrances("id")]
    (group / "held").mkdir(parents=True)
    tried = mock.Mock(side_effect=cleanup.remove_group)
    monkeypatch.setattr(cleanup, "remove_group", tried)
    removal = asyncio.create_task(groups.remove("id"))
    await eventually_async(lambda: tried.call_count >= 2)
    assert group.exists() and not removal.done()
    (group / "held").rmdir()
    await removal
    assert not group.exists()


async def test_without_a_cgroup_limits_are_accepted_and_named_as_not_enforced(runtime: Any) -> None:
    groups = Cgroups({})
    assert not groups.enforced
    groups.create("id", api.LinuxContainerResources(memory_limit_in_bytes=1))
    assert groups.entrances("id") == []
    groups.limit("id", api.LinuxContainerResources(memory_limit_in_bytes=1))
    await groups.remove("id")
    assert "limits are not enforced" in NOT_ENFORCED
    container = await runtime.create(["true"])
    answer = await runtime.calls.ContainerStatus(api.ContainerStatusRequest(container_id=container, verbose=True))
    assert json.loads(answer.info["info"])["limits"] in ("enforced", NOT_ENFORCED)


async def _pid(runtime: Any, container: str) -> int:
    answer = await runtime.calls.ContainerStatus(api.ContainerStatusRequest(container_id=container, verbose=True))
    return json.loads(answer.info["info"])["pid"]
