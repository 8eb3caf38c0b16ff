"""One API server with two nodes: `real`, a real kubelet on our runtime, and `ours`."""

from __future__ import annotations

import contextlib
import json
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kubernetes

from k8sext.cluster import PrivateApiServer, private_api_server
from k8sext.infra import nodes
from k8sext.infra.cri import stop_all
from k8sext.kube import certificates as x509
from tests.infra.kubelet.differential.random_pods import Case, Json
from tests.infra.real_kubelet import configuration, free_port, tidied
from tests.support.eventually import eventually

SIDES = ("real", "ours")


class Seen:
    """What a watch told about one pod: every version of it with the time, and whether it is gone."""

    def __init__(self) -> None:
        self.versions: list[tuple[float, Json]] = []
        self.deleted: float | None = None
        self.gone: float | None = None

    @property
    def status(self) -> Json:
        return self.versions[-1][1]["status"] if self.versions else {}


class TwoKubelets:
    """The two nodes, and what happens to the pods there."""

    def __init__(self, api: PrivateApiServer, folder: Path) -> None:
        self.api, self.folder = api, folder
        client = kubernetes.config.new_client_from_config(str(api.kubeconfig))
        self.core = kubernetes.client.CoreV1Api(client)
        self.seen: dict[str, Seen] = defaultdict(Seen)
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._follow, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._end.set()
        self._thread.join(10)

    def create(self, case: Case, side: str) -> None:
        """Make the pod on one side."""
        name = f"{case.name}-{side}"
        place = f"/var/lib/kubelet/traces/{name}" if side == "ours" else str(self.trace(name).parent)
        trace = {"path": place, "type": "DirectoryOrCreate"}
        spec = case.spec | {
            "nodeName": side,
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            "tolerations": [{"operator": "Exists"}],
            "volumes": [{"name": "trace", "hostPath": trace}],
        }
        body: Any = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec}
        self.core.create_namespaced_pod("default", body)

    def delete(self, case: Case, side: str) -> None:
        name = f"{case.name}-{side}"
        self.seen[name].deleted = time.monotonic()
        self.core.delete_namespaced_pod(name, "default")

    def trace(self, name: str) -> Path:
        """The file in which the containers of a pod say what they do."""
        side = name.rpartition("-")[2]
        return self.folder / side / ("ours/kubelet" if side == "ours" else "") / "traces" / name / "lines"

    def events(self, name: str) -> list[Json]:
        found = self.api.kubectl("get", "events", "--field-selector", f"involvedObject.name={name}", "-o", "json")
        return json.loads(found)["items"]

    def _follow(self) -> None:
        watch = kubernetes.watch.Watch()
        since = self.core.list_namespaced_pod("default").metadata.resource_version  # type: ignore[union-attr]
        while not self._end.is_set():
            stream: Any = watch.stream(
                self.core.list_namespaced_pod, "default", timeout_seconds=5, resource_version=since
            )
            for event in stream:
                since = event["raw_object"]["metadata"]["resourceVersion"]
                self._note(event["type"], event["raw_object"])

    def _note(self, kind: str, pod: Json) -> None:
        seen, now = self.seen[pod["metadata"]["name"]], time.monotonic()
        if not seen.versions or seen.versions[-1][1] != pod:
            seen.versions.append((now, pod))
        if kind == "DELETED":
            seen.gone = now


@contextlib.contextmanager
def two_kubelets(kubelet: Path) -> Iterator[TwoKubelets]:
    """Start all of it, and leave nothing of it."""
    with contextlib.ExitStack() as end:
        folder = Path(tempfile.mkdtemp(prefix="2k"))
        end.callback(shutil.rmtree, folder)
        end.enter_context(tidied(folder))
        api = end.enter_context(private_api_server())
        api.kubectl("create", "serviceaccount", "default")
        _start_real(kubelet, api, folder, end)
        _start_ours(api, folder, end)
        ready = "jsonpath={.items[*].status.conditions[?(@.type=='Ready')].status}"
        eventually(lambda: api.kubectl("get", "nodes", "-o", ready) == "True True")
        both = TwoKubelets(api, folder)
        end.callback(both.close)
        yield both


def _start_real(kubelet: Path, api: PrivateApiServer, folder: Path, end: contextlib.ExitStack) -> None:
    place = folder / "real"
    place.mkdir()
    runtime = ["-m", "k8sext.infra.cri", "--listen", f"unix://{place}/cri.sock", "--root", f"{place}/root"]
    end.callback(stop_all, place / "root", place)
    _run(end, place / "cri.log", sys.executable, *runtime, "--loopback", "127.246")
    eventually((place / "cri.sock").exists)
    settings = configuration(place, place / "cri.sock", free_port())
    del settings["staticPodPath"]
    (place / "kubelet.json").write_text(json.dumps(settings))
    places = ["--config", f"{place}/kubelet.json", "--root-dir", f"{place}/kubelet", "--cert-dir", f"{place}/certs"]
    access = ["--kubeconfig", str(api.kubeconfig), "--hostname-override", "real"]
    _run(end, place / "kubelet.log", str(kubelet), *places, *access)


def _start_ours(api: PrivateApiServer, folder: Path, end: contextlib.ExitStack) -> None:
    place = folder / "ours"
    (place / "ours").mkdir(parents=True)
    spec = nodes.NodeSpec("ours", 7)
    nodes.write(place / "nodes.json", nodes.Nodes({"ours": spec}))
    shutil.copy(api.kubeconfig, place / "ours" / "kubeconfig")
    ca = x509.Pair.load(api.folder / "pki", "ca")
    x509.issue(ca, "system:node:ours", ["system:nodes"], hosts=("127.0.0.1",)).save(place / "ours", "kubelet")
    common = ["--nodes", f"{place}/nodes.json", "--root-dir", str(place), "--socket-dir", str(place)]
    common += ["--loopback", "127.247"]
    end.callback(stop_all, place, place)
    _run(end, place / "cri.log", sys.executable, "-m", "k8sext.infra.cri", *common)
    ca_file = ["--client-ca-file", str(api.folder / "pki" / "ca.crt")]
    _run(end, place / "kubelet.log", sys.executable, "-m", "k8sext.infra.kubelet", *common, *ca_file)


def _run(end: contextlib.ExitStack, log: Path, *command: str) -> None:
    with log.open("wb") as output:
        child = subprocess.Popen(command, stdout=output, stderr=output)
    end.callback(child.wait, 30)
    end.callback(child.send_signal, signal.SIGTERM)
