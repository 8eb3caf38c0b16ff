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

from grpc import StatusCode

from k8sext.infra.cri import cgroups, programs, security
from k8sext.infra.cri.isolation import Isolation
from k8sext.infra.cri.proto import api_pb2 as api
from k8sext.infra.cri.refusals import Refusal, invalid, not_found, precondition
from k8sext.infra.cri.shimclient import ShimClient, ShimError
from k8sext.infra.cri.state import Container, Sandbox, Store, write_aside

KILLED = 128 + signal.SIGKILL
HANDLERS = ("", "process")
log = logging.getLogger(__name__)

Listener = Callable[[Container, api.ContainerEventType], None]


class Node:
    """The sandboxes and containers of one node."""

    def __init__(
        self, folder: Path, shim_socket: Path, isolation: Isolation, groups: cgroups.Cgroups, index: int, loopback: str
    ) -> None:
        """`folder` keeps the state; pods get addresses 10.244.<index>.m and listen on <loopback>.<index>.m."""
        self.store = Store(folder)
        self.isolation, self.groups, self.loopback = isolation, groups, loopback
        self.pod_cidr = ipaddress.IPv4Network(f"10.244.{index}.0/24")
        self.listeners: list[Listener] = []
        self.shim = ShimClient(shim_socket, folder, self._exited, self._shim_lost)
        self._last_address = 0
        self._closing = False
        self._tasks: set[asyncio.Task[None]] = set()

    async def open(self) -> None:
        """Connect to the supervisor and take over what runs; what ended meanwhile is noted."""
        await self.shim.connect()
        running = await self.shim.ask("list")
        for container in list(self.store.containers.values()):
            if container.state == api.CONTAINER_RUNNING and container.id not in running:
                self._exited(container.id)
            if container.sandbox_id not in self.store.sandboxes:
                await self.remove(container)  # its sandbox's file was lost

    async def close(self) -> None:
        """Leave; containers go on."""
        self._closing = True
        for task in self._tasks:
            task.cancel()
        await self.shim.close()

    # ---- sandboxes ----

    def run_sandbox(self, config: api.PodSandboxConfig, handler: str) -> Sandbox:
        """Make a sandbox; raise Refusal when it exists, asks for the impossible or no address is left."""
        if handler not in HANDLERS:
            raise invalid(f"this runtime has no handler {handler!r}: use the RuntimeClass of handler 'process' or none")
        if not config.metadata.name or not config.metadata.uid:
            raise invalid("the pod has no name or uid: set config.metadata")
        security.check_sandbox(config)
        if any(other.config.metadata == config.metadata for other in self.store.sandboxes.values()):
            raise Refusal(
                StatusCode.ALREADY_EXISTS,
                f"the sandbox of pod {config.metadata.name!r}, attempt {config.metadata.attempt}, exists",
            )
        sandbox = Sandbox(config, handler, ip="")
        sandbox.ip = str(self.pod_cidr[1]) if sandbox.host_network else self._free_address()
        self.store.save_sandbox(sandbox)
        return sandbox

    async def stop_sandbox(self, sandbox: Sandbox) -> None:
        """Kill what runs in a sandbox and free its address."""
        await asyncio.gather(*(self.stop(container, 0) for container in self.store.containers_in(sandbox)))
        if sandbox.ready:
            sandbox.ready = False
            self.store.save_sandbox(sandbox)

    async def remove_sandbox(self, sandbox: Sandbox) -> None:
        """Remove a sandbox with all its containers, by force."""
        await self.stop_sandbox(sandbox)
        for container in self.store.containers_in(sandbox):
            await self.remove(container)
        self.store.forget_sandbox(sandbox)

    def bind_address(self, sandbox: Sandbox) -> str:
        """Return the address at which a sandbox's servers listen."""
        return programs.bind_address(sandbox.ip, self.loopback)

    def _free_address(self) -> str:
        """Go round the addresses, so that one just freed is not given out at once. The first belongs to the node."""
        used = {sandbox.ip for sandbox in self.store.sandboxes.values() if sandbox.ready}
        hosts = self.pod_cidr.num_addresses - 3
        for step in range(hosts):
            candidate = 2 + (self._last_address + step) % hosts
            if (address := str(self.pod_cidr[candidate])) not in used:
                self._last_address = candidate - 1
                return address
        raise Refusal(
            StatusCode.RESOURCE_EXHAUSTED, f"no pod address of {self.pod_cidr} is free: delete pods of this node"
        )

    # ---- containers ----

    def create(self, sandbox: Sandbox, config: api.ContainerConfig) -> Container:
        """Make a container that can be started; raise Refusal when it exists or asks for the impossible."""
        if not sandbox.ready:
            raise precondition("the sandbox was stopped: make a new one")
        programs.check(config, self.isolation)
        if any(other.config.metadata == config.metadata for other in self.store.containers_in(sandbox)):
            raise Refusal(
                StatusCode.ALREADY_EXISTS,
                f"the container {config.metadata.name!r}, attempt {config.metadata.attempt}, exists",
            )
        container = Container(sandbox.id, config, log_path=programs.log_path(sandbox, config))
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
            spec = programs.specification(container, sandbox, self.isolation, folder, self.bind_address(sandbox))
            spec["cgroups"] = self.groups.create(container.id, container.config.linux.resources)
            write_aside(folder / "spec.json", json.dumps(spec))
            if container.log_path:
                Path(container.log_path).parent.mkdir(parents=True, exist_ok=True)
            self.store.save_container(container)
            await self.shim.ask("start", container.id, spec=str(folder / "spec.json"))
        except (Refusal, ShimError, OSError) as problem:
            container.end(128, time.time_ns(), "StartError", str(problem))
            self.store.save_container(container)
            raise
        self._tell(container, api.CONTAINER_STARTED_EVENT)

    async def stop(self, container: Container, grace: float) -> None:
        """End a container, if it runs: its stop signal, then, `grace` seconds later, SIGKILL to all its processes."""
        if container.state != api.CONTAINER_RUNNING:
            return
        try:
            if grace > 0:
                await self.shim.ask("signal", container.id, signal=_stop_signal(container.config))
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
        self.groups.remove(container.id)
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


def _stop_signal(config: api.ContainerConfig) -> int:
    """Return the number of the signal that asks a container to stop: SIGTERM unless it chose another."""
    name = api.Signal.Name(config.stop_signal).removeprefix("SIGNAL_")
    if name.startswith("SIGRTM"):
        base, _, offset = name.replace("PLUS", " ").replace("MINUS", " -").partition(" ")
        return getattr(signal, base) + int(offset or 0)
    return getattr(signal, name, signal.SIGTERM)
