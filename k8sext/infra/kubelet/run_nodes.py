"""Keep a kubelet running for every node that nodes.json wants, as long as it wants it."""

from __future__ import annotations

import asyncio
import logging
import shutil

from k8sext.infra.kubelet.config import Config
from k8sext.infra.kubelet.kubelet import run_node
from k8sext.infra.kubelet.node.fake_nodes import run_fake_nodes
from k8sext.infra.nodes import Nodes, NodeSpec, follow

log = logging.getLogger(__name__)

Wanted = NodeSpec | int
"""A node, or a number of fake ones."""


async def run_nodes(config: Config) -> None:
    """Follow nodes.json until cancelled: what it wants runs, what it wants no more stops at once, like a machine
    without power."""
    running: dict[str, tuple[Wanted, asyncio.Task[None]]] = {}

    async def make_so(nodes: Nodes) -> bool:
        await _adjust(config, nodes, running)
        return True

    try:
        await follow(config.nodes, make_so)
    finally:
        for _, task in running.values():
            task.cancel()
        await asyncio.gather(*(task for _, task in running.values()), return_exceptions=True)


async def _adjust(config: Config, nodes: Nodes, running: dict[str, tuple[Wanted, asyncio.Task[None]]]) -> None:
    wanted: dict[str, Wanted] = {spec.name: spec for spec in nodes.running}
    if nodes.fake:
        wanted["fake"] = nodes.fake
    for name in [name for name, (what, _) in running.items() if wanted.get(name) != what]:
        task = running.pop(name)[1]
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        log.info("%s is stopped", name)
    for folder in config.root_dir.iterdir():
        if folder.name not in nodes.specs:  # removed for good, perhaps while no kubelet ran
            shutil.rmtree(folder / "pods", ignore_errors=True)
            shutil.rmtree(folder / "kubelet", ignore_errors=True)
    for name, what in wanted.items():
        if name not in running:
            running[name] = (what, asyncio.create_task(_keep_running(config, name, what), name=name))


async def _keep_running(config: Config, name: str, what: Wanted) -> None:
    """Run one node; if it falls over, pick it up again."""
    while True:
        try:
            if isinstance(what, NodeSpec):
                await run_node(what, config)
            else:
                await run_fake_nodes(config.root_dir / "fake" / "kubeconfig", what)
        except Exception as error:
            log.warning("%s: %s; trying again", name, _reason(error))
            log.debug("", exc_info=error)
        await asyncio.sleep(0.5)


def _reason(error: BaseException) -> str:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return f"{type(error).__name__}: {error}"
