"""Tell the kernel about links, addresses and routes, through the program `ip` of iproute2.

Each function is one process; changes are given in a batch, which stops at the first line that fails.
"""

from __future__ import annotations

import json
import os
from typing import Any

from k8sext.infra.cni.request import IO_FAILURE, CniError

_PATH = os.environ.get("PATH", "") + ":/usr/sbin:/sbin:/usr/bin:/bin"


class IpError(CniError):
    """`ip` refused; the message is its own."""

    def __init__(self, message: str) -> None:
        super().__init__(IO_FAILURE, f"ip: {message}")
        self.exists = "File exists" in message
        self.missing = "Cannot find device" in message or "does not exist" in message


def change(*lines: str, namespace: str = "") -> None:
    """Carry out commands of `ip`, in the network namespace at a path or in ours. Raises IpError."""
    _run(["ip", "-batch", "-"], "\n".join(lines) + "\n", namespace)


def show(*arguments: str, namespace: str = "") -> list[dict[str, Any]]:
    """Return what `ip -json ...` answers, the empty objects left out. Raises IpError."""
    return [found for found in json.loads(_run(["ip", "-json", *arguments], "", namespace) or "[]") if found]


def _run(command: list[str], text: str, namespace: str) -> str:
    """Run a program with standard streams in memory; the module `subprocess` takes longer to import than `ip` to
    run."""
    command = ["nsenter", f"--net={namespace}", "--", *command] if namespace else command
    streams = [os.memfd_create(name) for name in ("input", "output", "errors")]
    try:
        os.write(streams[0], text.encode())
        os.lseek(streams[0], 0, os.SEEK_SET)
        actions = [(os.POSIX_SPAWN_DUP2, stream, number) for number, stream in enumerate(streams)]
        child = os.posix_spawn(_find(command[0]), command, {"PATH": _PATH, "LC_ALL": "C"}, file_actions=actions)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        output, errors = (os.pread(stream, os.fstat(stream).st_size, 0).decode() for stream in streams[1:])
    finally:
        for stream in streams:
            os.close(stream)
    if code != 0:
        lines = [line for line in errors.splitlines() if not line.startswith("Command failed")]
        raise IpError(lines[0] if lines else f"{' '.join(command)} ended with {code}")
    return output


def _find(program: str) -> str:
    for folder in _PATH.split(":"):
        if os.access(path := f"{folder}/{program}", os.X_OK):
            return path
    raise CniError(IO_FAILURE, f"the program {program} is not here: install iproute2 and util-linux")
