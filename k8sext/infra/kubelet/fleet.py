"""The fleet: keep a kubelet running for every node that nodes.json wants, as long as it wants it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from k8sext.infra.kubelet.context import Settings
from k8sext.infra.kubelet.kubelet import Places, run_node
from k8sext.infra.kubelet.light import run_light_nodes
from k8sext.infra.kubelet.node import NodeSpec

log = logging.getLogger(__name__)

LOOK_SECONDS = 0.25


@dataclass(frozen=True)
class Fleet:
    """Where everything is: the file with the wanted nodes, the folder of node folders, the folder of sockets."""

    nodes_file: Path
    root: Path
    socket_dir: Path
    loopback: str
    client_ca: Path
    settings: Settings
    runtime_endpoint: str = ""

    def places(self, name: str) -> Places:
        endpoint = self.runtime_endpoint or f"unix://{self.socket_dir}/cri-{name}.sock"
        registry, door = self.socket_dir / f"csi-{name}", self.socket_dir / "pods.sock"
        return Places(self.root / name, self.client_ca, endpoint, self.loopback, registry, door)


async def run_fleet(fleet: Fleet) -> None:
    """Follow nodes.json until cancelled: what it wants runs, what it wants no more stops at once, like a machine without power."""
    running: dict[str, tuple[Any, asyncio.Task[None]]] = {}
    seen = None
    try:
        while True:
            stamp = _stamp(fleet.nodes_file)
            if stamp != seen:
                seen = stamp
                await _adjust(fleet, running)
            await asyncio.sleep(LOOK_SECONDS)
    finally:
        for _, task in running.values():
            task.cancel()
        await asyncio.gather(*(task for _, task in running.values()), return_exceptions=True)


async def _adjust(fleet: Fleet, running: dict[str, tuple[Any, asyncio.Task[None]]]) -> None:
    try:
        wanted, known = read_nodes(fleet.nodes_file)
    except (OSError, ValueError, TypeError, LookupError) as error:
        log.error("%s cannot be read and is passed over: %s", fleet.nodes_file, error)
        return
    for name in [name for name, (what, _) in running.items() if wanted.get(name) != what]:
        task = running.pop(name)[1]
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        log.info("%s is stopped", name)
    for folder in fleet.root.iterdir():
        if folder.name not in known:  # removed for good, perhaps while no kubelet ran
            shutil.rmtree(folder / "pods", ignore_errors=True)
            shutil.rmtree(folder / "kubelet", ignore_errors=True)
    for name, what in wanted.items():
        if name not in running:
            running[name] = (what, asyncio.create_task(_keep_running(fleet, name, what), name=name))


def read_nodes(path: Path) -> tuple[dict[str, NodeSpec | int], set[str]]:
    """The nodes that should run by their names, under "light" the number of light nodes, if any; and the names of all, also of the stopped.

    Raises ValueError, TypeError or LookupError for a file that makes no sense.
    """
    content = json.loads(path.read_text())
    specs = [NodeSpec(**entry) for entry in content["nodes"]]
    wanted: dict[str, NodeSpec | int] = {spec.name: spec for spec in specs if spec.state == "running"}
    if count := content.get("light", {}).get("count", 0):
        wanted["light"] = count
    return wanted, {spec.name for spec in specs}


async def _keep_running(fleet: Fleet, name: str, what: NodeSpec | int) -> None:
    """Run one node; if it falls over, pick it up again."""
    while True:
        try:
            if isinstance(what, NodeSpec):
                await run_node(what, fleet.places(name), fleet.settings)
            else:
                await run_light_nodes(fleet.root / "light" / "kubeconfig", what)
        except Exception as error:
            log.warning("%s: %s; trying again", name, _reason(error))
            log.debug("", exc_info=error)
        await asyncio.sleep(0.5)


def _reason(error: BaseException) -> str:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return f"{type(error).__name__}: {error}"


def _stamp(path: Path) -> tuple[int, int] | None:
    with contextlib.suppress(OSError):
        stat = path.stat()
        return stat.st_mtime_ns, stat.st_ino
    return None
