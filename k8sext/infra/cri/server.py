"""One process, one gRPC server a node: the desired nodes are read from a file and made so, again and again."""

from __future__ import annotations

import asyncio
import fcntl
import logging
from functools import partial
from pathlib import Path
from typing import Any

from k8sext.infra import nodes
from k8sext.infra.addresses import pod_range
from k8sext.infra.cri import cgroups, cleanup
from k8sext.infra.cri.handlers.by_name import Handlers
from k8sext.infra.cri.handlers.oci.handler import OciHandler
from k8sext.infra.cri.handlers.oci.image_store import ImageStore
from k8sext.infra.cri.handlers.oci.network_namespace import NetworkNamespace
from k8sext.infra.cri.handlers.process import isolation
from k8sext.infra.cri.handlers.process.handler import ProcessHandler
from k8sext.infra.cri.images import ImageService
from k8sext.infra.cri.lifecycle import Node
from k8sext.infra.cri.proto import api_pb2_grpc
from k8sext.infra.cri.service import RuntimeService
from k8sext.infra.cri.shimclient import ShimClient, ShimError
from k8sext.infra.cri.store import Store, remove_tree
from k8sext.infra.cri.streaming.server import StreamingServer
from k8sext.infra.grpc import check_socket_path, make_server

log = logging.getLogger(__name__)


class Machine:
    """What all nodes of this process share."""

    def __init__(
        self, loopback: str, images: ImageStore, namespace: NetworkNamespace, default_handler: str = "process"
    ) -> None:
        """Probe the machine once. `loopback` (127.X) stands for the pod network, `namespace` is where bridges are."""
        self._loopback, self._images, self._namespace, self._default = loopback, images, namespace, default_handler
        self._isolation = isolation.probe()
        self.groups = cgroups.probe()
        self.streaming = StreamingServer()
        limits = "limits enforced" if self.groups.enforced else cgroups.NOT_ENFORCED
        log.info("mounts by: %s; %s", self._isolation.name, limits)

    def handlers(self, index: int, store: Store, shim: ShimClient) -> Handlers:
        """All that a RuntimeClass can choose on a node; `index` is the node's number."""
        return Handlers(
            ProcessHandler(store, self._isolation, self._loopback),
            OciHandler(store, shim, self._images, self._namespace, f"k8sext{index}"),
            default=self._default,
        )


class NodeServer:
    """The CRI server of one node."""

    def __init__(self, machine: Machine, name: str, folder: Path, listen: Path, shim_socket: Path, index: int) -> None:
        """`folder` holds the state; `listen` and `shim_socket` are unix socket paths. Raise ValueError for a path that
        is too long."""
        for path in (listen, shim_socket):
            check_socket_path(path, "--socket-dir or --listen")
        self.name, self.index, self.folder, self._listen, self._machine = name, index, folder, listen, machine
        folder.mkdir(parents=True, exist_ok=True)
        self._lock = _lock(folder)
        handlers = partial(machine.handlers, index)
        self._node = Node(folder, shim_socket, machine.groups, pod_range(index), handlers)
        self._server = make_server("runtime")

    async def start(self) -> None:
        """Take over what runs and answer calls."""
        await self._node.open()
        images = ImageService(self.folder, self._node.handlers)
        api_pb2_grpc.add_ImageServiceServicer_to_server(images, self._server)
        api_pb2_grpc.add_RuntimeServiceServicer_to_server(
            RuntimeService(self._node, images, self._machine.streaming), self._server
        )
        self._listen.unlink(missing_ok=True)
        self._server.add_insecure_port(f"unix:{self._listen}")
        self._listen.chmod(0o600)  # not by umask: it is the whole process's, and other nodes are making folders
        await self._server.start()
        log.info("%s: serving CRI v1 at unix://%s", self.name, self._listen)

    async def stop(self) -> None:
        """Stop answering; containers go on."""
        await self._server.stop(grace=0.2)
        await self._node.close()
        self._listen.unlink(missing_ok=True)
        self._lock.close()

    async def power_off(self) -> None:
        """End like a machine without power: no server, no containers."""
        await self.stop()
        await asyncio.to_thread(cleanup.stop, [self.folder])
        log.info("%s: powered off", self.name)


class NodePool:
    """The nodes of `nodes.json` (see k8sext.cluster): serves those that are to run, powers off the others."""

    def __init__(self, machine: Machine, nodes_file: Path, root_dir: Path, socket_dir: Path) -> None:
        self._machine, self._file, self._root, self._sockets = machine, nodes_file, root_dir, socket_dir
        self._servers: dict[str, NodeServer] = {}

    async def run(self) -> None:
        """Follow the file until cancelled; then stop serving and leave the containers running."""
        try:
            await nodes.follow(self._file, self._make_so)
        finally:
            await asyncio.gather(*(server.stop() for server in self._servers.values()))
            await self._machine.streaming.close()

    async def _make_so(self, wanted: nodes.Nodes) -> bool:
        """Make what runs as the file says; return whether that succeeded."""
        results = await asyncio.gather(
            *(self._run_node(spec) for spec in wanted.running),
            *(self._end_node(spec.name, removed=False) for spec in wanted.specs.values() if spec not in wanted.running),
            *(self._end_node(name, removed=True) for name in self._present() - wanted.specs.keys()),
            return_exceptions=True,
        )
        problems = [result for result in results if result is not None]
        for problem in problems:
            log.error(
                "%s", problem, exc_info=None if isinstance(problem, (OSError, ShimError, ValueError)) else problem
            )
        return not problems

    def _present(self) -> set[str]:
        return {*self._servers, *(folder.parent.name for folder in self._root.glob("*/cri"))}

    async def _run_node(self, spec: nodes.NodeSpec) -> None:
        name = spec.name
        if name in self._servers:
            return
        listen, shim = self._sockets / f"cri-{name}.sock", self._sockets / f"shim-{name}.sock"
        server = NodeServer(self._machine, name, self._root / name / "cri", listen, shim, spec.index)
        await server.start()
        self._servers[name] = server

    async def _end_node(self, name: str, removed: bool) -> None:
        server = self._servers.pop(name, None)
        if server is not None:
            await server.power_off()
        else:
            await asyncio.to_thread(cleanup.stop, [self._root / name / "cri"])
        if removed:
            await asyncio.to_thread(remove_tree, self._root / name)


def _lock(folder: Path) -> Any:
    """Keep a second server from the same state; raise ValueError when there is one."""
    file = (folder / "lock").open("w")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        file.close()
        raise ValueError(f"another CRI server uses {folder}: stop it, or choose another folder") from None
    return file
