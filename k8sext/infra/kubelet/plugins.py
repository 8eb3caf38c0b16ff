"""CSI drivers of this node: found by the sockets they put into the registration folder, and told to the scheduler in the CSINode object.

The sockets are the truth and are looked at again and again, so it does not matter who was killed and who comes first, kubelet or driver.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import grpc.aio

from k8sext.infra.csi.proto import csi_pb2 as csi
from k8sext.infra.csi.proto import csi_pb2_grpc, registration_pb2, registration_pb2_grpc
from k8sext.infra.kubelet.csinode import CsiNode
from k8sext.infra.kubelet.disk import Disk, NotOnDisk
from k8sext.kube.request import ApiError, Unreachable

log = logging.getLogger(__name__)

LOOK_SECONDS = 0.5
RETRY_SECONDS = 2.0
GRPC_OPTIONS = [("grpc.default_authority", "localhost"), ("grpc.max_reconnect_backoff_ms", 1000)]


class DriverFailure(Exception):
    """The driver refused or cannot be reached; `code` is the gRPC status."""

    def __init__(self, code: grpc.StatusCode, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass
class Driver:
    """A registered driver."""

    name: str
    channel: grpc.aio.Channel
    node_id: str = ""
    topology: dict[str, str] = field(default_factory=dict)
    abilities: set[int] = field(default_factory=set)

    def can(self, ability: str) -> bool:
        """Whether its Node service has a capability, by its name in the protocol."""
        return csi.NodeServiceCapability.RPC.Type.Value(ability) in self.abilities

    async def call(self, method: str, request: Any, timeout: float = 120) -> Any:
        """Call a method of the Node service. Raises DriverFailure."""
        try:
            return await getattr(csi_pb2_grpc.NodeStub(self.channel), method)(request, timeout=timeout)
        except grpc.aio.AioRpcError as error:
            message = error.details() or error.code().name
            raise DriverFailure(error.code(), f"driver {self.name}: {message}") from error

    async def introduce(self) -> None:
        """Ask who it is. Raises DriverFailure."""
        info = await self.call("NodeGetInfo", csi.NodeGetInfoRequest(), timeout=10)
        able = await self.call("NodeGetCapabilities", csi.NodeGetCapabilitiesRequest(), timeout=10)
        self.node_id, self.topology = info.node_id, dict(info.accessible_topology.segments)
        self.abilities = {capability.rpc.type for capability in able.capabilities}


class Plugins:
    """The drivers of one node."""

    def __init__(self, disk: Disk, csi_node: CsiNode) -> None:
        self._disk, self._csi_node = disk, csi_node
        self._seen: dict[Path, tuple[tuple[int, int], Driver]] = {}
        self._wait_until: dict[Path, float] = {}

    def driver(self, name: str) -> Driver | None:
        """The registered driver of this name."""
        return next((driver for _, driver in self._seen.values() if driver.name == name), None)

    async def run(self, changed: Callable[[], None]) -> None:
        """Follow the registration folder until cancelled; `changed` is called when there is a new driver."""
        try:
            while True:
                if await self.look():
                    changed()
                await asyncio.sleep(LOOK_SECONDS)
        finally:
            for _, driver in self._seen.values():
                await driver.channel.close()

    async def look(self) -> bool:
        """Look once. Returns whether a driver was registered."""
        registered = False
        now = asyncio.get_running_loop().time()
        sockets = {path: _stamp(path) for path in self._disk.registry.iterdir() if path.is_socket()}
        for path in [path for path, (stamp, _) in self._seen.items() if sockets.get(path) != stamp]:
            await self._drop(path, gone=path not in sockets)
        for path, stamp in sockets.items():
            if stamp and path not in self._seen and now >= self._wait_until.get(path, 0):
                self._wait_until[path] = now + RETRY_SECONDS
                registered |= await self._register(path, stamp)
        return registered

    async def _register(self, path: Path, stamp: tuple[int, int]) -> bool:
        """Ask at a socket who is there, make it known, and tell it how that went."""
        async with grpc.aio.insecure_channel(f"unix:{path}", options=GRPC_OPTIONS) as channel:
            door = registration_pb2_grpc.RegistrationStub(channel)
            try:
                info = await door.GetInfo(registration_pb2.InfoRequest(), timeout=5)
            except grpc.aio.AioRpcError as error:
                log.debug("nobody answers at %s: %s", path, error.details())  # what a killed driver left
                return False
            problem = await self._admit(info, path, stamp)
            answer = registration_pb2.RegistrationStatus(plugin_registered=not problem, error=problem)
            with contextlib.suppress(grpc.aio.AioRpcError):
                await door.NotifyRegistrationStatus(answer, timeout=5)
        if problem:
            log.warning("the plugin at %s is refused: %s", path, problem)
        else:
            log.info("driver %s is registered", info.name)
        return not problem

    async def _admit(self, info: Any, path: Path, stamp: tuple[int, int]) -> str:
        """Take a driver in. Returns "" or why that cannot be."""
        if info.type != "CSIPlugin":
            return f"this kubelet takes plugins of type CSIPlugin, not {info.type}"
        if not any(version.removeprefix("v").startswith("1.") for version in info.supported_versions):
            return f"this kubelet speaks CSI 1.x, the driver {', '.join(info.supported_versions) or 'no version'}"
        try:
            endpoint = self._disk.locate(info.endpoint)
        except NotOnDisk as error:
            return str(error)
        driver = Driver(info.name, grpc.aio.insecure_channel(f"unix:{endpoint}", options=GRPC_OPTIONS))
        try:
            await driver.introduce()
            await self._csi_node.add(driver.name, driver.node_id, driver.topology)
        except (DriverFailure, ApiError, Unreachable) as error:
            await driver.channel.close()
            return str(error)
        self._seen[path] = (stamp, driver)
        return ""

    async def _drop(self, path: Path, *, gone: bool) -> None:
        """A driver ended; when it was replaced at once it stays in the CSINode."""
        driver = self._seen.pop(path)[1]
        await driver.channel.close()
        if gone:
            log.info("driver %s is gone", driver.name)
            try:
                await self._csi_node.remove(driver.name)
            except (ApiError, Unreachable) as error:
                log.warning("driver %s stays in the CSINode: %s", driver.name, error)


def _stamp(path: Path) -> tuple[int, int] | None:
    """Tells one socket from its successor with the same name."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_mtime_ns, found.st_ino
