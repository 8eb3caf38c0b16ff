"""A real server process, spoken to by a real gRPC client."""

from __future__ import annotations

import json
import os
import secrets
import signal
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc.aio
import pytest

from k8sext.infra.cri import stop_all
from k8sext.infra.cri.built_in import BUILT_IN
from k8sext.infra.cri.proto import api_pb2 as api
from k8sext.infra.cri.proto import api_pb2_grpc
from tests.support.eventually import eventually_async

DEADLINE = 20.0


class Server:
    """The runtime as a process of its own, that can be killed and started again."""

    def __init__(
        self,
        folder: Path,
        *options: str,
        environment: dict[str, str] | None = None,
        wrapper: Sequence[str] = (),
        python: str = sys.executable,
    ) -> None:
        self.folder, self.options = (
            folder,
            options or ("--listen", f"unix://{folder}/cri.sock", "--root", f"{folder}/root"),
        )
        self.socket, self.root = folder / "cri.sock", folder / "root"
        self.wrapper, self.python = wrapper, python
        self.environment = {**os.environ, "KUBECONFIG": "/of/the/learner", **(environment or {})}
        self.start()

    def start(self) -> None:
        """Start, without waiting: clients wait for the socket."""
        with (self.folder / "log").open("ab") as log:
            command = [*self.wrapper, self.python, "-m", "k8sext.infra.cri", *self.options]
            self.process = subprocess.Popen(command, stderr=log, env=self.environment)

    def stop(self, number: signal.Signals = signal.SIGTERM) -> None:
        """Send the server a signal and wait until it is gone; containers go on."""
        self.process.send_signal(number)
        self.process.wait(DEADLINE)

    def shim(self, node: str = "node") -> int:
        """Return the pid of the node's supervisor."""
        return json.loads((self.root / node / "cri" / "shim.json").read_text())["pid"]

    def end(self) -> None:
        """Leave nothing behind, and no bug unseen."""
        if self.process.poll() is None:
            self.stop()
        stop_all(self.root, self.folder)
        assert "Traceback" not in (log := (self.folder / "log").read_text()), log


class Runtime:
    """The client of one node's runtime."""

    def __init__(self, server: Server, channel: grpc.aio.Channel) -> None:
        self.server = server
        self.calls: Any = api_pb2_grpc.RuntimeServiceStub(channel)
        self.images: Any = api_pb2_grpc.ImageServiceStub(channel)
        self.logs = Path(tempfile.mkdtemp(prefix="logs", dir=server.folder))
        self.logs.chmod(0o777)  # the server may be another user
        self.api = api

    def pod(self, name: str = "pod", **config: Any) -> api.PodSandboxConfig:
        """Return a pod's config with a uid of its own."""
        metadata = api.PodSandboxMetadata(name=name, namespace="default", uid=secrets.token_hex(4))
        return api.PodSandboxConfig(metadata=metadata, log_directory=str(self.logs), **config)

    async def sandbox(self, **config: Any) -> str:
        """Run a sandbox and return its id."""
        return (
            await self.calls.RunPodSandbox(api.RunPodSandboxRequest(config=self.pod(**config)), wait_for_ready=True)
        ).pod_sandbox_id

    async def create(self, command: list[str], sandbox: str = "", name: str = "main", **config: Any) -> str:
        """Create a container, in a fresh sandbox unless one is given, and return its id."""
        sandbox = sandbox or await self.sandbox()
        asked = api.ContainerConfig(
            metadata=api.ContainerMetadata(name=name),
            command=command,
            **{"log_path": f"{name}.log", "image": api.ImageSpec(image=BUILT_IN), **config},
        )
        return (
            await self.calls.CreateContainer(api.CreateContainerRequest(pod_sandbox_id=sandbox, config=asked))
        ).container_id

    async def run(self, command: list[str], **config: Any) -> str:
        """Create and start a container and return its id."""
        container = await self.create(command, **config)
        await self.calls.StartContainer(api.StartContainerRequest(container_id=container))
        return container

    async def shell(self, script: str, **config: Any) -> str:
        """Run a shell script as a container and return the container's id."""
        return await self.run(["sh", "-c", script], **config)

    async def status(self, container: str) -> api.ContainerStatus:
        """Return a container's status."""
        return (await self.calls.ContainerStatus(api.ContainerStatusRequest(container_id=container))).status

    async def ended(self, container: str) -> api.ContainerStatus:
        """Wait until a container has exited and return its status."""

        async def look() -> api.ContainerStatus | None:
            status = await self.status(container)
            return status if status.state == api.CONTAINER_EXITED else None

        return await eventually_async(look)

    async def stop(self, container: str, timeout: int = 0) -> None:
        """Stop a container."""
        await self.calls.StopContainer(api.StopContainerRequest(container_id=container, timeout=timeout))

    async def execute(self, container: str, *command: str, timeout: int = 10) -> api.ExecSyncResponse:
        """Run a command in a container and return what it printed."""
        return await self.calls.ExecSync(api.ExecSyncRequest(container_id=container, cmd=command, timeout=timeout))

    async def back(self) -> None:
        """Wait until a server that was started again answers; a first call may still go to the connection of the last
        one."""
        await eventually_async(
            lambda: self.calls.Version(api.VersionRequest(), timeout=5), not_yet=grpc.aio.AioRpcError
        )

    def log(self, name: str = "main") -> list[str]:
        """Return the lines of a container's log without their times: `stdout F text`."""
        file = self.logs / f"{name}.log"
        return [line.split(" ", 1)[1] for line in file.read_text().splitlines()] if file.exists() else []

    async def logged(self, *lines: str, name: str = "main") -> None:
        """Wait until a log holds these lines."""
        await eventually_async(lambda: set(lines) <= set(self.log(name)))

    async def refusal(self, call: Any) -> grpc.aio.AioRpcError:
        """Return the error of a call that must fail."""
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call
        return caught.value


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder with a path short enough for sockets."""
    with tempfile.TemporaryDirectory(prefix="cri", ignore_cleanup_errors=True) as path:
        yield Path(path)


@contextmanager
def serving() -> Iterator[Server]:
    """A server in a folder of its own; both are gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="cri", ignore_cleanup_errors=True) as path:
        server = Server(Path(path))
        try:
            yield server
        finally:
            server.end()


@pytest.fixture(scope="session")
def shared_server() -> Iterator[Server]:
    """One server for all tests that leave it alone."""
    with serving() as server:
        yield server


@pytest.fixture
async def runtime(shared_server: Server) -> AsyncIterator[Runtime]:
    """A client of the shared server; what a test made is removed."""
    async with grpc.aio.insecure_channel(f"unix:{shared_server.socket}") as channel:
        client = Runtime(shared_server, channel)
        yield client
        for sandbox in (await client.calls.ListPodSandbox(api.ListPodSandboxRequest(), wait_for_ready=True)).items:
            await client.calls.RemovePodSandbox(api.RemovePodSandboxRequest(pod_sandbox_id=sandbox.id))


@pytest.fixture
async def own(folder: Path) -> AsyncIterator[Runtime]:
    """A client of a server that the test may kill."""
    server = Server(folder)
    async with grpc.aio.insecure_channel(
        f"unix:{server.socket}", options=[("grpc.max_reconnect_backoff_ms", 100)]
    ) as channel:
        yield Runtime(server, channel)
    server.end()


@pytest.fixture
def start_server(folder: Path) -> Iterator[Callable[..., Server]]:
    """Start servers with options and environment of the test's own; they are ended."""
    started: list[Server] = []

    def start(*options: str, environment: dict[str, str] | None = None, wrapper: Sequence[str] = ()) -> Server:
        started.append(Server(folder, *options, environment=environment, wrapper=wrapper))
        return started[-1]

    yield start
    for server in started:
        server.end()


@pytest.fixture
async def connect() -> AsyncIterator[Callable[[Server, Path], Runtime]]:
    """Connect to the socket of a server that a test started."""
    channels: list[grpc.aio.Channel] = []

    def connect_to(server: Server, socket: Path) -> Runtime:
        channels.append(grpc.aio.insecure_channel(f"unix:{socket}", options=[("grpc.max_reconnect_backoff_ms", 100)]))
        return Runtime(server, channels[-1])

    yield connect_to
    for channel in channels:
        await channel.close()
