"""The room in which a cluster's cables run: one network namespace for all its bridges, kept open by one process.

A real node has its bridge in its own network. The nodes of our cluster are one machine's processes, and that
machine's network is not ours to change; so the bridges of all nodes hang in a namespace of the cluster's own, routed
to each other. Without root, the namespace belongs to a user namespace, in which we are root.

Two doors lead in and out, and both are unix sockets, because those stand in a folder and not in a network:

    pods.sock   served here: `CONNECT 10.244.n.m:port` leads to a pod (the API server's relay and probes come this way)
    api.sock    served by the cluster: what pods send to 10.96.0.1:443, the address of the Service `kubernetes`, goes there

    python -S -E -m k8sext.infra.cri.oci.room FOLDER SOCKETS

The process writes FOLDER/room.json when it is ready and ends when that file is gone. Standard library only.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

from k8sext.infra.cri.shim.processes import start_time

SOURCE_ROOT = Path(__file__).parents[4]
SERVICE, PORT = "10.96.0.1", 443
PATIENCE, LOOK_SECONDS = 10.0, 2.0


class Room:
    """The room of one runtime process. `folder` None: no room, bridges hang where this process runs."""

    def __init__(self, folder: Path | None, sockets: Path, flags: list[str]) -> None:
        self._folder, self._sockets, self._flags = folder, sockets, flags

    def enter(self, network: bool = True) -> list[str]:
        """Return the command that runs what follows in the room (`network` False: with the machine's network all the same)."""
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
        """Several nodes may come to the door at once: the first opens the room, the others find it."""
        assert self._folder is not None
        with (self._folder / "room.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            return self._find() or self._open(self._folder)

    def _open(self, folder: Path) -> int:
        (folder / "room.json").unlink(missing_ok=True)
        command = ["unshare", *self._flags, "--net", sys.executable, "-S", "-E", "-m", "k8sext.infra.cri.oci.room"]
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
                raise OSError(f"the room for the pods' network could not be opened; see {output.name}")
            time.sleep(0.01)
        return pid


async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Pass on bytes until the end, then say the end: the other direction may have more to say."""
    with contextlib.suppress(OSError):
        while chunk := await reader.read(65536):
            writer.write(chunk)
            await writer.drain()
    with contextlib.suppress(OSError):
        writer.write_eof()


async def _into(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Serve one `CONNECT address:port` from outside."""
    with contextlib.closing(writer):
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            match = re.match(rb"CONNECT (10\.244\.[\d.]+):(\d+) HTTP/1", head)
            if match is None:
                raise ValueError("only pods can be reached: CONNECT 10.244.n.m:port")
            far_reader, far_writer = await asyncio.open_connection(match[1].decode(), int(match[2]))
        except (ValueError, OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError) as error:
            reason = os.strerror(error.errno) if isinstance(error, OSError) and error.errno else str(error)
            writer.write(f"HTTP/1.1 502 Bad Gateway\r\n\r\n{reason}".encode())
            return
        with contextlib.closing(far_writer):
            writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
            await asyncio.gather(carry(reader, far_writer), carry(far_reader, writer))


async def _keep(folder: Path, sockets: Path) -> None:
    """Open both doors and stay until room.json is gone."""

    async def out(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.closing(writer):
            try:
                far_reader, far_writer = await asyncio.open_unix_connection(str(sockets / "api.sock"))
            except OSError:
                return
            with contextlib.closing(far_writer):
                await asyncio.gather(carry(reader, far_writer), carry(far_reader, writer))

    door = sockets / "pods.sock"
    door.unlink(missing_ok=True)
    os.umask(0o177)
    await asyncio.start_unix_server(_into, door)
    await asyncio.start_server(out, SERVICE, PORT)
    me = {"pid": os.getpid(), "started": start_time(os.getpid())}
    (folder / "room.json.new").write_text(json.dumps(me))
    (folder / "room.json.new").rename(folder / "room.json")
    with contextlib.suppress(OSError, ValueError):
        while json.loads((folder / "room.json").read_text()) == me:
            await asyncio.sleep(LOOK_SECONDS)
    door.unlink(missing_ok=True)


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit("usage: python -S -E -m k8sext.infra.cri.oci.room FOLDER SOCKETS")
    lines = f"link set dev lo up\naddr add {SERVICE}/32 dev lo\n"
    subprocess.run(["ip", "-batch", "-"], input=lines, text=True, check=True)
    asyncio.run(_keep(Path(sys.argv[1]), Path(sys.argv[2])))
