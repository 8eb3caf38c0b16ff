"""End every container of a machine or of one node, also when the server that started them is long dead. Standard
library only.
"""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from k8sext.infra.cri.shim.processes import send_signal, start_time

PATIENCE = 5.0


def stop_all(root_dir: Path, socket_dir: Path) -> None:
    """Kill the containers and supervisors of all nodes below `root_dir` and remove their sockets from `socket_dir`.

    Stop the server first (SIGTERM): it would replace a supervisor that dies.
    """
    stop([shim.parent for shim in root_dir.glob("*/cri/shim.json")])
    keeper = _recorded(root_dir / "room.json", "pid")  # of the pods' network namespace
    (root_dir / "room.json").unlink(missing_ok=True)
    _end(keeper, signal.SIGKILL)
    for pattern in ("cri-*.sock", "shim-*.sock", "pods.sock"):
        for socket in socket_dir.glob(pattern):
            socket.unlink(missing_ok=True)


def stop(folders: Iterable[Path]) -> None:
    """Kill the containers and supervisors of the nodes whose runtime folders are given; return when they are gone."""
    shims, inits, entrances = [], [], []
    for folder in folders:
        shims += _recorded(folder / "shim.json", "pid")
        for file in folder.glob("containers/*/process.json"):
            inits += _recorded(file, "init")
        for file in folder.glob("containers/*/spec.json"):
            entrances += _read(file).get("cgroups", [])
    _end(shims, signal.SIGTERM)
    _end(shims, signal.SIGKILL)
    # had their supervisor been killed, the kernel would have told them; this makes sure
    _end(inits, signal.SIGTERM)
    remove_groups(entrances)


def remove_groups(entrances: Iterable[str]) -> None:
    """Remove the cgroups that have these files, in which nothing runs any more."""
    groups = {Path(entrance).parent for entrance in entrances}
    _wait(lambda: not [group for group in groups if not remove_group(group)])


def remove_group(group: Path) -> bool:
    """Remove a cgroup and return whether it is gone: the kernel may take the last process out of it after that has been
    waited for."""
    try:
        group.rmdir()
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return True


def _end(processes: list[tuple[int, int]], number: signal.Signals) -> None:
    for pid, started in processes:
        send_signal(pid, number, lambda pid=pid, started=started: start_time(pid) == started)
    _wait(lambda: not any(_runs(pid, started) for pid, started in processes))


def _wait(done: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not done() and time.monotonic() < deadline:
        time.sleep(0.01)


def _runs(pid: int, started: int) -> bool:
    """Whether it is still this process and not another with its number, nor dead and waiting for its parent to look."""
    if start_time(pid) != started:
        return False
    try:
        return Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def _recorded(file: Path, key: str) -> list[tuple[int, int]]:
    content = _read(file)
    return [(content[key], content["started"])] if key in content else []


def _read(file: Path) -> dict[str, Any]:
    try:
        return json.loads(file.read_text())
    except (OSError, ValueError):
        return {}
