"""Servers and supervisors are killed in the middle of work; nothing is lost, doubled or left behind."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aiohttp
import grpc
import pytest

from k8sext.infra.cri import stop_all
from k8sext.infra.cri.proto import api_pb2 as api
from tests.support.eventually import eventually_async


async def test_a_killed_server_finds_its_containers_again(own: Any) -> None:
    sandbox = await own.sandbox(labels={"app": "web"})
    container = await own.shell(
        "while read line; do echo $line; done; exit 6", sandbox=sandbox, stdin=True, stdin_once=True
    )
    created = await own.create(["true"], sandbox=sandbox, name="later")
    before = await own.status(container)
    own.server.stop(signal.SIGKILL)
    own.server.start()
    await own.back()
    assert await own.calls.ContainerStatus(api.ContainerStatusRequest(container_id=container), wait_for_ready=True)
    assert await own.status(container) == before
    assert (await own.status(created)).state == api.CONTAINER_CREATED
    request = api.ListPodSandboxRequest(filter=api.PodSandboxFilter(label_selector={"app": "web"}))
    assert [item.id for item in (await own.calls.ListPodSandbox(request)).items] == [sandbox]
    url = (await own.calls.Attach(api.AttachRequest(container_id=container, stdin=True, stdout=True))).url
    async with aiohttp.ClientSession() as session, session.ws_connect(url, protocols=["v5.channel.k8s.io"]) as stream:
        await stream.send_bytes(b"\x00still here\n")
        await own.logged("stdout F still here")
    assert (await own.ended(container)).exit_code == 6


async def test_an_exit_without_a_server_is_not_lost(own: Any) -> None:
    gate = own.logs / "gate"
    os.mkfifo(gate)
    container = await own.shell(f"read line < {gate}; echo end; exit 42")
    own.server.stop(signal.SIGKILL)
    gate.write_text("go\n")
    exit_file = own.server.root / "node" / "cri" / "containers" / container / "exit.json"
    await eventually_async(exit_file.exists)
    own.server.start()
    await own.back()
    status = (
        await own.calls.ContainerStatus(api.ContainerStatusRequest(container_id=container), wait_for_ready=True)
    ).status
    assert (status.state, status.exit_code) == (api.CONTAINER_EXITED, 42)
    assert status.finished_at == json.loads(exit_file.read_text())["finished_at"]
    assert own.log() == ["stdout F end"]


async def test_addresses_of_running_pods_are_not_given_out_again_after_a_restart(own: Any) -> None:
    first = await _address(own, await own.sandbox())
    own.server.stop(signal.SIGKILL)
    own.server.start()
    await own.back()
    assert await _address(own, await own.sandbox()) != first


async def test_containers_die_with_their_supervisor_and_the_next_one_takes_over(own: Any) -> None:
    container = await own.shell("setsid sleep 4321 & echo $!; exec sleep 4322")
    await eventually_async(own.log)
    daemon = int(own.log()[0].split()[-1])
    os.kill(own.server.shim(), signal.SIGKILL)
    status = await own.ended(container)
    assert status.exit_code == 137
    assert "supervisor" in status.message
    await eventually_async(lambda: not _runs(daemon))

    async def runs_again() -> bool:
        try:
            await own.ended(await own.run(["true"]))
        except grpc.aio.AioRpcError:
            return False
        return True

    await eventually_async(runs_again)


async def test_a_supervisor_whose_socket_was_removed_is_replaced_and_not_doubled(own: Any) -> None:
    container = await own.run(["sleep", "4321"])
    own.server.stop(signal.SIGKILL)
    old = own.server.shim()
    (own.server.folder / "shim-cri.sock").unlink()
    own.server.start()
    await own.back()
    status = (
        await own.calls.ContainerStatus(api.ContainerStatusRequest(container_id=container), wait_for_ready=True)
    ).status
    assert (status.state, status.exit_code) == (api.CONTAINER_EXITED, 137)
    assert not _runs(old)
    assert own.server.shim() != old


async def test_an_init_that_is_killed_takes_its_container_with_it(own: Any) -> None:
    container = await own.shell("setsid sleep 4321 & echo $!; exec sleep 4322")
    await eventually_async(own.log)
    daemon = int(own.log()[0].split()[-1])
    process = json.loads((own.server.root / "node" / "cri" / "containers" / container / "process.json").read_text())
    os.kill(process["init"], signal.SIGKILL)
    assert (await own.ended(container)).exit_code == 137
    await eventually_async(lambda: not _runs(daemon) and not _runs(process["main"]))


async def test_sigterm_leaves_containers_and_stop_all_ends_them(own: Any) -> None:
    container = await own.shell("setsid sleep 4321 & echo $!; exec sleep 4322")
    await eventually_async(own.log)
    daemon, shim = int(own.log()[0].split()[-1]), own.server.shim()
    own.server.stop(signal.SIGTERM)
    assert own.server.process.returncode == 0
    assert _runs(daemon) and _runs(shim)
    stop_all(own.server.root, own.server.folder)
    assert not _runs(daemon) and not _runs(shim)
    stop_all(own.server.root, own.server.folder)
    own.server.start()
    await own.back()
    status = (
        await own.calls.ContainerStatus(api.ContainerStatusRequest(container_id=container), wait_for_ready=True)
    ).status
    assert (status.state, status.exit_code) == (api.CONTAINER_EXITED, 137)


async def test_a_supervisor_whose_folder_was_removed_by_hand_ends_with_its_containers(own: Any) -> None:
    await own.shell("echo $$; exec sleep 4323")
    await eventually_async(own.log)
    container, shim = int(own.log()[0].split()[-1]), own.server.shim()
    own.server.stop(signal.SIGKILL)
    specs = [json.loads(file.read_text()) for file in own.server.root.glob("node/cri/containers/*/spec.json")]
    shutil.rmtree(own.server.root)
    await eventually_async(lambda: not _runs(shim) and not _runs(container))
    assert specs and not [entrance for spec in specs for entrance in spec["cgroups"] if Path(entrance).exists()]


async def test_stop_all_spares_a_process_that_has_only_the_number_of_an_old_one(folder: Path) -> None:
    node = folder / "root" / "node" / "cri"
    (node / "containers" / "c").mkdir(parents=True)
    (node / "shim.json").write_text(json.dumps({"pid": os.getpid(), "started": 1}))
    (node / "containers" / "c" / "process.json").write_text(
        json.dumps({"init": os.getpid(), "main": os.getpid(), "started": 1})
    )
    stop_all(folder / "root", folder)


async def test_a_second_server_on_the_same_state_is_refused(own: Any, start_server: Callable[..., Any]) -> None:
    await own.sandbox()
    other = start_server("--listen", f"unix://{own.server.folder}/other.sock", "--root", str(own.server.root))
    assert other.process.wait(20) != 0
    assert "another CRI server uses" in (own.server.folder / "log").read_text()


async def test_torn_state_files_do_not_stop_a_start(own: Any) -> None:
    sandbox = await own.sandbox()
    container = await own.run(["sleep", "1000"], sandbox=sandbox)
    own.server.stop(signal.SIGKILL)
    state = own.server.root / "node" / "cri"
    (state / "sandboxes" / "torn.json").write_text('{"id": "to')
    (state / "containers" / "torn").mkdir()
    (state / "containers" / "torn" / "container.json").write_text("")
    own.server.start()
    await own.back()
    listed = await own.calls.ListPodSandbox(api.ListPodSandboxRequest(), wait_for_ready=True)
    assert [item.id for item in listed.items] == [sandbox]
    assert (await own.status(container)).state == api.CONTAINER_RUNNING


@pytest.mark.parametrize("round_", range(2))
async def test_killed_in_the_middle_of_fifty_starts_nothing_is_doubled(own: Any, round_: int) -> None:
    sandbox = await own.sandbox()

    async def start(number: int) -> None:
        await own.run(["sleep", "4321"], sandbox=sandbox, name=f"c{number}")

    starting = [asyncio.create_task(start(number)) for number in range(50)]
    await asyncio.sleep(0.05 + 0.1 * round_)
    own.server.stop(signal.SIGKILL)
    await asyncio.gather(*starting, return_exceptions=True)
    own.server.start()
    await own.back()
    found = (await own.calls.ListContainers(api.ListContainersRequest(), wait_for_ready=True)).containers
    assert len({container.metadata.name for container in found}) == len(found)
    running = {container.id for container in found if container.state == api.CONTAINER_RUNNING}
    alive = {
        json.loads(file.read_text())["init"] for file in own.server.root.glob("node/cri/containers/*/process.json")
    }
    assert len([pid for pid in alive if _runs(pid)]) == len(running)
    for container in found:
        if container.state == api.CONTAINER_CREATED:
            await own.calls.StartContainer(api.StartContainerRequest(container_id=container.id))
    await own.calls.RemovePodSandbox(api.RemovePodSandboxRequest(pod_sandbox_id=sandbox))
    await eventually_async(lambda: not any(_runs(pid) for pid in alive))


async def _address(runtime: Any, sandbox: str) -> str:
    request = api.PodSandboxStatusRequest(pod_sandbox_id=sandbox)
    return (await runtime.calls.PodSandboxStatus(request)).status.network.ip


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
