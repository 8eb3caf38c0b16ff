"""The life of sandboxes and containers on one node: created, started, stopped, removed, adopted after a restart of
the server.
"""

from __future__ import annotations

import asyncio
import json
import logging
import signal
import time
from collections.abc import Callable, Coroutine
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any, TypeVar

from grpc import StatusCode

from k8sext.infra.cri import cgroups
from k8sext.infra.cri.container_config import log_path, stop_signal
from k8sext.infra.cri.handlers import Handler
from k8sext.infra.cri.handlers.by_name import Handlers
from k8sext.infra.cri.proto import api_pb2 as api
from k8sext.infra.cri.shimclient import Session, ShimClient, ShimError
from k8sext.infra.cri.store import Container, Sandbox, Store, write_aside
from k8sext.infra.grpc import StatusError, failed_precondition, invalid_argument, not_found

KILLED = 128 + signal.SIGKILL
log = logging.getLogger(__name__)

Listener = Callable[[Container, api.ContainerEventType], None]
T = TypeVar("T")


class Node:
    """The sandboxes and containers of one node."""

    def __init__(
        self,
        folder: Path,
        shim_socket: Path,
        groups: cgroups.Cgroups,
        pod_cidr: IPv4Network,
        handlers: Callable[[Store, ShimClient], Handlers],
    ) -> None:
        """`folder` keeps the state, `pod_cidr` has the pods' addresses, `handlers` makes what can be chosen."""
        self.store, self.groups, self.pod_cidr = Store(folder), groups, pod_cidr
        self.listeners: list[Listener] = []
        self.shim = ShimClient(shim_socket, folder, self._exited, self._shim_lost)
        self.handlers = handlers(self.store, self.shim)
        self._closing = False
        self._tasks: set[asyncio.Task[Any]] = set()

    async def open(self) -> None:
        """Connect to the supervisor and take over what runs; what ended meanwhile is noted."""
        await self.shim.connect()
        await self._take_over()

    async def _take_over(self) -> None:
        """The same after a start of this server and after a new supervisor: what does not run has ended."""
        running = await self.shim.ask("list")
        for stray in running.keys() - self.store.sandboxes.keys() - self.store.containers.keys():
            await self.shim.ask("kill", stray)  # its sandbox was never noted, or its removal was
        for container in list(self.store.containers.values()):
            if container.state == api.CONTAINER_RUNNING and container.id not in running:
                self._exited(container.id)
            if container.sandbox_id not in self.store.sandboxes:
                await self.remove(container)  # its sandbox's file was lost
        for sandbox in list(self.store.sandboxes.values()):
            if sandbox.ready and self.handlers.of(sandbox).has_pause and sandbox.id not in running:
                self._exited(sandbox.id)
        for handler in self.handlers:
            mine = [one for one in self.store.sandboxes.values() if one.ready and one.handler == handler.name]
            try:
                await handler.recover(mine, self.pod_cidr)
            except StatusError as problem:
                log.warning("%s: %s", self.store.folder, problem)

    async def close(self) -> None:
        """Leave; containers go on."""
        self._closing = True
        for task in self._tasks:
            task.cancel()
        await self.shim.close()

    async def _to_the_end(self, step: Coroutine[Any, Any, T]) -> T:
        """Take a step to its end, also when its caller goes: a kubelet that does not wait any longer asks later how it
        ended, and finds nothing half done."""
        task = asyncio.create_task(step)
        self._tasks.add(task)
        task.add_done_callback(self._finished)
        return await asyncio.shield(task)

    def _finished(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (problem := task.exception()):
            expected = isinstance(problem, (StatusError, OSError))
            log.log(logging.DEBUG if expected else logging.ERROR, "%s", problem, exc_info=None if expected else problem)

    # ---- sandboxes ----

    async def run_sandbox(self, config: api.PodSandboxConfig, runtime_handler: str) -> Sandbox:
        """Make a sandbox; raise StatusError when it exists, asks for the impossible or no address is left."""
        handler = self.handlers.find(runtime_handler)
        if not config.metadata.name or not config.metadata.uid:
            raise invalid_argument("the pod has no name or uid: set config.metadata")
        handler.check_sandbox(config)
        if any(other.config.metadata == config.metadata for other in self.store.sandboxes.values()):
            raise StatusError(
                StatusCode.ALREADY_EXISTS,
                f"the sandbox of pod {config.metadata.name!r}, attempt {config.metadata.attempt}, exists",
            )
        sandbox = Sandbox(config, runtime_handler, ip="", handler=handler.name)
        await self._to_the_end(self._run_sandbox(sandbox, handler))
        return sandbox

    async def _run_sandbox(self, sandbox: Sandbox, handler: Handler) -> None:
        await handler.run_sandbox(sandbox, self.pod_cidr)
        self.store.save_sandbox(sandbox)

    async def stop_sandbox(self, sandbox: Sandbox) -> None:
        """Kill what runs in a sandbox and free its address."""
        await self._to_the_end(self._stop_sandbox(sandbox))

    async def _stop_sandbox(self, sandbox: Sandbox) -> None:
        await asyncio.gather(*(self.stop(container, 0) for container in self.store.containers_in(sandbox)))
        await self.handlers.of(sandbox).stop_sandbox(sandbox, self.pod_cidr)
        if sandbox.ready:
            sandbox.ready = False
            self.store.save_sandbox(sandbox)

    async def remove_sandbox(self, sandbox: Sandbox) -> None:
        """Remove a sandbox with all its containers, by force."""
        await self._to_the_end(self._remove_sandbox(sandbox))

    async def _remove_sandbox(self, sandbox: Sandbox) -> None:
        await self._stop_sandbox(sandbox)
        for container in self.store.containers_in(sandbox):
            await self._remove(container)
        self.store.forget_sandbox(sandbox)
        self.handlers.of(sandbox).remove_sandbox(sandbox)

    def handler_of(self, container: Container) -> Handler:
        """The handler of the sandbox that a container is in."""
        return self.handlers.of(self.sandbox(container.sandbox_id))

    # ---- containers ----

    def create(self, sandbox: Sandbox, config: api.ContainerConfig, image_id: str) -> Container:
        """Make a container that can be started; raise StatusError when it exists or asks for the impossible."""
        if not sandbox.ready:
            raise failed_precondition("the sandbox was stopped: make a new one")
        self.handlers.of(sandbox).check(config)
        if any(other.config.metadata == config.metadata for other in self.store.containers_in(sandbox)):
            raise StatusError(
                StatusCode.ALREADY_EXISTS,
                f"the container {config.metadata.name!r}, attempt {config.metadata.attempt}, exists",
            )
        container = Container(sandbox.id, config, log_path=log_path(sandbox, config), image_id=image_id)
        self.store.save_container(container)
        self._tell(container, api.CONTAINER_CREATED_EVENT)
        return container

    async def start(self, container: Container) -> None:
        """Run a created container's program; one that cannot be run leaves the container exited, with the reason."""
        if container.state != api.CONTAINER_CREATED:
            raise failed_precondition(
                f"the container is {api.ContainerState.Name(container.state)}: only a created one can be started"
            )
        sandbox = self.sandbox(container.sandbox_id)
        if not sandbox.ready:
            raise failed_precondition("the sandbox was stopped: make a new one")
        container.state, container.started_at = api.CONTAINER_RUNNING, time.time_ns()
        await self._to_the_end(self._start(container, sandbox))

    async def _start(self, container: Container, sandbox: Sandbox) -> None:
        handler, folder = self.handlers.of(sandbox), self.store.container_folder(container)
        try:
            spec = await handler.specification(container, sandbox)
            spec["cgroups"] = self.groups.entrances(container.id)
            write_aside(folder / "spec.json", json.dumps(spec))
            self.groups.create(container.id, container.config.linux.resources)
            if container.log_path:
                Path(container.log_path).parent.mkdir(parents=True, exist_ok=True)
            self.store.save_container(container)
            await self.shim.ask("start", container.id, spec=str(folder / "spec.json"))
            await handler.started(container)
        except (StatusError, OSError) as problem:
            container.end(128, time.time_ns(), "StartError", str(problem))
            self._save(container)
            raise
        self._tell(container, api.CONTAINER_STARTED_EVENT)

    async def execute(self, container: Container, argv: list[str], tty: bool, stdin: bool) -> Session:
        """Run a command in a container and return its streams."""
        sandbox = self.sandbox(container.sandbox_id)
        wrapper, argv = await self.handlers.of(sandbox).executing(container, sandbox, argv, tty)
        other = {"wrapper": wrapper} if wrapper else {}
        return await self.shim.open_session("exec", container.id, argv=argv, tty=tty, stdin=stdin, **other)

    async def stop(self, container: Container, grace: float) -> None:
        """End a container, if it runs: its stop signal, then, `grace` seconds later, SIGKILL to all its processes."""
        if container.state != api.CONTAINER_RUNNING:
            return
        try:
            if grace > 0:
                await self.shim.ask("signal", container.id, signal=stop_signal(container.config))
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
        await self._to_the_end(self._remove(container))

    async def _remove(self, container: Container) -> None:
        await self.stop(container, 0)
        await self.groups.remove(container.id)
        await self.store.forget_container(container)
        self._tell(container, api.CONTAINER_DELETED_EVENT)

    def running(self, container_id: str) -> Container:
        """Return a container that runs; raise StatusError otherwise."""
        container = self.container(container_id)
        if container.state != api.CONTAINER_RUNNING:
            raise failed_precondition(
                f"the container is not running but {api.ContainerState.Name(container.state)}: start it, or look at "
                "its log"
            )
        return container

    def container(self, container_id: str) -> Container:
        """Return a container by id; raise StatusError for an unknown one."""
        if container_id not in self.store.containers:
            raise not_found(f"there is no container {container_id[:64]!r} on this node")
        return self.store.containers[container_id]

    def sandbox(self, sandbox_id: str) -> Sandbox:
        """Return a sandbox by id; raise StatusError for an unknown one."""
        if sandbox_id not in self.store.sandboxes:
            raise not_found(f"there is no sandbox {sandbox_id[:64]!r} on this node")
        return self.store.sandboxes[sandbox_id]

    # ---- what the supervisor tells ----

    def _exited(self, id: str) -> None:
        if sandbox := self.store.sandboxes.get(id):  # its pause container, and with it its namespaces
            sandbox.ready = False
            self._save(sandbox)
            return
        container = self.store.containers.get(id)
        if container is None or container.state == api.CONTAINER_EXITED:
            return
        ended = self.store.exit_of(container)
        if ended is None:
            message = "the supervisor of this node's containers died, and the container with it"
            container.end(KILLED, time.time_ns(), "Error", message)
        elif ended["code"] == KILLED and self.groups.ran_out_of_memory(container.id):
            container.end(KILLED, ended["finished_at"], "OOMKilled")
        else:
            container.end(ended["code"], ended["finished_at"])
        self._save(container)
        self._tell(container, api.CONTAINER_STOPPED_EVENT)

    def _save(self, ended: Container | Sandbox) -> None:
        """Keep that something has ended. Where the disk is full it is known here all the same, and the next server
        finds out by itself."""
        try:
            self.store.save_container(ended) if isinstance(ended, Container) else self.store.save_sandbox(ended)
        except OSError as problem:
            log.warning("that %s has ended is not written down: %s", ended.id, problem)

    def _shim_lost(self) -> None:
        if not self._closing:
            log.warning("the supervisor of %s died; a new one is started", self.store.folder)
            task = asyncio.create_task(self._reconnect())
            self._tasks.add(task)
            task.add_done_callback(self._finished)

    async def _reconnect(self) -> None:
        while not self._closing:
            try:
                return await self.open()
            except (ShimError, OSError) as problem:
                log.error("%s; trying again in a second", problem)
                await asyncio.sleep(1)

    def _tell(self, container: Container, event: api.ContainerEventType) -> None:
        for listener in list(self.listeners):
            listener(container, event)
