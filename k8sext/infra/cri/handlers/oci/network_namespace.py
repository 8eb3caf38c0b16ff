"""The network namespace of a cluster: all its nodes have their bridges there, and one process keeps it.

A real node has its bridge in its own network. The nodes of our cluster are one machine's processes, and that
machine's network is not ours to change; so the bridges of all nodes are in a namespace of the cluster's own, routed
to each other. Without root, the namespace belongs to a user namespace, in which we are root.

Two ways lead in and out, and both are unix sockets, because those stand in a folder and not in a network:

    pods.sock   served here: an HTTP CONNECT proxy to pods (the API server's relay and probes come this way)
    api.sock    served by the cluster: what pods send to the Service `kubernetes` goes there

    python -S -E -m k8sext.infra.cri.handlers.oci.network_namespace FOLDER SOCKETS

The process writes FOLDER/room.json when it is ready and ends when that file is gone. Standard library only.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import json
import os
import subprocess
import sys
import time
from pathlib import Path

from k8sext.infra import connect_proxy
from k8sext.infra.addresses import API_SERVICE, API_SERVICE_PORT
from k8sext.infra.cri.shim.processes import start_time

SOURCE_ROOT = Path(__file__).parents[5]
PATIENCE, LOOK_SECONDS = 10.0, 2.0


class NetworkNamespace:
    """The namespace of one runtime process. `folder` None: bridges are where this process runs."""

    def __init__(self, folder: Path | None, sockets: Path, flags: list[str]) -> None:
        self._folder, self._sockets, self._flags = folder, sockets, flags

    def enter(self, network: bool = True) -> list[str]:
        """Return the command that runs what follows in it (`network` False: with the machine's network all the
        same)."""
        if self._folder is None:
            return []
        pid = self._find() or self._find_or_open()
        user = ["--user", "--preserve-credentials"] if self._flags else []
        return ["nsenter", f"--target={pid}", *user, *(["--net"] if network else []), "--"] if user or network else []

    def _find(self) -> int | None:
        assert self._folder is not None
        try:
            found = json.loads((self._folder / "room.json").read_text())
        except (OSError, ValueError):
            return None
        return found["pid"] if start_time(found["pid"]) == found["started"] else None

    def _find_or_open(self) -> int:
        """Several nodes may want it at once: the first makes it, the others find it."""
        assert self._folder is not None
        with (self._folder / "room.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            return self._find() or self._open(self._folder)

    def _open(self, folder: Path) -> int:
        (folder / "room.json").unlink(missing_ok=True)
        command = [
            "unshare",
            *self._flags,
            "--net",
            sys.executable,
            "-S",
            "-E",
            "-m",
            "k8sext.infra.cri.handlers.oci.network_namespace",
        ]
        with (folder / "room.log").open("ab") as output:
            process = subprocess.Popen(
                [*command, str(folder.absolute()), str(self._sockets.absolute())],
                cwd=SOURCE_ROOT,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        deadline = time.monotonic() + PATIENCE
        while (pid := self._find()) is None:
            if process.poll() is not None or time.monotonic() > deadline:
                process.kill()
                raise OSError(f"the pods' network namespace could not be made; see {output.name}")
            time.sleep(0.01)
        return pid


async def _to_pod(address: str, port: int) -> connect_proxy.Connection:
    try:
        return await asyncio.open_connection(address, port)
    except OSError as error:  # without the address: a probe's message goes to people who know the pod by its name
        raise ConnectionError(os.strerror(error.errno) if error.errno else str(error)) from None


async def _keep(folder: Path, sockets: Path) -> None:
    """Open both ways and stay until room.json is gone."""

    to_pods = sockets / "pods.sock"
    os.umask(0o177)
    await connect_proxy.serve(to_pods, _to_pod)
    to_api_server = connect_proxy.forward(lambda: asyncio.open_unix_connection(str(sockets / "api.sock")))
    await asyncio.start_server(to_api_server, API_SERVICE, API_SERVICE_PORT)
    me = {"pid": os.getpid(), "started": start_time(os.getpid())}
    (folder / "room.json.new").write_text(json.dumps(me))
    (folder / "room.json.new").rename(folder / "room.json")
    with contextlib.suppress(OSError, ValueError):
        while json.loads((folder / "room.json").read_text()) == me:
            await asyncio.sleep(LOOK_SECONDS)
    to_pods.unlink(missing_ok=True)


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit("usage: python -S -E -m k8sext.infra.cri.handlers.oci.network_namespace FOLDER SOCKETS")
    lines = f"link set dev lo up\naddr add {API_SERVICE}/32 dev lo\n"
    subprocess.run(["ip", "-batch", "-"], input=lines, text=True, check=True)
    asyncio.run(_keep(Path(sys.argv[1]), Path(sys.argv[2])))
