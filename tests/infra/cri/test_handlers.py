"""The two runtime handlers, seen as what a RuntimeClass chooses."""

from __future__ import annotations

import asyncio
import errno
import json
import os
import signal
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from k8sext.infra.addresses import pod_range
from k8sext.infra.cri import cgroups, cleanup
from k8sext.infra.cri.built_in import BUILT_IN
from k8sext.infra.cri.handlers import Handler, security
from k8sext.infra.cri.handlers.by_name import Handlers
from k8sext.infra.cri.handlers.oci.handler import OciHandler
from k8sext.infra.cri.handlers.oci.image_store import ImageStore
from k8sext.infra.cri.handlers.oci.network_namespace import NetworkNamespace
from k8sext.infra.cri.handlers.process.handler import ProcessHandler
from k8sext.infra.cri.handlers.process.isolation import Plain
from k8sext.infra.cri.lifecycle import Node
from k8sext.infra.cri.proto import api_pb2 as api
from k8sext.infra.cri.shimclient import ShimClient
from k8sext.infra.cri.store import Container, Store
from k8sext.infra.grpc import StatusError
from tests.support.eventually import eventually_async

LOCALHOST = api.SecurityProfile(profile_type=api.SecurityProfile.Localhost, localhost_ref="mine")


def handlers(folder: Path, store: Store, shim: ShimClient) -> Handlers:
    """Both, on a node of a test."""
    process: Handler = ProcessHandler(store, Plain(), "127.244")
    namespace = NetworkNamespace(folder, folder, [])
    oci: Handler = OciHandler(store, shim, ImageStore(folder / "images"), namespace, "k8sext0")
    return Handlers(process, oci, default="process")


@pytest.fixture
async def node(folder: Path) -> AsyncIterator[Node]:
    """A node in this process; its supervisor is one of its own."""
    (folder / "cri").mkdir()
    made = Node(folder / "cri", folder / "shim.sock", cgroups.probe(), pod_range(0), partial(handlers, folder))
    await made.open()
    yield made
    for sandbox in list(made.store.sandboxes.values()):
        await made.remove_sandbox(sandbox)
    await made.close()
    cleanup.stop([folder / "cri"])


@pytest.fixture(params=["process", "oci"])
def handler(request: pytest.FixtureRequest, node: Node) -> Handler:
    return node.handlers.find(request.param)


def linux(**context: Any) -> api.LinuxContainerConfig:
    return api.LinuxContainerConfig(security_context=api.LinuxContainerSecurityContext(**context))


IMAGE = api.ImageSpec(image=BUILT_IN)
MAIN = api.ContainerMetadata(name="main")


def container(**config: Any) -> api.ContainerConfig:
    return api.ContainerConfig(metadata=MAIN, image=IMAGE, command=["true"], **config)


@pytest.mark.parametrize(
    ("config", "sentence"),
    [
        (api.ContainerConfig(image=IMAGE, command=["true"]), "has no name"),
        (api.ContainerConfig(metadata=MAIN, image=IMAGE), "has no command of its own"),
        (container(devices=[api.Device(host_path="/dev/kvm")]), "cannot hand devices to a container"),
        (container(linux=linux(seccomp=LOCALHOST)), "cannot load seccomp profiles"),
        (container(linux=linux(seccomp_profile_path="localhost/mine")), "cannot load seccomp profiles"),
        (container(linux=linux(apparmor=LOCALHOST)), "cannot load AppArmor profiles"),
        (container(mounts=[api.Mount(container_path="a", host_path="/a")]), "give an absolute path"),
        (container(mounts=[api.Mount(container_path="/", host_path="/a")]), "not the root folder"),
        (container(mounts=[api.Mount(container_path="/a", host_path="a")]), "must be absolute"),
        (
            container(
                mounts=[api.Mount(container_path="/a", host_path="/a", propagation=api.PROPAGATION_BIDIRECTIONAL)]
            ),
            "cannot mount at /a with mount propagation",
        ),
        (container(mounts=[api.Mount(container_path="/a", image=api.ImageSpec(image="a"))]), "cannot mount images"),
    ],
)
def test_what_no_handler_can_give_every_handler_refuses(
    handler: Handler, config: api.ContainerConfig, sentence: str
) -> None:
    with pytest.raises(StatusError, match=sentence):
        handler.check(config)


def test_labels_of_selinux_are_refused_only_where_there_is_selinux(
    handler: Handler, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    config = container(linux=linux(selinux_options=api.SELinuxOption(type="t")))
    monkeypatch.setattr(security, "SELINUX", tmp_path / "enforce")
    handler.check(config)
    (tmp_path / "enforce").touch()
    with pytest.raises(StatusError, match="cannot set SELinux labels"):
        handler.check(config)


def test_user_ids_of_its_own_are_refused_to_a_pod(handler: Handler) -> None:
    users = api.UserNamespace(mode=api.POD)
    context = api.LinuxSandboxSecurityContext(namespace_options=api.NamespaceOption(userns_options=users))
    with pytest.raises(StatusError, match="user ids of its own"):
        handler.check_sandbox(api.PodSandboxConfig(linux=api.LinuxPodSandboxConfig(security_context=context)))


def test_a_handler_that_is_not_there_is_refused_by_name(node: Node) -> None:
    with pytest.raises(StatusError, match="no handler 'kata': use a RuntimeClass of 'oci', 'process', or none"):
        node.handlers.find("kata")
    assert node.handlers.find("").name == "process"


async def sleeper(node: Node, name: str) -> Container:
    """A container of handler `process` that runs."""
    metadata = api.PodSandboxMetadata(name=name, uid=name, namespace="shop")
    sandbox = await node.run_sandbox(api.PodSandboxConfig(metadata=metadata), "")
    made = node.create(
        sandbox, api.ContainerConfig(metadata=api.ContainerMetadata(name=name), command=["sleep", "1000"]), ""
    )
    await node.start(made)
    return made


async def test_a_disk_that_is_full_when_a_container_ends_makes_no_node_deaf(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = await sleeper(node, "first"), await sleeper(node, "second")

    def full(container: Container) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(node.store, "save_container", full)
        await node.stop(first, 0)
    assert (first.state, first.exit_code) == (api.CONTAINER_EXITED, 137)
    await node.stop(second, 0)
    assert second.state == api.CONTAINER_EXITED


async def test_a_listener_that_fails_makes_no_node_deaf(node: Node) -> None:
    def fails(container: Container, event: api.ContainerEventType) -> None:
        if event == api.CONTAINER_STOPPED_EVENT:
            raise RuntimeError("a listener's own defect")

    container = await sleeper(node, "first")
    node.listeners.append(fails)
    await node.stop(container, 0)
    node.listeners.remove(fails)
    other = await sleeper(node, "second")
    await node.stop(other, 0)
    assert other.state == api.CONTAINER_EXITED


async def test_a_new_supervisor_is_taken_over_like_one_that_was_there(node: Node) -> None:
    container = await sleeper(node, "first")
    os.kill(json.loads((node.store.folder / "shim.json").read_text())["pid"], signal.SIGKILL)
    await eventually_async(lambda: container.state == api.CONTAINER_EXITED)
    other = await sleeper(node, "second")
    await node.stop(other, 0)
    assert other.state == api.CONTAINER_EXITED


@pytest.mark.parametrize("steps", range(4))
async def test_a_start_that_nobody_waits_for_goes_to_its_end(node: Node, steps: int) -> None:
    """A kubelet whose pod is deleted gives up its call; what it asked for must be known, or it can never be stopped."""
    metadata = api.PodSandboxMetadata(name="pod", uid="pod", namespace="shop")
    sandbox = await node.run_sandbox(api.PodSandboxConfig(metadata=metadata), "")
    config = api.ContainerConfig(metadata=api.ContainerMetadata(name="main"), command=["sleep", "1000"])
    made = node.create(sandbox, config, "")
    start = asyncio.create_task(node.start(made))
    for _ in range(steps):
        await asyncio.sleep(0)
    start.cancel()
    await asyncio.gather(start, return_exceptions=True)
    await asyncio.wait_for(node.stop(made, 0), 10)
    assert made.state in (api.CONTAINER_EXITED, api.CONTAINER_CREATED)
    await asyncio.wait_for(node.remove_sandbox(sandbox), 10)
    assert await node.shim.ask("list") == {}
