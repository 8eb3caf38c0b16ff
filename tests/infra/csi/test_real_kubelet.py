"""The real kubelet registers this driver and uses its volumes, published by links as well as by bind mounts."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from k8sext.cluster import PrivateApiServer, private_api_server
from k8sext.cluster.errors import ClusterError
from k8sext.infra.cri import stop_all
from k8sext.infra.cri.built_in import BUILT_IN
from k8sext.infra.csi.proto import csi_pb2 as csi
from k8sext.infra.csi.proto import csi_pb2_grpc
from tests.infra.csi.conftest import capability
from tests.infra.real_kubelet import configuration, free_port, tidied
from tests.support.eventually import eventually

pytestmark = [
    pytest.mark.slow,
    pytest.mark.root,
    pytest.mark.cluster,
    pytest.mark.skipif(os.geteuid() != 0, reason="the real kubelet wants root"),
]
MANIFESTS = Path(__file__).parents[3] / "manifests" / "csi"


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder with a short path; and the flags of the kernel that a kubelet sets are put back."""
    path = Path(tempfile.mkdtemp(prefix="rk"))
    with tidied(path):
        yield path
    shutil.rmtree(path)


@pytest.fixture
def processes() -> Iterator[list[subprocess.Popen[bytes]]]:
    """What a test starts is ended in the reverse order."""
    started: list[subprocess.Popen[bytes]] = []
    yield started
    for process in reversed(started):
        process.send_signal(signal.SIGTERM)
        process.wait(30)


@pytest.fixture(scope="module")
def api() -> Iterator[PrivateApiServer]:
    with private_api_server() as server:
        driver = (MANIFESTS / "driver.yaml").read_text().split("---")[1]
        server.kubectl("apply", "-f", "-", input=driver)
        server.kubectl("create", "serviceaccount", "default")
        yield server


@pytest.mark.parametrize("publish", ["link", "bind"])
def test_a_pod_of_the_real_kubelet_keeps_its_data_in_our_volume(
    api: PrivateApiServer, folder: Path, processes: list[subprocess.Popen[bytes]], publish: str, real_kubelet: Path
) -> None:
    node = f"judge-{publish}"
    socket = folder / "kubelet" / "plugins_registry" / "csi.k8sext.dev.sock"
    data = folder / "kubelet" / "plugins" / "csi.k8sext.dev"

    def start(*words: str, log: str) -> None:
        with (folder / log).open("wb") as output:
            processes.append(subprocess.Popen([*words], stdout=output, stderr=output))

    words = ["--endpoint", f"unix://{socket}", "--data", str(data), "--node", node, "--publish", publish]
    start(
        sys.executable,
        "-m",
        "k8sext.infra.cri",
        "--listen",
        f"unix://{folder}/cri.sock",
        "--root",
        f"{folder}/root",
        log="cri",
    )
    start(sys.executable, "-m", "k8sext.infra.csi", *words, log="csi")
    eventually(lambda: (folder / "cri.sock").exists() and socket.exists())
    settings = configuration(folder, folder / "cri.sock", free_port())
    del settings["staticPodPath"]
    (folder / "kubelet.json").write_text(json.dumps(settings))
    places = [
        "--config",
        f"{folder}/kubelet.json",
        "--root-dir",
        f"{folder}/kubelet",
        "--cert-dir",
        f"{folder}/certificates",
    ]
    start(
        str(real_kubelet), *places, "--kubeconfig", str(api.kubeconfig), "--hostname-override", node, log="kubelet.log"
    )
    try:
        named = "jsonpath={.spec.drivers[*].name}"
        eventually(lambda: api.kubectl("get", "csinode", node, "-o", named) == "csi.k8sext.dev", not_yet=ClusterError)
        handle = make_claim(api, node, socket)
        record = data / "volumes" / handle / "volume.json"
        lines = data / "volumes" / handle / "data" / "lines"
        for run in (1, 2):
            api.kubectl("apply", "-f", "-", input=json.dumps(pod(node)))
            eventually(lambda run=run: lines.exists() and lines.read_text() == "started\n" * run)
            published = list(json.loads(record.read_text())["published"])
            assert [Path(target).is_symlink() for target in published] == [publish == "link"]
            assert (Path(published[0]) / "lines").exists()
            api.kubectl("delete", "pod", node, "--timeout=180s")
            eventually(lambda: json.loads(record.read_text())["published"] == {})
            eventually(lambda: json.loads(record.read_text())["staged"] == "")
            assert lines.read_text() == "started\n" * run
    finally:
        processes.pop().send_signal(signal.SIGTERM)
        stop_all(folder / "root", folder)


def make_claim(api: PrivateApiServer, node: str, socket: Path) -> str:
    """A volume made by hand, and a claim bound to it by hand, as there are no controllers here. Returns the volume's
    id."""
    with grpc.insecure_channel(f"unix:{socket}") as channel:
        asked = csi.CreateVolumeRequest(name="notes", volume_capabilities=[capability()])
        handle = csi_pb2_grpc.ControllerStub(channel).CreateVolume(asked).volume.volume_id
    common: dict[str, Any] = {"accessModes": ["ReadWriteOnce"], "storageClassName": ""}
    claim = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": node},
        "spec": {**common, "volumeName": node, "resources": {"requests": {"storage": "1Gi"}}},
    }
    api.kubectl("apply", "-f", "-", input=json.dumps(claim))
    uid = api.kubectl("get", "pvc", node, "-o", "jsonpath={.metadata.uid}")
    volume = {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": node},
        "spec": {
            **common,
            "capacity": {"storage": "1Gi"},
            "claimRef": {"kind": "PersistentVolumeClaim", "namespace": "default", "name": node, "uid": uid},
            "csi": {"driver": "csi.k8sext.dev", "volumeHandle": handle},
        },
    }
    api.kubectl("apply", "-f", "-", input=json.dumps(volume))
    for kind, status in (("pv", {}), ("pvc", {"capacity": {"storage": "1Gi"}})):
        bound = json.dumps({"status": {"phase": "Bound"} | status})
        api.kubectl("patch", kind, node, "--subresource=status", "--type=merge", "-p", bound)
    return handle


def pod(node: str) -> dict[str, Any]:
    container = {
        "name": "main",
        "image": BUILT_IN,
        "command": ["sh", "-c", "echo started >> /notes/lines; exec sleep 1000"],
        "volumeMounts": [{"name": "notes", "mountPath": "/notes"}],
    }
    spec = {
        "nodeName": node,
        "automountServiceAccountToken": False,
        "terminationGracePeriodSeconds": 1,
        "tolerations": [{"operator": "Exists"}],
        "containers": [container],
        "volumes": [{"name": "notes", "persistentVolumeClaim": {"claimName": node}}],
    }
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": node}, "spec": spec}
