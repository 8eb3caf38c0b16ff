"""The handler `oci` under blows: SIGKILL between any two steps of a pod's life, and requests that make no sense."""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import signal
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc.aio
import pytest
from google.protobuf.descriptor import FieldDescriptor
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from k8sext.infra.cri.built_in import BUILT_IN
from k8sext.infra.cri.handlers.oci import capability_checks as possible
from k8sext.infra.cri.proto import api_pb2 as api
from k8sext.infra.cri.shim.processes import children
from tests.infra.cri.conftest import Server, serving
from tests.infra.cri.test_oci import Pods
from tests.support.eventually import eventually_async

pytestmark = pytest.mark.slow

DEADLY = """
# Python reports each step outside the process to an audit hook before it happens; from when the file `armed` is
# there, the hook counts.
import os, signal, sys
left, armed = int(os.environ["KILL_AT"]), os.environ["KILL_ARMED"]
STEPS = {"os.rename", "os.mkdir", "os.remove", "shutil.rmtree", "subprocess.Popen", "socket.sendmsg"}
def step(event, arguments):
    global left
    if event in STEPS and os.path.exists(armed):
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
sys.addaudithook(step)
"""
FEWEST_STEPS = 25
RECONNECT = [("grpc.max_reconnect_backoff_ms", 100)]


@pytest.fixture(autouse=True)
def _possible() -> None:
    if reasons := possible.obstacles():
        pytest.skip(f"the handler oci cannot be used here: {'; '.join(reasons)}")


async def life(pods: Pods) -> None:
    """From nothing to a pod with a container, and back to nothing."""
    sandbox = await pods.sandbox()
    container = await pods.run(["sleep", "1000"], sandbox=sandbox)
    await pods.stop(container)
    await remove(pods, sandbox)


async def remove(pods: Pods, sandbox: str) -> None:
    """What a kubelet does with a pod that nobody wants."""
    await pods.calls.StopPodSandbox(api.StopPodSandboxRequest(pod_sandbox_id=sandbox))
    await pods.calls.RemovePodSandbox(api.RemovePodSandboxRequest(pod_sandbox_id=sandbox))


def left_of(server: Server) -> list[Any]:
    """Return what is there of pods: processes of the supervisor, files, addresses, cables."""
    cri, room = server.root / "node" / "cri", server.root / "room.json"
    files = [*(cri / "containers").iterdir(), *(cri / "sandboxes").iterdir()]
    notes = cri / "cni" / "pods" / "addresses.json"
    addresses = [*json.loads(notes.read_text())["addresses"]] if notes.exists() else []
    links = []
    if room.exists():
        user = ["--user", "--preserve-credentials"] if possible.namespace_flags() else []
        enter = ["nsenter", f"--target={json.loads(room.read_text())['pid']}", *user, "--net", "--"]
        found = subprocess.run([*enter, "ip", "-json", "link"], capture_output=True, text=True, check=True).stdout
        links = [link["ifname"] for link in json.loads(found) if link["ifname"].startswith("k8x")]
    return [*children(server.shim()), *files, *addresses, *links]


async def test_the_server_may_be_killed_between_any_two_steps(folder: Path, request: pytest.FixtureRequest) -> None:
    (folder / "sitecustomize.py").write_text(DEADLY)
    at, distance = 1, 1 if request.config.getoption("--long") else 9
    while await killed_at(at, folder):
        at += distance
    assert at > FEWEST_STEPS


async def killed_at(step: int, folder: Path) -> bool:
    """Lead a pod's life on a server that is killed at a step, and clear up with another; return whether there were so
    many steps."""
    armed = folder / "armed"
    server = Server(folder, environment={"PYTHONPATH": str(folder), "KILL_AT": str(step), "KILL_ARMED": str(armed)})
    try:
        async with connected(server) as pods:
            armed.touch()
            try:
                await life(pods)
            except grpc.aio.AioRpcError as error:
                assert error.code() == grpc.StatusCode.UNAVAILABLE, error
                server.process.wait(60)
        armed.unlink()
        if died := server.process.poll() is not None:
            server.start()
        async with connected(server) as pods:
            for sandbox in (await pods.calls.ListPodSandbox(api.ListPodSandboxRequest())).items:
                await remove(pods, sandbox.id)
            await eventually_async(lambda: not left_of(server))
        return died
    finally:
        server.end()


async def test_a_pod_whose_supervisor_is_killed_is_not_ready_and_can_be_made_anew(folder: Path) -> None:
    server = Server(folder)
    try:
        async with connected(server) as pods:
            lost = await pods.sandbox()
            await pods.run(["sleep", "1000"], sandbox=lost)
            os.kill(server.shim(), signal.SIGKILL)

            async def ready() -> set[str]:
                items = (await pods.calls.ListPodSandbox(api.ListPodSandboxRequest())).items
                return {item.id for item in items if item.state == api.SANDBOX_READY}

            async def is_lost() -> bool:
                return not await ready()

            await eventually_async(is_lost)
            anew = await pods.sandbox()
            await pods.run(["sleep", "1000"], sandbox=anew)
            assert await ready() == {anew}
            for sandbox in (lost, anew):
                await remove(pods, sandbox)
            await eventually_async(lambda: not left_of(server))
    finally:
        server.end()


@asynccontextmanager
async def connected(server: Server) -> AsyncIterator[Pods]:
    """A client of a server that has just been started."""
    async with grpc.aio.insecure_channel(f"unix:{server.socket}", options=RECONNECT) as channel:
        pods = Pods(server, channel)
        await pods.calls.Version(api.VersionRequest(), wait_for_ready=True, timeout=60)
        yield pods


@pytest.fixture(scope="module")
def victim() -> Iterator[Server]:
    """One server for all nonsense."""
    with serving() as server:
        yield server


words = st.text(st.characters(exclude_categories=["Cs"]), max_size=12) | st.sampled_from(
    ["..", "/", "a/../../b", "ALL"]
)
numbers = {
    FieldDescriptor.CPPTYPE_BOOL: st.booleans(),
    FieldDescriptor.CPPTYPE_INT32: st.integers(-(2**31), 2**31 - 1) | st.integers(-1, 5),
    FieldDescriptor.CPPTYPE_UINT32: st.integers(0, 2**32 - 1),
    FieldDescriptor.CPPTYPE_INT64: st.integers(-(2**63), 2**63 - 1) | st.integers(-1, 5),
    FieldDescriptor.CPPTYPE_UINT64: st.integers(0, 2**64 - 1),
}
OUTSIDE = ("host_path", "log_directory", "image_ref")
"""Fields that name what lies outside the container, on this machine: they stay in the test's own folder."""


def fill(data: Any, message: Any, folder: Path, depth: int = 4) -> Any:
    """Set some fields of a message, and of the messages in it, to whatever their types allow."""
    fields = [field for field in message.DESCRIPTOR.fields if depth or field.cpp_type != field.CPPTYPE_MESSAGE]
    for field in data.draw(st.lists(st.sampled_from(fields), max_size=3, unique_by=lambda f: f.name)) if fields else []:
        if field.message_type is not None and field.message_type.GetOptions().map_entry:
            getattr(message, field.name)[data.draw(words)] = data.draw(words)
        elif field.cpp_type == field.CPPTYPE_MESSAGE:
            part = getattr(message, field.name).add() if field.is_repeated else getattr(message, field.name)
            fill(data, part, folder, depth - 1)
            part.SetInParent()
        else:
            value = data.draw(_values(field, folder))
            if field.is_repeated:
                getattr(message, field.name).append(value)
            else:
                setattr(message, field.name, value)
    return message


def _values(field: Any, folder: Path) -> Any:
    if field.name in OUTSIDE:
        return st.sampled_from(["", "relative", str(folder), f"{folder}/new", f"{folder}/a/../b", f"{folder}/\0"])
    if field.cpp_type == field.CPPTYPE_STRING:
        return st.binary(max_size=12) if field.type == field.TYPE_BYTES else words
    if field.cpp_type == field.CPPTYPE_ENUM:
        return st.sampled_from([value.number for value in field.enum_type.values]) | st.just(99)
    return numbers[field.cpp_type]


IN_WORDS = {
    grpc.StatusCode.INVALID_ARGUMENT,
    grpc.StatusCode.FAILED_PRECONDITION,
    grpc.StatusCode.ALREADY_EXISTS,
    grpc.StatusCode.NOT_FOUND,
    grpc.StatusCode.UNKNOWN,  # crun's own words
}


async def answer(call: Any) -> Any:
    """Return what a call answers, None for a refusal in words."""
    try:
        return await call
    except grpc.aio.AioRpcError as error:
        assert error.code() in IN_WORDS, error
        assert error.details() and "Unexpected <class" not in str(error.details()), error
        return None


def test_requests_that_make_no_sense_are_answered_in_words(victim: Server, request: pytest.FixtureRequest) -> None:
    examples = 300 if request.config.getoption("--long") else 15

    @settings(max_examples=examples, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @given(data=st.data(), command=st.sampled_from([["true"], []]))
    def fuzz(data: Any, command: list[str]) -> None:
        metadata = api.PodSandboxMetadata(name="pod", namespace="default", uid=secrets.token_hex(4))
        pod = fill(data, api.PodSandboxConfig(metadata=metadata), victim.folder)
        main = api.ContainerMetadata(name="main")
        container = api.ContainerConfig(metadata=main, command=command, image=api.ImageSpec(image=BUILT_IN))
        asyncio.run(one_pod(victim, pod, fill(data, container, victim.folder)))

    fuzz()
    assert left_of(victim) == []


async def one_pod(server: Server, pod: api.PodSandboxConfig, container: api.ContainerConfig) -> None:
    """A pod and a container of nonsense, made and removed."""
    async with connected(server) as pods:
        asked = api.RunPodSandboxRequest(config=pod, runtime_handler="oci")
        made = await answer(pods.calls.RunPodSandbox(asked, timeout=60))
        if made is None:
            return
        create = api.CreateContainerRequest(pod_sandbox_id=made.pod_sandbox_id, config=container)
        created = await answer(pods.calls.CreateContainer(create, timeout=60))
        if created is not None:
            start = api.StartContainerRequest(container_id=created.container_id)
            await answer(pods.calls.StartContainer(start, timeout=60))
            await answer(pods.calls.ContainerStatus(api.ContainerStatusRequest(container_id=created.container_id)))
        await remove(pods, made.pod_sandbox_id)
