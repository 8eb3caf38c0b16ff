"""The provider `embedded`: a control plane of ordinary child processes, without Docker and without root.

`up` decides (programs, ports, certificates), writes that down, and starts a supervisor that outlives it; everything
after that is the supervisor's. Every step can be broken off and done again.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from k8sext import files
from k8sext.cluster import process, programs
from k8sext.cluster.components import egress_selector
from k8sext.cluster.errors import ClusterError, writing
from k8sext.cluster.paths import Layout, check_folder, claim, remove_files, write_json
from k8sext.cluster.ports import choose
from k8sext.cluster.programs.progress import Progress
from k8sext.cluster.providers import Wishes
from k8sext.cluster.providers.embedded import nodes, supervisor
from k8sext.cluster.providers.embedded.control_plane import all_components
from k8sext.cluster.report import component, report
from k8sext.infra import cri
from k8sext.infra.addresses import API_SERVICE
from k8sext.kube.objects import Json
from k8sext.versions import KUBERNETES

PORTS = ("kube-apiserver", "etcd", "etcd-peer", "kube-controller-manager", "kube-scheduler")
STOP_LIMIT = 20.0
SPACE_NEEDED = 96 * 2**20
"""Bytes: etcd takes 64 MB at its start, before the first object."""
DATA_SETTING = "name another folder with --data, or another place for all clusters with K8SEXT_STATE"

add_node, remove_node, stop_node, start_node = nodes.add, nodes.remove, nodes.stop, nodes.start


def up(layout: Layout, progress: Progress, wishes: Wishes) -> bool:
    """Make the cluster run. Returns whether this call started it: False when it was up already.

    Raises ClusterError with a sentence; then nothing of the failed start is left running.
    """
    port, fake_nodes = wishes.port, wishes.fake_nodes
    if _is_up(layout, port, fake_nodes):
        return False
    check_folder(layout)
    with writing(layout.data, "The cluster's folder", DATA_SETTING):
        layout.data.parent.mkdir(parents=True, exist_ok=True)
        layout.up_lock.touch()  # a lock that cannot be made, as in /proc, would be waited for
        import filelock

        with filelock.FileLock(layout.up_lock):
            if _is_up(layout, port, fake_nodes):
                return False
            if supervisor.is_running(layout):  # an earlier start that failed or is ending
                _stop(layout)
            found = programs.find(progress=progress)
            with progress.step(f"Starting Kubernetes {KUBERNETES}"):
                _prepare(layout, found, port, fake_nodes)
                _start(layout)
    return True


def _is_up(layout: Layout, port: int | None, fake_nodes: int | None) -> bool:
    state = layout.read_state()
    if state.get("phase") != "ready" or not supervisor.is_running(layout):
        return False
    running_on = layout.read_config()["ports"]["kube-apiserver"]
    if port and port != running_on:
        raise ClusterError(
            f"The cluster {layout.name!r} is up on port {running_on}, not {port}: "
            f"stop it first with `k8sext down --name {layout.name}`, or give the new one another --name."
        )
    if fake_nodes is not None and fake_nodes != (there := nodes.read(layout).fake):
        raise ClusterError(
            f"The cluster {layout.name!r} is up with {there} fake nodes, not {fake_nodes}: "
            f"stop it first with `k8sext down --name {layout.name}`, or give the new one another --name."
        )
    if not layout.kubeconfig.exists():
        from k8sext.kube.certificates import Pair

        _kubeconfig(layout, layout.read_config()["server"], Pair.load(layout.pki, "ca"))
    return True


def _prepare(layout: Layout, found: dict[str, Path], port: int | None, fake_nodes: int | None) -> None:
    """Everything that must stand on the disk before the first program starts."""
    claim(layout)
    _need_space(layout)
    for folder in (layout.pki, layout.logs, layout.nodes, layout.temporary):
        folder.mkdir(mode=0o700, exist_ok=True)
    earlier = layout.read_config()
    ports = choose(PORTS, earlier.get("ports", {}), {"kube-apiserver": port} if port else None)
    server = f"https://127.0.0.1:{ports['kube-apiserver']}"
    _certificates(layout, server)
    wanted = nodes.prepare(layout, server, fake_nodes)
    layout.egress_selector.write_text(egress_selector(layout.sockets / "egress.sock"))
    layout.state.unlink(missing_ok=True)
    write_json(
        layout.config,
        {
            "name": layout.name,
            "version": KUBERNETES,
            "server": server,
            "ports": ports,
            "loopback": earlier.get("loopback"),
            "fake_nodes": wanted.fake,
            "programs": {name: str(path) for name, path in found.items()},
        },
    )


def _need_space(layout: Layout) -> None:
    """A new cluster's store takes its place on the disk at once. Raises ClusterError."""
    free = shutil.disk_usage(layout.data).free
    if free < SPACE_NEEDED and not layout.etcd.exists():
        raise ClusterError(
            f"The disk that holds {layout.data} is full: it has {free >> 20} MB left, and a cluster needs "
            f"{SPACE_NEEDED >> 20} MB. Make "
            f"room there, or {DATA_SETTING}."
        )


def _kubeconfig(layout: Layout, server: str, ca: Any) -> None:
    from k8sext.kube import certificates as x509

    admin = x509.issue(ca, "kubernetes-admin", ["system:masters"])
    admin.save(layout.pki, "admin")
    files.replace(layout.kubeconfig, x509.kubeconfig(layout.name, server, ca, admin), mode=0o600)


def _certificates(layout: Layout, server: str) -> None:
    """Make what is missing or about to end. Existing keys stay, so that a cluster's data and tokens stay good."""
    from k8sext.kube import certificates as x509

    pki = layout.pki
    try:
        ca = x509.Pair.load(pki, "ca")
        x509.issue(ca, "test")  # a key that was damaged is found here and replaced
        if x509.days_left(ca.certificate) < 30:
            raise ValueError("about to end")
    except (FileNotFoundError, ValueError):
        ca = x509.authority(f"k8sext-{layout.name}")
        ca.save(pki, "ca")
    local = ("127.0.0.1", "localhost")
    service = ("kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local")
    x509.issue(ca, "kube-apiserver", hosts=[*local, *service, API_SERVICE]).save(pki, "apiserver")
    x509.issue(ca, "etcd", hosts=local).save(pki, "etcd")
    x509.issue(ca, "front-proxy-client").save(pki, "front-proxy-client")
    x509.issue(ca, "kube-apiserver-kubelet-client", ["system:masters"]).save(pki, "apiserver-kubelet-client")
    for name in ("controller-manager", "scheduler"):
        client = x509.issue(ca, f"system:kube-{name}", hosts=local)
        client.save(pki, name)
        files.replace(pki / f"{name}.kubeconfig", x509.kubeconfig(name, server, ca, client), mode=0o600)
    _kubeconfig(layout, server, ca)
    if not (pki / "service-accounts.pub").exists():
        private, public = x509.service_account_keys()
        files.replace(pki / "service-accounts.key", private, mode=0o600)
        files.replace(pki / "service-accounts.pub", public, mode=0o600)


def _start(layout: Layout) -> None:
    """Start the supervisor and wait for its word; broken off in the middle, stop it again."""
    log = layout.logs / "supervisor.log"
    with log.open("ab") as output:
        child = subprocess.Popen(
            [sys.executable, "-m", "k8sext.cluster.providers.embedded.supervisor", layout.name, str(layout.data)],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd="/",
            start_new_session=True,
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[4])},
        )
    try:
        while (phase := layout.read_state().get("phase")) != "ready":
            if child.poll() is not None:
                message = layout.read_state().get("message") if phase == "failed" else None
                raise ClusterError(message or f"The cluster's supervisor ended:\n{process.last_words(log, 12)}")
            time.sleep(0.03)
    except BaseException:
        child.terminate()
        child.wait()
        raise


def down(layout: Layout) -> bool:
    """Stop the cluster and remove its files, as often as you like. Returns whether there was anything to stop or
    remove."""
    import filelock

    if not layout.marker.exists():
        return False
    with writing(layout.data, "The cluster's folder", "give yourself the right to write there"):
        with filelock.FileLock(layout.up_lock):
            _stop(layout)
            remove_files(layout)
        layout.up_lock.unlink(missing_ok=True)
    return True


def _stop(layout: Layout) -> None:
    """End the supervisor, and with it all programs; a supervisor that does not end in time is killed."""
    deadline = time.monotonic() + STOP_LIMIT
    _signal_supervisor(layout, signal.SIGTERM)
    while supervisor.is_running(layout):
        if time.monotonic() > deadline:
            _signal_supervisor(layout, signal.SIGKILL)
        time.sleep(0.03)
    cri.stop_all(layout.nodes, layout.sockets)
    shutil.rmtree(layout.sockets, ignore_errors=True)


def _signal_supervisor(layout: Layout, number: signal.Signals) -> None:
    """Signal who holds the lock now, if anybody: a number that was read before may be another process's by then."""
    with contextlib.suppress(ProcessLookupError):
        if pid := supervisor.running_pid(layout):
            os.kill(pid, number)


def status(layout: Layout) -> Json:
    """What runs, asked now, as k8sext.cluster.report gives it."""
    import asyncio
    from concurrent.futures import ThreadPoolExecutor

    import psutil

    running = supervisor.is_running(layout)
    state = layout.read_state() if running else {}
    config = layout.read_config()
    if not running:
        return report(layout, "down")
    components = state.get("components", {})
    context = process.tls_context(layout.pki, "admin")
    known = {c.name: c for c in all_components(layout, config)}

    async def health(name: str, entry: dict[str, Any]) -> str:
        if not entry["pid"] or not psutil.pid_exists(entry["pid"]):
            return f"restarting (ended with code {entry.get('last_exit')})" if entry["restarts"] else "starting"
        if not entry["port"]:
            return "ok"
        code, answer = await process.get(entry["port"], known[name].health_path, context)
        return "ok" if code == 200 else f"not well: {answer.strip()[:80] or code}"

    async def ask() -> list[str]:
        return await asyncio.gather(*[health(name, entry) for name, entry in components.items()])

    with ThreadPoolExecutor(1) as pool:  # in a notebook an event loop runs already in this thread
        words = pool.submit(asyncio.run, ask()).result()
    rows = []
    for (name, entry), word in zip(components.items(), words, strict=True):
        memory = None
        if entry["pid"]:
            with contextlib.suppress(psutil.NoSuchProcess):
                memory = psutil.Process(entry["pid"]).memory_info().rss
        known_as = {"pid": entry["pid"], "port": entry["port"], "restarts": entry["restarts"]}
        rows.append(component(name, _version(name, config), word, memory=memory, **known_as))
    return report(
        layout,
        state.get("phase", "starting"),
        version=state.get("version"),
        server=state.get("server"),
        pid=state.get("pid"),
        components=rows,
    )


def log_command(layout: Layout, component: str, follow: bool, tail: int) -> list[str]:
    """The command that prints a component's log. Raises ClusterError."""
    known = sorted(log.stem for log in layout.logs.glob("*.log"))
    if component not in known:
        raise ClusterError(f"There is no component {component!r}: choose one of {', '.join(known)}.")
    lines = "+1" if tail < 0 else str(tail)
    return ["tail", "-n", lines, *(["-F"] if follow else []), str(layout.logs / f"{component}.log")]


def _version(name: str, config: dict[str, Any]) -> str:
    """The version of the program that runs: what fits may differ from the constant in its last number."""
    from k8sext import __version__
    from k8sext.cluster.programs.installed import version_of

    program = config["programs"].get(name)
    return (version_of(Path(program)) or "unknown") if program else f"v{__version__}"
