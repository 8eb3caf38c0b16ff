"""One process, one gRPC server a node: the desired nodes are read from a file and made so, again and again."""

from __future__ import annotations

import asyncio
import fcntl
import json
import logging
import os
from pathlib import Path
from typing import Any

import grpc.aio

from k8sext.infra.cri import cgroups, cleanup, isolation
from k8sext.infra.cri.images import ImageService
from k8sext.infra.cri.lifecycle import Node
from k8sext.infra.cri.oci.settings import OciSettings
from k8sext.infra.cri.proto import api_pb2_grpc
from k8sext.infra.cri.refusals import TellRefusals
from k8sext.infra.cri.service import RuntimeService
from k8sext.infra.cri.shimclient import ShimError
from k8sext.infra.cri.state import remove_tree
from k8sext.infra.cri.streaming import StreamingServer

LONGEST_SOCKET_PATH = 107
POLL_SECONDS = 0.25
GRPC_OPTIONS = (("grpc.so_reuseport", 0), ("grpc.max_receive_message_length", 16 << 20))
log = logging.getLogger(__name__)


class Machine:
    """What all nodes of this process share."""

    def __init__(self, loopback: str, oci: OciSettings) -> None:
        """Probe the machine once."""
        self.oci = oci
        self.loopback = loopback
        self.isolation = isolation.probe()
        self.groups = cgroups.probe()
        self.streaming = StreamingServer()
        log.info(
            "mounts by: %s; %s",
            self.isolation.name,
            "limits enforced" if self.groups.enforced else cgroups.NOT_ENFORCED,
        )


class NodeServer:
    """The CRI server of one node."""

    def __init__(self, machine: Machine, name: str, folder: Path, listen: Path, shim_socket: Path, index: int) -> None:
        """`folder` holds the state; `listen` and `shim_socket` are unix socket paths. Raise ValueError for a path that is too long."""
        for path in (listen, shim_socket):
            if len(os.fsencode(path)) > LONGEST_SOCKET_PATH:
                raise ValueError(
                    f"the socket path {path} is longer than {LONGEST_SOCKET_PATH} bytes: choose a shorter --socket-dir or --listen"
                )
        self.name, self.index, self.folder, self._listen, self._machine = name, index, folder, listen, machine
        folder.mkdir(parents=True, exist_ok=True)
        self._lock = _lock(folder)
        self._node = Node(folder, shim_socket, machine.isolation, machine.groups, index, machine.loopback, machine.oci)
        self._server = grpc.aio.server(interceptors=[TellRefusals()], options=GRPC_OPTIONS)

    async def start(self) -> None:
        """Take over what runs and answer calls."""
        await self._node.open()
        images = ImageService(self.folder, self._machine.oci.images, self._machine.oci.default_handler)
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
        seen: tuple[int, int] | None = None
        try:
            while True:
                if (stamp := _stamp(self._file)) != seen and await self._follow():
                    seen = stamp
                await asyncio.sleep(POLL_SECONDS)
        finally:
            await asyncio.gather(*(server.stop() for server in self._servers.values()))
            await self._machine.streaming.close()

    async def _follow(self) -> bool:
        """Make what runs as the file says; return whether that succeeded."""
        nodes = self._desired()
        if nodes is None:
            return False
        results = await asyncio.gather(
            *(self._run_node(node) for node in nodes.values() if node["state"] == "running"),
            *(self._end_node(name, removed=False) for name, node in nodes.items() if node["state"] != "running"),
            *(self._end_node(name, removed=True) for name in self._present() - nodes.keys()),
            return_exceptions=True,
        )
        problems = [result for result in results if result is not None]
        for problem in problems:
            log.error(
                "%s", problem, exc_info=None if isinstance(problem, (OSError, ShimError, ValueError)) else problem
            )
        return not problems

    def _desired(self) -> dict[str, dict[str, Any]] | None:
        try:
            nodes = json.loads(self._file.read_text(encoding="utf-8"))["nodes"]
            return {_plain_name(node["name"]): node for node in nodes}
        except (OSError, ValueError, KeyError, TypeError) as problem:
            log.warning("%s cannot be read, nothing is changed: %s", self._file, problem)
            return None

    def _present(self) -> set[str]:
        return {*self._servers, *(folder.parent.name for folder in self._root.glob("*/cri"))}

    async def _run_node(self, node: dict[str, Any]) -> None:
        name = node["name"]
        if name in self._servers:
            return
        listen, shim = self._sockets / f"cri-{name}.sock", self._sockets / f"shim-{name}.sock"
        server = NodeServer(self._machine, name, self._root / name / "cri", listen, shim, int(node["index"]))
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


def _plain_name(name: str) -> str:
    """Return a node's name if it may become part of a path; raise ValueError otherwise."""
    if not name or "/" in name or name.startswith("."):
        raise ValueError(f"{name!r} is not a node's name")
    return name


def _stamp(file: Path) -> tuple[int, int]:
    try:
        found = file.stat()
    except OSError:
        return (0, 0)
    return (found.st_mtime_ns, found.st_ino)


def _lock(folder: Path) -> Any:
    """Keep a second server from the same state; raise ValueError when there is one."""
    file = (folder / "lock").open("w")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        file.close()
        raise ValueError(f"another CRI server uses {folder}: stop it, or choose another folder") from None
    return file
