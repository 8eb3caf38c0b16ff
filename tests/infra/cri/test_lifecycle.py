"""Sandboxes and containers from creation to removal, as a kubelet drives them."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path
from typing import Any

import grpc

from k8sext import __version__
from k8sext.infra.cri.built_in import BUILT_IN, IMAGE_ID
from k8sext.infra.cri.proto import api_pb2 as api
from tests.support.eventually import eventually_async


async def test_the_runtime_introduces_itself_as_a_kubelet_insists(runtime: Any) -> None:
    version = await runtime.calls.Version(api.VersionRequest(), wait_for_ready=True)
    assert (version.version, version.runtime_name, version.runtime_version) == ("0.1.0", "k8sext", __version__)
    status = await runtime.calls.Status(api.StatusRequest(verbose=True))
    assert {condition.type: condition.status for condition in status.status.conditions} == {
        "RuntimeReady": True,
        "NetworkReady": True,
    }
    assert {"isolation", "limits"} == status.info.keys()


async def test_a_container_goes_from_created_over_running_to_exited(runtime: Any) -> None:
    gate = runtime.logs / "gate"
    os.mkfifo(gate)
    container = await runtime.create(["sh", "-c", f"read line < {gate}; exit 3"])
    assert (await runtime.status(container)).state == api.CONTAINER_CREATED
    await runtime.calls.StartContainer(api.StartContainerRequest(container_id=container))
    assert (await runtime.status(container)).state == api.CONTAINER_RUNNING
    gate.write_text("go\n")
    status = await runtime.ended(container)
    assert (status.exit_code, status.reason) == (3, "Error")
    assert 0 < status.created_at < status.started_at < status.finished_at


async def test_a_program_that_succeeds_is_completed(runtime: Any) -> None:
    status = await runtime.ended(await runtime.run(["true"]))
    assert (status.exit_code, status.reason) == (0, "Completed")


async def test_the_environment_is_what_was_asked_for_and_nothing_of_the_server(runtime: Any) -> None:
    sandbox = await runtime.sandbox(hostname="web-0")
    envs = [api.KeyValue(key="GREETING", value=b"hello")]
    await runtime.ended(await runtime.run(["env"], sandbox=sandbox, envs=envs, working_dir="/"))
    found = dict(line.removeprefix("stdout F ").split("=", 1) for line in runtime.log())
    assert found["GREETING"] == "hello"
    assert found["HOSTNAME"] == "web-0"
    assert found["PATH"].startswith(f"{sys.prefix}/bin:")
    assert found.keys() - {"PWD", "SHLVL", "_"} == {"GREETING", "HOSTNAME", "PATH", "HOME", "K8SEXT_BIND_ADDRESS"}


async def test_command_and_args_are_joined_and_the_working_folder_is_fresh(runtime: Any) -> None:
    await runtime.ended(await runtime.run(["sh", "-c"], args=["pwd; ls -A; echo $HOME"]))
    first, second = runtime.log()
    assert first == second
    assert first.endswith("/work")


async def test_the_python_of_the_image_is_the_one_that_runs_the_server(runtime: Any) -> None:
    await runtime.ended(await runtime.run(["python", "-c", "import sys, k8sext; print(sys.prefix)"]))
    assert runtime.log() == [f"stdout F {sys.prefix}"]


async def test_a_missing_program_is_told_at_start_and_in_the_status(runtime: Any) -> None:
    container = await runtime.create(["no-such-program"])
    error = await runtime.refusal(runtime.calls.StartContainer(api.StartContainerRequest(container_id=container)))
    assert "there is no program 'no-such-program'" in (error.details() or "")
    status = await runtime.status(container)
    assert (status.state, status.reason, status.exit_code) == (api.CONTAINER_EXITED, "StartError", 128)


async def test_a_missing_working_folder_is_told_at_start(runtime: Any) -> None:
    container = await runtime.create(["true"], working_dir="/no/such/folder")
    error = await runtime.refusal(runtime.calls.StartContainer(api.StartContainerRequest(container_id=container)))
    assert "the working folder /no/such/folder does not exist" in (error.details() or "")


async def test_stopping_lets_a_program_clean_up(runtime: Any) -> None:
    container = await runtime.shell("trap 'echo bye; exit 7' TERM; echo ready; while :; do sleep 0.01; done")
    await runtime.logged("stdout F ready")
    await runtime.stop(container, timeout=15)
    status = await runtime.status(container)
    assert (status.state, status.exit_code) == (api.CONTAINER_EXITED, 7)
    assert "stdout F bye" in runtime.log()


async def test_a_program_that_ignores_the_signal_is_killed_with_all_it_started(runtime: Any) -> None:
    container = await runtime.shell("trap '' TERM; setsid sleep 4321 & echo $!; while :; do sleep 0.01; done")
    await eventually_async(runtime.log)
    child = int(runtime.log()[0].split()[-1])
    assert Path(f"/proc/{child}").exists()
    await runtime.stop(container, timeout=1)
    assert (await runtime.status(container)).exit_code == 137
    await eventually_async(lambda: not Path(f"/proc/{child}").exists())


async def test_what_a_program_leaves_behind_dies_with_it(runtime: Any) -> None:
    container = await runtime.shell("setsid sleep 4321 & echo $!; exit 0")
    assert (await runtime.ended(container)).exit_code == 0
    child = int(runtime.log()[0].split()[-1])
    await eventually_async(lambda: not Path(f"/proc/{child}").exists())


async def test_the_stop_signal_can_be_chosen(runtime: Any) -> None:
    container = await runtime.shell(
        "trap 'exit 9' USR1; echo ready; while :; do sleep 0.01; done", stop_signal=api.SIGNAL_SIGUSR1
    )
    await runtime.logged("stdout F ready")
    await runtime.stop(container, timeout=15)
    assert (await runtime.status(container)).exit_code == 9


async def test_stops_and_removals_may_be_repeated(runtime: Any) -> None:
    sandbox = await runtime.sandbox()
    container = await runtime.run(["sleep", "1000"], sandbox=sandbox)
    for _ in range(2):
        await runtime.stop(container)
    for _ in range(2):
        await runtime.calls.RemoveContainer(api.RemoveContainerRequest(container_id=container))
    for _ in range(2):
        await runtime.calls.StopPodSandbox(api.StopPodSandboxRequest(pod_sandbox_id=sandbox))
    for _ in range(2):
        await runtime.calls.RemovePodSandbox(api.RemovePodSandboxRequest(pod_sandbox_id=sandbox))
    error = await runtime.refusal(runtime.calls.ContainerStatus(api.ContainerStatusRequest(container_id=container)))
    assert error.code() == grpc.StatusCode.NOT_FOUND


async def test_removing_a_sandbox_kills_and_removes_its_containers(runtime: Any) -> None:
    sandbox = await runtime.sandbox()
    container = await runtime.run(["sleep", "1000"], sandbox=sandbox)
    folder = _work(runtime, container).parent
    await runtime.calls.RemovePodSandbox(api.RemovePodSandboxRequest(pod_sandbox_id=sandbox))
    left = await runtime.calls.ListContainers(
        api.ListContainersRequest(filter=api.ContainerFilter(pod_sandbox_id=sandbox))
    )
    assert not left.containers
    assert not folder.exists()


async def test_nothing_starts_in_a_sandbox_that_was_stopped(runtime: Any) -> None:
    sandbox = await runtime.sandbox()
    container = await runtime.create(["sleep", "1000"], sandbox=sandbox)
    await runtime.calls.StopPodSandbox(api.StopPodSandboxRequest(pod_sandbox_id=sandbox))
    error = await runtime.refusal(runtime.calls.StartContainer(api.StartContainerRequest(container_id=container)))
    assert error.code() == grpc.StatusCode.FAILED_PRECONDITION
    error = await runtime.refusal(runtime.create(["true"], sandbox=sandbox, name="late"))
    assert error.code() == grpc.StatusCode.FAILED_PRECONDITION


async def test_a_repeated_creation_makes_no_second_one(runtime: Any) -> None:
    config = runtime.pod()
    sandbox = (await runtime.calls.RunPodSandbox(api.RunPodSandboxRequest(config=config))).pod_sandbox_id
    again = await runtime.refusal(runtime.calls.RunPodSandbox(api.RunPodSandboxRequest(config=config)))
    assert again.code() == grpc.StatusCode.ALREADY_EXISTS
    await runtime.create(["true"], sandbox=sandbox)
    again = await runtime.refusal(runtime.create(["true"], sandbox=sandbox))
    assert again.code() == grpc.StatusCode.ALREADY_EXISTS


async def test_pods_get_addresses_of_their_own_and_listen_on_loopback(runtime: Any) -> None:
    addresses = []
    for _ in range(2):
        sandbox = await runtime.sandbox()
        status = await runtime.calls.PodSandboxStatus(api.PodSandboxStatusRequest(pod_sandbox_id=sandbox, verbose=True))
        address = status.status.network.ip
        assert status.info["bindAddress"] == address.replace("10.244.", "127.244.")
        addresses.append(address)
    assert len(set(addresses)) == 2


async def test_a_pod_on_the_node_network_has_no_address_of_its_own(runtime: Any) -> None:
    options = api.NamespaceOption(network=api.NODE)
    linux = api.LinuxPodSandboxConfig(security_context=api.LinuxSandboxSecurityContext(namespace_options=options))
    sandbox = await runtime.sandbox(linux=linux)
    status = await runtime.calls.PodSandboxStatus(api.PodSandboxStatusRequest(pod_sandbox_id=sandbox, verbose=True))
    assert status.status.network.ip == ""
    assert status.info["bindAddress"] == "127.244.0.1"


async def test_lists_are_filtered_by_state_and_labels(runtime: Any) -> None:
    sandbox = await runtime.sandbox(labels={"app": "web"})
    running = await runtime.run(["sleep", "1000"], sandbox=sandbox, name="a", labels={"part": "one"})
    created = await runtime.create(["true"], sandbox=sandbox, name="b", labels={"part": "two"})

    async def listed(**wanted: Any) -> set[str]:
        request = api.ListContainersRequest(filter=api.ContainerFilter(**wanted))
        return {container.id for container in (await runtime.calls.ListContainers(request)).containers}

    assert await listed(pod_sandbox_id=sandbox) == {running, created}
    assert await listed(state=api.ContainerStateValue(state=api.CONTAINER_RUNNING)) == {running}
    assert await listed(label_selector={"part": "two"}) == {created}
    assert await listed(id=created, label_selector={"part": "one"}) == set()
    request = api.ListPodSandboxRequest(filter=api.PodSandboxFilter(label_selector={"app": "web"}))
    assert [item.id for item in (await runtime.calls.ListPodSandbox(request)).items] == [sandbox]


async def test_the_image_is_there_and_others_are_refused_with_a_reason(runtime: Any) -> None:
    listed = await runtime.images.ListImages(api.ListImagesRequest())
    assert [(image.id, list(image.repo_tags)) for image in listed.images] == [(IMAGE_ID, [BUILT_IN])]
    assert not (await runtime.images.ImageStatus(api.ImageStatusRequest(image=api.ImageSpec(image="nginx")))).HasField(
        "image"
    )
    error = await runtime.refusal(runtime.images.PullImage(api.PullImageRequest(image=api.ImageSpec(image="nginx"))))
    assert error.code() == grpc.StatusCode.NOT_FOUND
    assert f"use {BUILT_IN}" in (error.details() or "")


async def test_a_removed_image_comes_back_when_pulled(runtime: Any) -> None:
    built_in = api.ImageSpec(image=BUILT_IN)
    for _ in range(2):
        await runtime.images.RemoveImage(api.RemoveImageRequest(image=built_in))
    assert not (await runtime.images.ListImages(api.ListImagesRequest())).images
    assert (await runtime.images.PullImage(api.PullImageRequest(image=built_in))).image_ref == IMAGE_ID
    assert (await runtime.images.ImageStatus(api.ImageStatusRequest(image=built_in))).image.id == IMAGE_ID


async def test_the_file_system_of_the_containers_is_measured(runtime: Any) -> None:
    usage = (await runtime.images.ImageFsInfo(api.ImageFsInfoRequest())).image_filesystems[0]
    assert Path(usage.fs_id.mountpoint).is_dir()
    assert usage.used_bytes.value > 0


async def test_stats_grow_with_what_a_container_does(runtime: Any) -> None:
    container = await runtime.shell("dd if=/dev/zero of=file bs=64k count=1; while :; do :; done")

    async def busy() -> bool:
        request = api.ContainerStatsRequest(container_id=container)
        stats = (await runtime.calls.ContainerStats(request)).stats
        return (
            stats.cpu.usage_core_nano_seconds.value > 0
            and stats.memory.working_set_bytes.value > 0
            and stats.writable_layer.used_bytes.value >= 65536
        )

    await eventually_async(busy)
    assert [
        stats.attributes.id for stats in (await runtime.calls.ListContainerStats(api.ListContainerStatsRequest())).stats
    ] == [container]


async def test_events_tell_each_step_of_a_container(runtime: Any) -> None:
    sandbox = await runtime.sandbox()
    events = runtime.calls.GetContainerEvents(api.GetEventsRequest())
    await events.wait_for_connection()
    seen: list[tuple[str, int]] = []

    async def listen() -> None:
        async for event in events:
            seen.append((event.container_id, event.container_event_type))

    listening = asyncio.create_task(listen())
    first = await runtime.run(["true"], sandbox=sandbox, name="probe-0")
    await runtime.ended(first)
    await runtime.calls.RemoveContainer(api.RemoveContainerRequest(container_id=first))
    steps = [
        api.CONTAINER_CREATED_EVENT,
        api.CONTAINER_STARTED_EVENT,
        api.CONTAINER_STOPPED_EVENT,
        api.CONTAINER_DELETED_EVENT,
    ]
    await eventually_async(lambda: sorted(seen) == sorted((first, step) for step in steps))
    events.cancel()
    await asyncio.gather(listening, return_exceptions=True)


async def test_methods_that_are_left_out_say_so(runtime: Any) -> None:
    error = await runtime.refusal(runtime.calls.UpdatePodSandboxResources(api.UpdatePodSandboxResourcesRequest()))
    assert error.code() == grpc.StatusCode.UNIMPLEMENTED


def _work(runtime: Any, container: str) -> Path:
    return runtime.server.root / "node" / "cri" / "containers" / container / "work"
