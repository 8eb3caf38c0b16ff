"""`python -S -E -m k8sext.infra.cri.shim SOCKET FOLDER`: become the supervisor of a node; the command returns when it
listens.
"""

# pathlib would cost a tenth of this process's memory: os it is
# ruff: noqa: PTH105, PTH108, PTH110, PTH123

from __future__ import annotations

import json
import os
import socket
import sys

from k8sext.infra.cri.shim import processes
from k8sext.infra.cri.shim.supervisor import Supervisor


def main(socket_path: str, folder: str) -> None:
    """Listen at `socket_path` and serve, as a process of its own that outlives its parent."""
    if os.path.exists(socket_path):
        os.unlink(socket_path)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    old_mask = os.umask(0o177)
    listener.bind(socket_path)
    os.umask(old_mask)
    listener.listen(8)
    if os.fork() != 0:
        return
    os.setsid()
    os.chdir(folder)
    processes.prctl(processes.PR_SET_CHILD_SUBREAPER, 1)
    with open("shim.json.new", "w", encoding="ascii") as file:
        json.dump({"pid": os.getpid(), "started": processes.start_time(os.getpid())}, file)
    os.replace("shim.json.new", "shim.json")
    with open(os.devnull, "rb") as null:
        os.dup2(null.fileno(), 0)
    Supervisor(listener, folder).serve()
    os.unlink(socket_path)


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit("usage: python -S -E -m k8sext.infra.cri.shim SOCKET FOLDER")
    main(sys.argv[1], sys.argv[2])
