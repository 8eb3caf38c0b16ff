"""The life of sandboxes and containers on one node: created, started, stopped, removed, adopted after a restart of
the server.
"""

from __future__ import annotations

import asyncio
import ipaddress
import json
import logging
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from grpc import StatusCode

from k8sext.infra.cri import cgroups, programs, security
from k8sext.infra.cri.addresses import Addresses
from k8sext.infra.cri.isolation import Isolation
from k8sext.infra.cri.oci.handler import OciHandler
from k8sext.infra.cri.oci.network import Network, NetworkError
from k8sext.infra.cri.oci.settings import OciSettings
from k8sext.infra.cri.proto import api_pb2 as api
from k8sext.infra.cri.shimclient import Session, ShimClient, ShimError
from k8sext.infra.cri.state import Container, Sandbox, Store, write_aside
from k8sext.infra.refusals import Refusal, invalid, not_found, precondition

KILLED = 128 + signal.SIGKILL
HANDLERS = ("", "process", "oci")
log = logging.getLogger(__name__)


Listener = Callable[[Container, api.ContainerEventType], None]


class Node:
    """The sandboxes and containers of one node."""

    def __init__(
        self,
        folder: Path,
        shim_socket: Path,
        isolation: Isolation,
        groups: cgroups.Cgroups,
        index: int,
        loopback: str,
        oci: OciSettings,
    ) -> None:
        """`folder` keeps the state; pods get addresses 10.244.<index>.m and listen on <loopback>.<index>.m."""
        self.store = Store(folder)
        self.isolation, self.groups, self.loopback = isolation, groups, loopback
        self.pod_cidr = ipaddress.IPv4Network(f"10.244.{index}.0/24")
        self.listeners: list[Listener] = []
        self.shim = ShimClient(shim_socket, folder, self._exited, self._shim_lost)
        network = Network(folder / "cni", oci.room, f"k8sext{index}")
        self.oci = OciHandler(self.store, self.shim, oci.images, network, oci.room)
        self.default_handler = oci.default_handler
        self._addresses = Addresses()
        self._closing = False
        self._tasks: set[asyncio.Task[None]] = set()

    async def open(self) -> None:
        """Connect to the supervisor and take over what runs; what ended meanwhile is noted."""
        await self.shim.connect()
        running = await self.shim.ask("list")
        for stray in running.keys() - self.store.sandboxes.keys() - self.store.containers.keys():
            await self.shim.ask("kill", stray)  # its sandbox was never noted, or its removal was
        for container in list(self.store.containers.values()):
            if container.state == api.CONTAINER_RUNNING and container.id not in running:
                self._exited(container.id)
            if container.sandbox_id not in self.store.sandboxes:
                await self.remove(container)  # its sandbox's file was lost
        isolated = [sandbox for sandbox in self.store.sandboxes.values() if sandbox.oci and sandbox.ready]
        for lost in {sandbox.id for sandbox in isolated} - running.keys():
            self._exited(lost)
        try:
            await self.oci.open(isolated, self.pod_cidr)
        except NetworkError as problem:
            log.warning("the pod network of %s was not cleaned: %s", self.store.folder, problem)

    async def close(self) -> None:
        """Leave; containers go on."""
        self._closing = True
        for task in self._tasks:
            task.cancel()
        await self.shim.close()

    # ---- sandboxes ----

    async def run_sandbox(self, config: api.PodSandboxConfig, handler: str) -> Sandbox:
        """Make a sandbox; raise Refusal when it exists, asks for the impossible or no address is left."""
        if handler not in HANDLERS:
            raise invalid(
                f"this runtime has no handler {handler!r}: use a RuntimeClass of 'oci', of 'process', or none"
            )
        if not config.metadata.name or not config.metadata.uid:
            raise invalid("the pod has no name or uid: set config.metadata")
        oci = (handler or self.default_handler) == "oci"
        if not oci:
            security.check_sandbox(config)
        if any(other.config.metadata == config.metadata for other in self.store.sandboxes.values()):
            raise Refusal(
                StatusCode.ALREADY_EXISTS,
                f"the sandbox of pod {config.metadata.name!r}, attempt {config.metadata.attempt}, exists",
            )
        sandbox = Sandbox(config, handler, ip="", oci=oci)
        if oci:
            await self.oci.run_sandbox(sandbox, self.pod_cidr)
        if not sandbox.ip:
            used = {other.ip for other in self.store.sandboxes.values() if other.ready}
            sandbox.ip = str(self.pod_cidr[1]) if sandbox.host_network else self._addresses.free(self.pod_cidr, used)
        self.store.save_sandbox(sandbox)
        return sandbox

    async def stop_sandbox(self, sandbox: Sandbox) -> None:
        """Kill what runs in a sandbox and free its address."""
        await asyncio.gather(*(self.stop(container, 0) for container in self.store.containers_in(sandbox)))
        if sandbox.oci:
            await self.oci.stop_sandbox(sandbox, self.pod_cidr)
        if sandbox.ready:
            sandbox.ready = False
            self.store.save_sandbox(sandbox)

    async def remove_sandbox(self, sandbox: Sandbox) -> None:
        """Remove a sandbox with all its containers, by force."""
        await self.stop_sandbox(sandbox)
        for container in self.store.containers_in(sandbox):
            await self.remove(container)
        self.store.forget_sandbox(sandbox)
        self.oci.remove_sandbox(sandbox)

    def bind_address(self, sandbox: Sandbox) -> str:
        """Return the address at which a sandbox's servers listen: its own, or what stands for it on this machine."""
        return sandbox.ip if sandbox.oci else programs.bind_address(sandbox.ip, self.loopback)

    # ---- containers ----

    def create(self, sandbox: Sandbox, config: api.ContainerConfig, image_id: str) -> Container:
        """Make a container that can be started; raise Refusal when it exists or asks for the impossible."""
        if not sandbox.ready:
            raise precondition("the sandbox was stopped: make a new one")
        if sandbox.oci:
            self.oci.check(config)
        else:
            programs.check(config, self.isolation)
        if any(other.config.metadata == config.metadata for other in self.store.containers_in(sandbox)):
            raise Refusal(
                StatusCode.ALREADY_EXISTS,
                f"the container {config.metadata.name!r}, attempt {config.metadata.attempt}, exists",
            )
        container = Container(sandbox.id, config, log_path=programs.log_path(sandbox, config), image_id=image_id)
        self.store.save_container(container)
        self._tell(container, api.CONTAINER_CREATED_EVENT)
        return container

    async def start(self, container: Container) -> None:
        """Run a created container's program; a program that cannot be run leaves the container exited, with the reason."""
        if container.state != api.CONTAINER_CREATED:
            raise precondition(
                f"the container is {api.ContainerState.Name(container.state)}: only a created one can be started"
            )
        sandbox, folder = self.sandbox(container.sandbox_id), self.store.container_folder(container)
        if not sandbox.ready:
            raise precondition("the sandbox was stopped: make a new one")
        container.state, container.started_at = api.CONTAINER_RUNNING, time.time_ns()
        try:
            spec = await self._specification(container, sandbox, folder)
            spec["cgroups"] = self.groups.entrances(container.id)
            write_aside(folder / "spec.json", json.dumps(spec))
            self.groups.create(container.id, container.config.linux.resources)
            if container.log_path:
                Path(container.log_path).parent.mkdir(parents=True, exist_ok=True)
            self.store.save_container(container)
            await self.shim.ask("start", container.id, spec=str(folder / "spec.json"))
            if sandbox.oci:
                await self.oci.started(container)
        except (Refusal, ShimError, OSError) as problem:
            container.end(128, time.time_ns(), "StartError", str(problem))
            self.store.save_container(container)
            raise
        self._tell(container, api.CONTAINER_STARTED_EVENT)

    async def _specification(self, container: Container, sandbox: Sandbox, folder: Path) -> dict[str, Any]:
        """Return what the shim is to run."""
        address = self.bind_address(sandbox)
        if sandbox.oci:
            return await asyncio.to_thread(self.oci.specification, container, sandbox, address)
        return programs.specification(container, sandbox, self.isolation, folder, address)

    async def execute(self, container: Container, argv: list[str], tty: bool, stdin: bool) -> Session:
        """Run a command in a container and return its streams."""
        sandbox = self.sandbox(container.sandbox_id)
        other = {}
        if sandbox.oci:
            *other["wrapper"], last = await asyncio.to_thread(self.oci.executing, container, sandbox, argv, tty)
            argv = [last]
        return await self.shim.open_session("exec", container.id, argv=argv, tty=tty, stdin=stdin, **other)

    async def stop(self, container: Container, grace: float) -> None:
        """End a container, if it runs: its stop signal, then, `grace` seconds later, SIGKILL to all its processes."""
        if container.state != api.CONTAINER_RUNNING:
            return
        try:
            if grace > 0:
                await self.shim.ask("signal", container.id, signal=programs.stop_signal(container.config))
                await asyncio.wait_for(container.ended.wait(), grace)
                return
        except (TimeoutError, ShimError):
            log.debug("container %s did not stop by itself", container.id)
        while not container.ended.is_set():
            try:
                await self.shim.ask("kill", container.id)
            except ShimError as problem:
                log.debug("container %s: %s", container.id, problem)
            try:
                await asyncio.wait_for(container.ended.wait(), 1)
            except TimeoutError:
                log.warning("container %s does not die, trying again", container.id)

    async def remove(self, container: Container) -> None:
        """Remove a container with its files; one that runs is killed."""
        await self.stop(container, 0)
        await self.groups.remove(container.id)
        await self.store.forget_container(container)
        self._tell(container, api.CONTAINER_DELETED_EVENT)

    def running(self, container_id: str) -> Container:
        """Return a container that runs; raise Refusal otherwise."""
        container = self.container(container_id)
        if container.state != api.CONTAINER_RUNNING:
            raise precondition(
                f"the container is not running but {api.ContainerState.Name(container.state)}: start it, or look at its log"
            )
        return container

    def container(self, container_id: str) -> Container:
        """Return a container by id; raise Refusal for an unknown one."""
        if container_id not in self.store.containers:
            raise not_found(f"there is no container {container_id[:64]!r} on this node")
        return self.store.containers[container_id]

    def sandbox(self, sandbox_id: str) -> Sandbox:
        """Return a sandbox by id; raise Refusal for an unknown one."""
        if sandbox_id not in self.store.sandboxes:
            raise not_found(f"there is no sandbox {sandbox_id[:64]!r} on this node")
        return self.store.sandboxes[sandbox_id]

    # ---- what the supervisor tells ----

    def _exited(self, container_id: str) -> None:
        if container_id in self.store.sandboxes:  # its first process, and with it its namespaces
            self.store.sandboxes[container_id].ready = False
            self.store.save_sandbox(self.store.sandboxes[container_id])
            return
        container = self.store.containers.get(container_id)
        if container is None or container.state == api.CONTAINER_EXITED:
            return
        ended = self.store.exit_of(container)
        if ended is None:
            container.end(
                KILLED,
                time.time_ns(),
                "Error",
                "the supervisor of this node's containers died, and the container with it",
            )
        elif ended["code"] == KILLED and self.groups.ran_out_of_memory(container.id):
            container.end(KILLED, ended["finished_at"], "OOMKilled")
        else:
            container.end(ended["code"], ended["finished_at"])
        self.store.save_container(container)
        self._tell(container, api.CONTAINER_STOPPED_EVENT)

    def _shim_lost(self) -> None:
        if self._closing:
            return
        log.warning("the supervisor of %s died; a new one is started", self.store.folder)
        for container in list(self.store.containers.values()):
            if container.state == api.CONTAINER_RUNNING:
                self._exited(container.id)
        task = asyncio.create_task(self._reconnect())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _reconnect(self) -> None:
        while not self._closing:
            try:
                return await self.shim.connect()
            except (ShimError, OSError) as problem:
                log.error("%s; trying again in a second", problem)
                await asyncio.sleep(1)

    def _tell(self, container: Container, event: api.ContainerEventType) -> None:
        for listener in list(self.listeners):
            listener(container, event)
