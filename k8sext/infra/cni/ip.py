"""Tell the kernel about links, addresses and routes, through the program `ip` of iproute2.

Each function is one process; changes are given in a batch, which stops at the first line that fails.
"""

from __future__ import annotations

import json
import os
import subprocess
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
    entering = ["nsenter", f"--net={namespace}", "--"] if namespace else []
    try:
        done = subprocess.run(
            [*entering, *command],
            input=text,
            capture_output=True,
            text=True,
            env={"PATH": _PATH, "LC_ALL": "C"},
            check=False,
        )
    except FileNotFoundError as problem:
        missing = f"the program {problem.filename} is not here: install iproute2 and util-linux"
        raise CniError(IO_FAILURE, missing) from None
    if done.returncode != 0:
        lines = [line for line in done.stderr.splitlines() if not line.startswith("Command failed")]
        raise IpError(lines[0] if lines else f"{' '.join(command)} ended with {done.returncode}")
    return done.stdout
