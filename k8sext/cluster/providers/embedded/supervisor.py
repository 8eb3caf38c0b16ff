"""The process behind a cluster: starts the programs in order, starts again what dies, stops all in the reverse order.

It runs on its own (`python -m k8sext.cluster.providers.embedded.supervisor NAME DATA`), so that a cluster outlives the
command that started it. It reads cluster.json, which `up` wrote, keeps state.json up to date for `status`, and holds a
lock for as long as it lives: if the lock can be taken, the cluster is down, whatever state.json says. SIGTERM ends it.
Standard library only, to stay small.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from k8sext.cluster import process
from k8sext.cluster.components import Component
from k8sext.cluster.errors import ClusterError
from k8sext.cluster.paths import Layout, make_private, read_json, write_json
from k8sext.cluster.ports import reserve_loopback_block
from k8sext.cluster.providers.embedded import relay
from k8sext.cluster.providers.embedded.control_plane import all_components, stages
from k8sext.infra import cri, nodes
from k8sext.infra.nodes import CONTROL_PLANE, NodeSpec, takes_pods
from k8sext.kube.resource import NODES, SERVICE_ACCOUNTS

LONGEST_PAUSE = 8.0
START_LIMIT = 120.0
POLL = 0.05


class Supervisor:
    """Keeps the components of one cluster running until stop is set."""

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        self.config = read_json(layout.config)
        self.stop = asyncio.Event()
        # Held for the cluster's life: the address block of its pods, and the way to them.
        self.held: list[Any] = []
        self.missing: set[str] = set()
        self.children: dict[str, subprocess.Popen[bytes]] = {}
        self.state: dict[str, Any] = {
            "name": layout.name,
            "pid": os.getpid(),
            "phase": "starting",
            "message": "",
            "started": time.time(),
            "version": self.config["version"],
            "server": self.config["server"],
            "components": {},
        }

    async def run(self) -> int:
        """The cluster's life, from the first program to the last. Returns the exit code."""
        self.save()
        keepers: list[asyncio.Task[None]] = []
        try:
            self.make_room_for_etcd()
            await self.open_the_way_to_pods()
            async with asyncio.timeout(START_LIMIT):
                for stage in stages(self.layout, self.config):
                    keepers += [asyncio.create_task(self.keep(component)) for component in stage]
                    await self.first(*[self.healthy(component) for component in stage], keepers=keepers)
                    self.layout.etcd_unfinished.unlink(missing_ok=True)  # etcd is in the first stage
                ready = [self.node_ready(spec) for spec in nodes.read(self.layout.nodes_file).running]
                await self.first(self.default_service_account(), *ready, keepers=keepers)
            self.report(phase="ready")
            await self.first(self.stop.wait(), keepers=keepers)
        except ClusterError as error:
            self.report(phase="failed", message=str(error))
        except TimeoutError:
            missing = ", ".join(sorted(self.missing))
            self.report(
                phase="failed", message=f"Not ready within {START_LIMIT:.0f} s: {missing}. Logs: {self.layout.logs}"
            )
        except StopRequested:
            pass
        finally:
            failed = self.state["phase"] == "failed"
            if not failed:
                self.report(phase="stopping")
            self.stop.set()
            for keeper in keepers:
                keeper.cancel()
            await asyncio.to_thread(self.stop_children)
            cri.stop_all(self.layout.nodes, self.layout.sockets)
            shutil.rmtree(self.layout.sockets, ignore_errors=True)
            self.report(phase="failed" if failed else "stopped")
        return 1 if failed else 0

    def make_room_for_etcd(self) -> None:
        """An etcd that is killed before it has become its own leader never does so again: begin anew, nothing is in it
        yet."""
        if self.layout.etcd_unfinished.exists():
            shutil.rmtree(self.layout.etcd, ignore_errors=True)
        elif not self.layout.etcd.exists():
            self.layout.etcd_unfinished.touch(0o600)

    async def open_the_way_to_pods(self) -> None:
        """Choose the addresses behind the pods' own, and serve the relay that leads there."""
        block, reservation = reserve_loopback_block(self.config["loopback"])
        self.config["loopback"] = block
        write_json(self.layout.config, self.config)
        make_private(self.layout.sockets)
        to_pods = await relay.serve(self.layout.sockets / "egress.sock", block)
        port = self.config["ports"]["kube-apiserver"]
        self.held = [reservation, to_pods, await relay.serve_api(self.layout.sockets / "api.sock", port)]

    async def first(self, *waits: Any, keepers: list[asyncio.Task[None]]) -> None:
        """Wait for all of waits, but no longer than until a keeper gives up or the cluster is to stop."""
        goal = asyncio.gather(*waits)
        stop = asyncio.create_task(self.stop.wait())
        try:
            await asyncio.wait([goal, stop, *keepers], return_when=asyncio.FIRST_COMPLETED)
            for keeper in keepers:
                if keeper.done():
                    keeper.result()
            if not goal.done():
                raise StopRequested
            goal.result()
        finally:
            goal.cancel()
            stop.cancel()

    async def keep(self, component: Component) -> None:
        """Run a component; when it ends start it again, each time after a longer pause. Raises ClusterError if it never
        ran well."""
        entry = self.state["components"][component.name] = {"port": component.port, "restarts": 0, "pid": None}
        log = self.layout.logs / f"{component.name}.log"
        pause = 0.5
        while True:
            child = self.children[component.name] = process.start(component, log)
            entry.update(pid=child.pid, since=time.time())
            self.save()
            while child.poll() is None:
                process.trim(log)
                await asyncio.sleep(POLL if self.state["phase"] == "starting" else 4 * POLL)
            process.kill_group(child)
            entry.update(pid=None, restarts=entry["restarts"] + 1, last_exit=child.returncode)
            self.save()
            if self.state["phase"] == "starting":
                raise ClusterError(
                    process.full_disk(component.name, log, self.layout.data)
                    or f"{component.name} ended with code {child.returncode} while the cluster started. "
                    f"Its log {log} ends with:\n{process.last_words(log)}\n"
                    "If the cluster's data is damaged, remove it with `k8sext down` and start anew."
                )
            if time.time() - entry["since"] > LONGEST_PAUSE:
                pause = 0.5
            await asyncio.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE)

    async def healthy(self, component: Component) -> None:
        """Wait until a component says that it is well."""
        context = process.tls_context(self.layout.pki, "admin")
        with self.waiting_for(component.name):
            while component.port and (await process.get(component.port, component.health_path, context))[0] != 200:
                await asyncio.sleep(POLL)

    async def default_service_account(self) -> None:
        """Wait until pods can be created: the controllers have made the service account that every pod needs."""
        with self.waiting_for("the service account default"):
            while not await self.find(SERVICE_ACCOUNTS.path("default", "default")):
                await asyncio.sleep(POLL)

    async def node_ready(self, spec: NodeSpec) -> None:
        """Wait until a node is Ready, and give it its role label, which a kubelet may not give itself
        (NodeRestriction)."""
        path = NODES.path(spec.name)
        with self.waiting_for(f"node {spec.name}"):
            while not takes_pods(await self.find(path)):
                await asyncio.sleep(POLL)
            if spec.is_control_plane:
                port, context = self.config["ports"]["kube-apiserver"], process.tls_context(self.layout.pki, "admin")
                patch = json.dumps({"metadata": {"labels": {CONTROL_PLANE: ""}}})
                while (await process.merge_patch(port, path, context, patch))[0] != 200:
                    await asyncio.sleep(POLL)

    async def find(self, path: str) -> dict[str, Any]:
        """GET an object from the API server as administrator; {} when it is not there (yet), or no server is."""
        context = process.tls_context(self.layout.pki, "admin")
        code, body = await process.get(self.config["ports"]["kube-apiserver"], path, context)
        return json.loads(body) if code == 200 else {}

    @contextlib.contextmanager
    def waiting_for(self, what: str) -> Iterator[None]:
        """Note what the start waits for, to say it if the wait is in vain."""
        self.missing.add(what)
        yield
        self.missing.discard(what)

    def stop_children(self) -> None:
        """Stop in the reverse of the order in which they were started."""
        patience = {c.name: c.patience for c in all_components(self.layout, self.config)}
        for name, child in reversed(self.children.items()):
            process.stop(child, patience[name])
            self.state["components"][name]["pid"] = None
            self.save()

    def report(self, **changes: Any) -> None:
        """Note a change of the cluster's state."""
        self.state.update(changes)
        self.save()

    def save(self) -> None:
        with contextlib.suppress(OSError):  # a full disk must not end a cluster that runs
            write_json(self.layout.state, self.state)


class StopRequested(Exception):
    """The cluster is to stop while something is still waited for."""


def take_lock(path: Path, kind: int = fcntl.LOCK_EX) -> int | None:
    """The lock as a file descriptor, held until it is closed or the process has ended; None when another process holds
    it."""
    # Not a file object: Python would close that at its own end, when the process is still there to be seen.
    lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        return None
    return lock


def is_running(layout: Layout) -> bool:
    """Whether a supervisor of this cluster lives."""
    if not layout.supervisor_lock.exists():
        return False
    lock = take_lock(layout.supervisor_lock, fcntl.LOCK_SH)
    if lock is None:
        return True
    os.close(lock)
    return False


def become_supervisor(layout: Layout) -> bool:
    """Take the lock for this process's life, and write its id into it. A question by is_running() may hold it for a
    moment."""
    deadline = time.monotonic() + 1
    while (lock := take_lock(layout.supervisor_lock)) is None:
        if time.monotonic() > deadline:
            return False
        time.sleep(POLL)
    os.ftruncate(lock, 0)
    os.write(lock, str(os.getpid()).encode())
    return True


def running_pid(layout: Layout) -> int | None:
    """The process id of the supervisor that lives, None when none does."""
    return int(layout.supervisor_lock.read_text() or 0) or None if is_running(layout) else None


async def _main(layout: Layout) -> int:
    supervisor = Supervisor(layout)
    for signum in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(signum, supervisor.stop.set)
    return await supervisor.run()


if __name__ == "__main__":
    here = Layout(sys.argv[1], Path(sys.argv[2]))
    if not become_supervisor(here):
        sys.exit(f"A supervisor for {here.data} runs already.")
    sys.exit(asyncio.run(_main(here)))
