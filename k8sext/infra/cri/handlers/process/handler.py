"""The runtime handler `process`: a sandbox is an address, a container is a process of this machine."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from ipaddress import IPv4Network
from typing import TYPE_CHECKING

from grpc import StatusCode

from k8sext.infra.addresses import halves, loopback_address
from k8sext.infra.cri.handlers.mounts import mounts_of
from k8sext.infra.cri.handlers.process import identity
from k8sext.infra.cri.handlers.process.isolation import Isolation
from k8sext.infra.cri.handlers.process.specification import check_command, specification
from k8sext.infra.cri.handlers.security import cannot, check_container, check_pod
from k8sext.infra.cri.proto import api_pb2 as api
from k8sext.infra.cri.store import Container, Sandbox, Store
from k8sext.infra.grpc import StatusError, invalid_argument
from k8sext.kube.objects import Json

if TYPE_CHECKING:
    from k8sext.infra.cri.streaming.port_forward import Dial


class ProcessHandler:
    """The handler `process` of one node."""

    name, images, has_pause = identity.NAME, None, False

    def __init__(self, store: Store, isolation: Isolation, loopback: str) -> None:
        """`loopback` (127.X) stands for the pod network: there the servers of these pods listen."""
        self._store, self._isolation, self._loopback = store, isolation, loopback
        self._last = 0

    @property
    def isolation(self) -> str:
        """bubblewrap, proot or none."""
        return self._isolation.name

    # ---- sandboxes ----

    def check_sandbox(self, config: api.PodSandboxConfig) -> None:
        """All share the machine: its sysctls are everybody's."""
        if names := sorted(config.linux.sysctls):
            raise cannot(self.name, f"set sysctls ({', '.join(names)})", "remove securityContext.sysctls")
        if config.linux.security_context.privileged:
            raise cannot(self.name, "run privileged containers", "remove privileged: true")
        check_pod(config, self.name)

    async def run_sandbox(self, sandbox: Sandbox, cidr: IPv4Network) -> None:
        """Give the sandbox an address; with hostNetwork it has the node's, which is the first."""
        used = {other.ip for other in self._store.sandboxes.values() if other.ready}
        sandbox.ip = str(cidr[1]) if sandbox.host_network else self._free(cidr, used)

    async def stop_sandbox(self, sandbox: Sandbox, cidr: IPv4Network) -> None:
        """A sandbox that is not ready uses no address."""

    def remove_sandbox(self, sandbox: Sandbox) -> None:
        """It has no files."""

    async def recover(self, ready: list[Sandbox], cidr: IPv4Network) -> None:
        """What is used is what the store says."""

    def address(self, sandbox: Sandbox) -> str:
        """The loopback address that stands for the pod's."""
        return loopback_address(sandbox.ip, self._loopback)

    @asynccontextmanager
    async def dialer(self, sandbox: Sandbox) -> AsyncIterator[Dial]:
        """Connections to that address: what such a pod serves at 127.0.0.1 is the machine's, not the pod's alone."""
        yield lambda port: asyncio.open_connection(self.address(sandbox), port)

    # ---- containers ----

    def check(self, config: api.ContainerConfig) -> None:
        """Refuse what needs an image of its own, or rights and mounts that this machine does not give."""
        check_container(config, self.name)
        if not config.command and not config.args:
            raise invalid_argument("the image has no command of its own: give the container a command")
        identity.check(config.linux.security_context)
        if config.linux.security_context.readonly_rootfs and not self._isolation.can_be_readonly:
            raise cannot(
                self.name,
                "make the root folder read-only without bubblewrap (bwrap) and user namespaces",
                "install bubblewrap or remove readOnlyRootFilesystem",
            )
        self._isolation.check(mounts_of(config, self.name))

    async def specification(self, container: Container, sandbox: Sandbox) -> Json:
        """The program itself, behind what mounts and what lowers its rights."""
        folder = self._store.container_folder(container)
        return specification(container, sandbox, self._isolation, folder, self.address(sandbox))

    async def started(self, container: Container) -> None:
        """The shim answers when the program has been executed."""

    def check_command(self, argv: list[str], container: Container) -> None:
        """Look for the program where the container would."""
        check_command(argv, container.config, self._store.container_folder(container))

    async def executing(
        self, container: Container, sandbox: Sandbox, argv: list[str], tty: bool
    ) -> tuple[list[str], list[str]]:
        """The shim enters the container's mounts by itself; it knows where they are."""
        return [], argv

    def user(self, container: Container) -> api.LinuxContainerUser:
        """The user that was asked for, else ours."""
        if found := identity.identity(container.config.linux.security_context):
            return api.LinuxContainerUser(uid=found.uid, gid=found.gid, supplemental_groups=found.groups)
        return api.LinuxContainerUser(uid=os.getuid(), gid=os.getgid(), supplemental_groups=os.getgroups())

    def _free(self, cidr: IPv4Network, used: Iterable[str]) -> str:
        """An address of the lower half (the upper is the network plugin's). They go round, so that one just freed is
        not given out at once."""
        hosts = halves(cidr)[0].num_addresses - 2
        for step in range(hosts):
            candidate = 2 + (self._last + step) % hosts
            if (address := str(cidr[candidate])) not in used:
                self._last = candidate - 1
                return address
        raise StatusError(StatusCode.RESOURCE_EXHAUSTED, f"no pod address of {cidr} is free: delete pods of this node")
