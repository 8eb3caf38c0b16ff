"""Storage: a volume's way to a pod and back, by links and by bind mounts, beside the Go driver csi-driver-host-path;
and pods with a claim.

The peer is taken from PATH (`hostpathplugin`) and wants root, as bind mounts do; without it only our own ways are
measured. Its calls are the same and go through the same client.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc

from benchmarks.report import Row
from k8sext import __version__, cluster
from k8sext.infra.csi.proto import csi_pb2 as csi
from k8sext.infra.csi.proto import csi_pb2_grpc

CYCLES = 100
MANIFESTS = Path(__file__).parents[1] / "manifests" / "csi"
HOW = csi.VolumeCapability(
    mount=csi.VolumeCapability.MountVolume(),
    access_mode=csi.VolumeCapability.AccessMode(mode=csi.VolumeCapability.AccessMode.SINGLE_NODE_WRITER),
)
LINK, BIND, PEER = "links", "bind mounts", "csi-driver-host-path"


def run(rounds: int) -> Iterator[Row]:
    """The ways take turns; each figure is the mean of a hundred cycles, in milliseconds."""
    ways = ways_here()
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, command in ways.items():
            found[name].append(_measure(command))
    for name in list(ways)[1:]:
        for number, what in enumerate(("create and delete", "stage, publish, unpublish, unstage")):
            ours, peer = ([pair[number] for pair in found[way]] for way in (LINK, name))
            yield Row(f"{what}, by links", "ms", ours, name, peer)
    yield from _pods(rounds)


def ways_here() -> dict[str, Callable[[Path], list[str]]]:
    """The drivers that can be run here, as commands for a folder; the first is ours without privilege."""

    def ours(publish: str) -> Callable[[Path], list[str]]:
        words = [
            sys.executable,
            "-m",
            "k8sext.infra.csi",
            "--node",
            "n",
            "--publish",
            publish,
            "--log-level",
            "WARNING",
        ]
        return lambda folder: [*words, "--endpoint", f"unix://{folder}/csi.sock", "--data", str(folder / "data")]

    ways = {LINK: ours("link")}
    if os.geteuid() == 0:
        ways[BIND] = ours("bind")
        if peer := shutil.which("hostpathplugin"):
            ways[PEER] = lambda folder: [
                peer,
                "--drivername=hostpath.csi.k8s.io",
                "--nodeid=n",
                f"--endpoint=unix://{folder}/csi.sock",
                f"--statedir={folder}/data",
            ]
    return ways


def _measure(command: Callable[[Path], list[str]]) -> tuple[float, float]:
    """Milliseconds of one creation with deletion, and of one way to a pod and back."""
    with _driver(command) as (folder, channel):
        controller, node = csi_pb2_grpc.ControllerStub(channel), csi_pb2_grpc.NodeStub(channel)
        size = csi.CapacityRange(required_bytes=1 << 20)

        def create(name: str) -> str:
            asked = csi.CreateVolumeRequest(name=name, capacity_range=size, volume_capabilities=[HOW])
            return controller.CreateVolume(asked).volume.volume_id

        def live(number: int) -> None:
            controller.DeleteVolume(csi.DeleteVolumeRequest(volume_id=create(f"v{number}")))

        id = create("published")
        staging, target = str(folder / "staging"), str(folder / "target")
        common = {"volume_id": id, "volume_capability": HOW}
        there = csi.NodeStageVolumeRequest(staging_target_path=staging, **common)
        given = csi.NodePublishVolumeRequest(staging_target_path=staging, target_path=target, **common)

        def travel(_: int) -> None:
            Path(staging).mkdir(exist_ok=True)
            node.NodeStageVolume(there)
            node.NodePublishVolume(given)
            node.NodeUnpublishVolume(csi.NodeUnpublishVolumeRequest(volume_id=id, target_path=target))
            node.NodeUnstageVolume(csi.NodeUnstageVolumeRequest(volume_id=id, staging_target_path=staging))

        return _mean(live), _mean(travel)


def _mean(work: Callable[[int], None]) -> float:
    work(-1)
    began = time.perf_counter()
    for number in range(CYCLES):
        work(number)
    return (time.perf_counter() - began) / CYCLES * 1000


@contextmanager
def _driver(command: Callable[[Path], list[str]]) -> Iterator[tuple[Path, grpc.Channel]]:
    folder = Path(tempfile.mkdtemp(prefix="csi"))
    process = subprocess.Popen(command(folder), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        # an authority made from the socket's path would be refused by servers written in Go
        with grpc.insecure_channel(
            f"unix:{folder}/csi.sock", options=[("grpc.default_authority", "localhost")]
        ) as channel:
            grpc.channel_ready_future(channel).result(timeout=30)
            yield folder, channel
    finally:
        process.terminate()
        process.wait(20)
        shutil.rmtree(folder)


def _pods(rounds: int) -> Iterator[Row]:
    """From `kubectl create` to Ready, with a claim that needs a new volume, beside an emptyDir."""
    claimed, empty = [], []
    with cluster.up("bench") as found:
        found.kubectl("apply", "-f", str(MANIFESTS / "driver.yaml"))
        found.kubectl("rollout", "status", "daemonset/k8sext-csi", "-n", "k8sext-csi", "--timeout=120s")
        for number in range(rounds):
            claimed.append(
                _pod(found, f"claimed-{number}", {"persistentVolumeClaim": {"claimName": f"claimed-{number}"}})
            )
            empty.append(_pod(found, f"empty-{number}", {"emptyDir": {}}))
    yield Row("pod with a new claim, created to Ready", "s", claimed, "with an emptyDir", empty)


def _pod(found: cluster.Cluster, name: str, volume: dict[str, Any]) -> float:
    container = {
        "name": "main",
        "image": f"localhost/k8sext:{__version__}",
        "command": ["sleep", "infinity"],
        "volumeMounts": [{"name": "v", "mountPath": "/v"}],
    }
    items: list[dict[str, Any]] = [
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": name},
            "spec": {"containers": [container], "volumes": [{"name": "v", **volume}]},
        }
    ]
    if "persistentVolumeClaim" in volume:
        spec = {"storageClassName": "k8sext", "accessModes": ["ReadWriteOnce"]}
        spec |= {"resources": {"requests": {"storage": "1Mi"}}}
        items.insert(0, {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": name}, "spec": spec})
    began = time.perf_counter()
    found.kubectl("create", "-f", "-", input=json.dumps({"apiVersion": "v1", "kind": "List", "items": items}))
    found.kubectl("wait", "--for=condition=Ready", f"pod/{name}", "--timeout=120s")
    seconds = time.perf_counter() - began
    found.kubectl("delete", "pod", name, "--grace-period=1")
    return seconds
