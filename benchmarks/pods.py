"""Starting pods: `process`, `oci` and containerd, each by the same four calls of the CRI, as a kubelet makes them.

They take turns on the same machine: RunPodSandbox, CreateContainer, StartContainer until the container runs, and the
way back. containerd and runc are taken from PATH and want root, and have a network and mounts of their own; without
them only our own ways are measured.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc

from benchmarks.report import Row
from k8sext.infra.cri import stop_all
from k8sext.infra.cri.built_in import BUILT_IN
from k8sext.infra.cri.handlers.oci import capability_checks as possible
from k8sext.infra.cri.proto import api_pb2 as api
from k8sext.infra.cri.proto import api_pb2_grpc
from tests.conformance import busybox

PODS = 10
PATIENCE = 60.0
IMAGE = "localhost/busybox:1"
OWN_NAMESPACES = ["unshare", "--net", "--mount", "--propagation", "private", "--"]
NETWORK = """{"cniVersion": "1.0.0", "name": "pods", "plugins": [{"type": "bridge", "bridge": "cni0", "isGateway": true,
  "ipam": {"type": "host-local", "dataDir": "%s/cni", "ranges": [[{"subnet": "10.8.0.0/16"}]],
           "routes": [{"dst": "0.0.0.0/0"}]}}]}"""
CONFIG = """version = 2
root = "{0}/containerd"
state = "{0}/state"
[grpc]
  address = "{0}/cri.sock"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{1}"
  restrict_oom_score_adj = true
  disable_apparmor = true
[plugins."io.containerd.grpc.v1.cri".containerd]
  snapshotter = "{2}"
[plugins."io.containerd.grpc.v1.cri".cni]
  bin_dir = "/usr/lib/cni"
  conf_dir = "{0}/net.d"
[plugins."io.containerd.internal.v1.opt"]
  path = "{0}/opt"
"""


@dataclass(frozen=True)
class Way:
    """A runtime's socket, and what a pod asks it for."""

    socket: Path
    handler: str
    image: str


def run(rounds: int) -> Iterator[Row]:
    """Milliseconds from the first call until the container runs, and from the first of the way back until all is
    gone."""
    with contextlib.ExitStack() as stack:
        ways = dict(_ways(stack))
        found: dict[str, tuple[list[float], list[float]]] = {name: ([], []) for name in ways}
        for name in ways:
            _pod(ways[name])  # the first of each makes bridges and reads programs from the disk
        for _ in range(rounds * PODS):
            for name, way in ways.items():
                for times, seconds in zip(found[name], _pod(way), strict=True):
                    times.append(1000 * seconds)
    peer = found.get("containerd", ([], []))
    for name in [name for name in found if name != "containerd"]:
        for number, what in enumerate(("start", "stop and remove")):
            yield Row(f"pod {what}, {name}", "ms", found[name][number], "containerd" if peer[0] else "", peer[number])


def _ways(stack: contextlib.ExitStack) -> Iterator[tuple[str, Way]]:
    """Start what can be run here."""
    ours = stack.enter_context(_server())
    yield "process", Way(ours, "", BUILT_IN)
    if not possible.obstacles():
        yield "oci", Way(ours, "oci", BUILT_IN)
    box = shutil.which("busybox")
    if os.geteuid() == 0 and box and all(map(shutil.which, ("containerd", "ctr", "runc"))):
        yield "containerd", Way(stack.enter_context(_containerd(box)), "", IMAGE)


def _pod(way: Way) -> tuple[float, float]:
    with grpc.insecure_channel(f"unix:{way.socket}") as channel:
        calls: Any = api_pb2_grpc.RuntimeServiceStub(channel)
        calls.Version(api.VersionRequest(), wait_for_ready=True, timeout=PATIENCE)
        metadata = api.PodSandboxMetadata(name="pod", namespace="default", uid=secrets.token_hex(8))
        pod = api.PodSandboxConfig(metadata=metadata, hostname="pod", log_directory=str(way.socket.parent / "logs"))
        main = api.ContainerConfig(
            metadata=api.ContainerMetadata(name="main"),
            image=api.ImageSpec(image=way.image),
            command=["sleep", "1000"],
            log_path=f"{metadata.uid}.log",
        )
        began = time.perf_counter()
        sandbox = calls.RunPodSandbox(api.RunPodSandboxRequest(config=pod, runtime_handler=way.handler)).pod_sandbox_id
        try:
            create = api.CreateContainerRequest(pod_sandbox_id=sandbox, config=main, sandbox_config=pod)
            container = calls.CreateContainer(create).container_id
            calls.StartContainer(api.StartContainerRequest(container_id=container))
            running = time.perf_counter()
            calls.StopContainer(api.StopContainerRequest(container_id=container, timeout=0))
        finally:
            calls.StopPodSandbox(api.StopPodSandboxRequest(pod_sandbox_id=sandbox))
            calls.RemovePodSandbox(api.RemovePodSandboxRequest(pod_sandbox_id=sandbox))
        return running - began, time.perf_counter() - running


@contextlib.contextmanager
def _server() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="pods") as name:
        folder = Path(name)
        words = ["--listen", f"unix://{folder}/cri.sock", "--root", str(folder / "root")]
        server = subprocess.Popen([sys.executable, "-m", "k8sext.infra.cri", *words], stderr=subprocess.DEVNULL)
        try:
            yield _wait_for(folder / "cri.sock", server)
        finally:
            server.terminate()
            server.wait(PATIENCE)
            stop_all(folder / "root", folder)


@contextlib.contextmanager
def _containerd(box: str) -> Iterator[Path]:
    """containerd with the CNI project's bridge, and an image made of busybox: for containers, and as the pause
    container's."""
    with tempfile.TemporaryDirectory(prefix="pods", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        (folder / "net.d").mkdir()
        (folder / "net.d" / "pods.conflist").write_text(NETWORK % folder)
        (folder / "config.toml").write_text(CONFIG.format(folder, IMAGE, "native"))
        busybox.image(folder / "busybox.tar", IMAGE, box, ["/bin/sleep", "1000000"])
        with (folder / "log").open("wb") as log:
            command = [*OWN_NAMESPACES, "containerd", "--config", str(folder / "config.toml")]
            server = subprocess.Popen(command, stdout=log, stderr=log)
        try:
            socket = _wait_for(folder / "cri.sock", server)
            ctr = ["ctr", "--address", str(socket), "--namespace", "k8s.io"]
            load = [*ctr, "images", "import", "--snapshotter", "native", str(folder / "busybox.tar")]
            subprocess.run(load, check=True, capture_output=True)
            yield socket
        finally:
            server.terminate()
            server.wait(PATIENCE)


def _wait_for(socket: Path, server: subprocess.Popen[bytes]) -> Path:
    deadline = time.monotonic() + PATIENCE
    while not socket.exists():
        if server.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"{server.args} does not serve at {socket}")
        time.sleep(0.05)
    return socket
