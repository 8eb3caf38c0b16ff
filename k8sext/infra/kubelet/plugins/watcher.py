"""CSI drivers of this node: found by the sockets they put into the registration folder, and told to the scheduler in
the CSINode object.

The sockets are the truth and are looked at again and again, so it does not matter who was killed and who comes first,
kubelet or driver.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable
from pathlib import Path

import grpc.aio

from k8sext.files import stamp
from k8sext.infra.csi.proto import registration_pb2 as registration
from k8sext.infra.grpc import CLIENT_OPTIONS, call
from k8sext.infra.kubelet.paths import NotOnNode, Paths
from k8sext.infra.kubelet.plugins.csi import CsiNode, Driver, DriverFailure
from k8sext.kube.request import ApiError, Unreachable

log = logging.getLogger(__name__)

SERVICE = "/pluginregistration.Registration"
LOOK_SECONDS = 0.5
RETRY_SECONDS = 2.0


class Plugins:
    """The drivers of one node."""

    def __init__(self, paths: Paths, csi_node: CsiNode) -> None:
        self._paths, self._csi_node = paths, csi_node
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
        sockets = {path: stamp(path) for path in self._paths.registry.iterdir() if path.is_socket()}
        for path in [path for path, (known, _) in self._seen.items() if sockets.get(path) != known]:
            await self._drop(path, gone=path not in sockets)
        for path, found in sockets.items():
            if found and path not in self._seen and now >= self._wait_until.get(path, 0):
                self._wait_until[path] = now + RETRY_SECONDS
                registered |= await self._register(path, found)
        return registered

    async def _register(self, path: Path, found: tuple[int, int]) -> bool:
        """Ask at a socket who is there, make it known, and tell it how that went."""
        async with grpc.aio.insecure_channel(f"unix:{path}", options=CLIENT_OPTIONS) as channel:
            try:
                info = await call(channel, f"{SERVICE}/GetInfo", registration.InfoRequest(), registration.PluginInfo, 5)
            except grpc.aio.AioRpcError as error:
                log.debug("nobody answers at %s: %s", path, error.details())  # what a killed driver left
                return False
            problem = await self._admit(info, path, found)
            outcome = registration.RegistrationStatus(plugin_registered=not problem, error=problem)
            heard = registration.RegistrationStatusResponse
            with contextlib.suppress(grpc.aio.AioRpcError):
                await call(channel, f"{SERVICE}/NotifyRegistrationStatus", outcome, heard, 5)
        if problem:
            log.warning("the plugin at %s is refused: %s", path, problem)
        else:
            log.info("driver %s is registered", info.name)
        return not problem

    async def _admit(self, info: registration.PluginInfo, path: Path, found: tuple[int, int]) -> str:
        """Take a driver in. Returns "" or why that cannot be."""
        if info.type != "CSIPlugin":
            return f"this kubelet takes plugins of type CSIPlugin, not {info.type}"
        if not any(version.removeprefix("v").startswith("1.") for version in info.supported_versions):
            return f"this kubelet speaks CSI 1.x, the driver {', '.join(info.supported_versions) or 'no version'}"
        try:
            endpoint = self._paths.locate(info.endpoint)
        except NotOnNode as error:
            return str(error)
        driver = Driver(info.name, grpc.aio.insecure_channel(f"unix:{endpoint}", options=CLIENT_OPTIONS))
        try:
            await driver.introduce()
            await self._csi_node.add(driver.name, driver.node_id, driver.topology)
        except (DriverFailure, ApiError, Unreachable) as error:
            await driver.channel.close()
            return str(error)
        self._seen[path] = (found, driver)
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
