"""The pause container: a process that does nothing, whose namespaces are the pod's.

It is started by the shim like any program, so it ends with the shim and outlives a restart of the server. Its files
stand where those of a container do: containers/<sandbox id>/.
"""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path

from k8sext.infra.cri.handlers.oci.network_namespace import NetworkNamespace
from k8sext.infra.cri.proto import api_pb2 as api
from k8sext.infra.cri.shimclient import ShimClient, ShimError
from k8sext.infra.cri.store import Sandbox, Store, write_aside
from k8sext.infra.grpc import failed_precondition

PATIENCE = 30.0
PAUSE = '[ "$1" = host ] || ip link set lo up; : > "$0"; trap "" CHLD; exec tail -f /dev/null'
"""Says that it is ready, and reaps whom nobody waits for, by not wanting to hear of it."""


class Pause:
    """The pause containers of one node."""

    def __init__(self, store: Store, shim: ShimClient, network: NetworkNamespace, path: str) -> None:
        """`network` is where the bridges of the node are; `path` is the variable PATH that finds ip and unshare."""
        self._store, self._shim, self._network, self._path = store, shim, network, path

    def folder(self, sandbox: Sandbox) -> Path:
        """Where its files stand."""
        return self._store.folder / "containers" / sandbox.id

    def pid(self, sandbox: Sandbox) -> int:
        """Its process id; raise StatusError when it has ended."""
        if (process := self._store.process_of(sandbox)) is None:
            raise failed_precondition("the pod's namespaces are gone: make a new sandbox")
        return process["main"]

    async def start(self, sandbox: Sandbox) -> int:
        """Start it and return its process id; raise ShimError when it does not come up."""
        folder = self.folder(sandbox)
        options = sandbox.config.linux.security_context.namespace_options
        own_network = not sandbox.host_network
        flags = ["--net", "--uts"] if own_network else []
        flags += ["--ipc"] if options.ipc != api.NODE else []
        flags += ["--pid", "--fork", "--kill-child"] if options.pid == api.POD else []
        enter = await asyncio.to_thread(self._network.enter, own_network)
        spec = {
            "wrapper": [*enter, "unshare", *flags, "--"] if flags else enter,
            "wrapper_forks": 0,
            "argv": ["sh", "-c", PAUSE, str(folder / "ready"), "own" if own_network else "host"],
            "env": {"PATH": self._path},
            "cwd": "/",
            "cgroups": [],
            "tty": False,
            "stdin": False,
            "stdin_once": False,
            "log": str(folder / "log"),
            "oom_score_adj": 0,
        }
        write_aside(folder / "spec.json", json.dumps(spec))
        await self._shim.ask("start", sandbox.id, spec=str(folder / "spec.json"))
        deadline = time.monotonic() + PATIENCE
        while not (folder / "ready").exists():
            if (folder / "exit.json").exists() or time.monotonic() > deadline:
                raise ShimError(last_words(folder / "log"))
            await asyncio.sleep(0.004)
        return self.pid(sandbox)

    async def stop(self, sandbox: Sandbox) -> None:
        """End it and return when it is gone, and its namespaces with it."""
        deadline = time.monotonic() + PATIENCE
        try:
            while time.monotonic() < deadline:
                await self._shim.ask("kill", sandbox.id)
                await asyncio.sleep(0.004)
        except ShimError:
            return  # it does not run any more


def text_of(file: Path) -> str:
    """What a file says, "" when it is not there."""
    try:
        return file.read_text(errors="replace").strip()
    except OSError:
        return ""


def last_words(log: Path) -> str:
    """Why a program did not start, by the last line it logged."""
    lines = [line for line in text_of(log).splitlines() if line.strip() and "hybrid mode" not in line]
    return f"cannot start: {lines[-1].strip()}" if lines else "cannot start: it ended without a word"
