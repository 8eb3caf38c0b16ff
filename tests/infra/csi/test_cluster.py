"""The driver on the embedded cluster, as learners deploy it: claims, growth, what stays and what goes."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from k8sext.cluster import ClusterError
from k8sext.kube.objects import Json
from tests.infra.kubelet.conftest import IMAGE
from tests.support.namespace import OwnNamespace, fresh_namespace

pytestmark = pytest.mark.cluster
MANIFESTS = Path(__file__).parents[3] / "manifests" / "csi"


class Storage(OwnNamespace):
    """A namespace of one test on a cluster with the driver."""

    def apply(self, file: str) -> None:
        self.kubectl("apply", "-f", str(MANIFESTS / file))

    def read(self, pod: str, path: str) -> str:
        return self.kubectl("exec", pod, "--", "cat", path)

    def volume(self, claim: str) -> Json:
        return self.get("pv", self.get("pvc", claim)["spec"]["volumeName"])

    def folder(self, volume: Json) -> Path:
        """Where the driver keeps the files of a volume."""
        node = volume["spec"]["nodeAffinity"]["required"]["nodeSelectorTerms"][0]["matchExpressions"][0]["values"][0]
        driver = Path(self.cluster.layout.nodes, node, "kubelet", "plugins", "csi.k8sext.dev")
        return driver / "volumes" / volume["spec"]["csi"]["volumeHandle"]

    def ready(self, pod: str) -> None:
        self.kubectl("wait", "--for=condition=Ready", f"pod/{pod}", "--timeout=180s")

    def traces(self, uid: str) -> list[Path]:
        """What kubelets still have of a pod."""
        return [*Path(self.cluster.layout.nodes).glob(f"*/kubelet/pods/{uid}")]

    def kill_kubelet(self) -> None:
        component = next(c for c in self.cluster.status()["components"] if c["name"] == "kubelet")
        os.kill(component["pid"], signal.SIGKILL)
        self.until(lambda: self._kubelet() not in (None, component["pid"]))

    def _kubelet(self) -> int | None:
        return next(c["pid"] for c in self.cluster.status()["components"] if c["name"] == "kubelet")


@pytest.fixture(scope="module")
def deployed(cluster: Any) -> Iterator[Any]:
    """The cluster with the driver on every node."""
    cluster.kubectl("apply", "-f", str(MANIFESTS / "driver.yaml"))
    cluster.kubectl("--namespace", "k8sext-csi", "rollout", "status", "daemonset/k8sext-csi", "--timeout=120s")
    yield cluster
    cluster.kubectl("delete", "-f", str(MANIFESTS / "driver.yaml"))


@pytest.fixture(scope="module")
def namespace(deployed: Any) -> Iterator[str]:
    with fresh_namespace(deployed, "csi") as name:
        yield name


@pytest.fixture
def storage(deployed: Any, namespace: str) -> Iterator[Storage]:
    found = Storage(deployed, namespace)
    yield found
    found.kubectl("delete", "statefulset,pod,pvc,event", "--all", "--timeout=180s")
    claimed = "jsonpath={.items[*].spec.claimRef.namespace}"
    found.until(lambda: namespace not in deployed.kubectl("get", "pv", "-o", claimed))


def test_a_node_says_which_driver_it_has(storage: Storage) -> None:
    node = storage.get("csinode", "k8sext-worker")
    assert node["spec"]["drivers"] == [
        {"name": "csi.k8sext.dev", "nodeID": "k8sext-worker", "topologyKeys": ["topology.csi.k8sext.dev/node"]}
    ]
    assert storage.get("node", "k8sext-worker")["metadata"]["labels"]["topology.csi.k8sext.dev/node"] == "k8sext-worker"


@pytest.mark.slow
def test_two_replicas_keep_their_data_over_pod_deletion_and_a_killed_kubelet(storage: Storage) -> None:
    storage.apply("statefulset.yaml")
    starts = [0, 0]

    def started(*replicas: int) -> None:
        """So many lines, one for each start, stand in each volume now."""
        for n in replicas:
            starts[n] += 1
        for n in (0, 1):
            lines = [f"a start of diary-{n}"] * starts[n]
            storage.until(lambda n=n, lines=lines: storage.read(f"diary-{n}", "/diary/entries").splitlines() == lines)

    started(0, 1)
    first = [storage.get("pod", f"diary-{n}")["metadata"]["uid"] for n in (0, 1)]
    storage.kubectl("delete", "pod", "diary-0", "diary-1")
    started(0, 1)
    storage.kill_kubelet()
    storage.kubectl("delete", "pod", "diary-0")  # its volume was published by the kubelet that was killed
    started(0)
    storage.until(lambda: not any(storage.traces(uid) for uid in first))


def test_a_volume_that_nobody_uses_any_more_is_taken_back_and_removed(storage: Storage) -> None:
    storage.apply("claim.yaml")
    storage.apply("pod.yaml")
    storage.ready("writer")
    volume, uid = storage.volume("notes"), storage.get("pod", "writer")["metadata"]["uid"]
    folder = storage.folder(volume)
    published = json.loads((folder / "volume.json").read_text())["published"]
    assert [target.split("/")[5] for target in published] == [uid]
    storage.kubectl("delete", "pod", "writer")
    record = json.loads((folder / "volume.json").read_text())
    assert (record["staged"], record["published"]) == ("", {})
    storage.until(lambda: not storage.traces(uid))
    storage.kubectl("delete", "pvc", "notes")
    storage.until(lambda: not folder.exists())
    storage.until(lambda: volume["metadata"]["name"] not in storage.kubectl("get", "pv", "-o", "name"))


def test_a_pod_may_bring_a_volume_of_its_own_that_goes_with_it(storage: Storage) -> None:
    claim = {
        "accessModes": ["ReadWriteOnce"],
        "storageClassName": "k8sext",
        "resources": {"requests": {"storage": "1Mi"}},
    }
    container = {
        "name": "main",
        "image": IMAGE,
        "command": ["sh", "-c", "echo here > /own/file; sleep 1000"],
        "volumeMounts": [{"name": "own", "mountPath": "/own"}],
    }
    template = {"ephemeral": {"volumeClaimTemplate": {"spec": claim}}}
    spec = {
        "terminationGracePeriodSeconds": 1,
        "containers": [container],
        "volumes": [{"name": "own"} | template],
    }
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "owner"}, "spec": spec}
    storage.kubectl("apply", "-f", "-", input=json.dumps(pod))
    storage.ready("owner")
    storage.until(lambda: storage.read("owner", "/own/file") == "here\n")
    assert storage.get("pvc", "owner-own")["status"]["phase"] == "Bound"
    storage.kubectl("delete", "pod", "owner")
    storage.until(lambda: "owner-own" not in storage.kubectl("get", "pvc", "-o", "name"))


def test_a_claim_of_somebody_else_is_not_taken_for_a_pods_own(storage: Storage) -> None:
    storage.apply("claim.yaml")
    claim = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Mi"}}}
    container = {"name": "main", "image": "x", "volumeMounts": [{"name": "notes", "mountPath": "/own"}]}
    named = {"name": "thief-notes", "annotations": {"volume.kubernetes.io/selected-node": "k8sext-worker"}}
    spec = storage.get("pvc", "notes")["spec"]
    other = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": named,
        "spec": spec,
    }
    storage.kubectl("apply", "-f", "-", input=json.dumps(other))
    spec = {
        "nodeName": "k8sext-worker",
        "containers": [container],
        "volumes": [{"name": "notes", "ephemeral": {"volumeClaimTemplate": {"spec": claim}}}],
    }
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "thief"}, "spec": spec}
    storage.until(lambda: storage.get("pvc", "thief-notes")["status"]["phase"] == "Bound")
    storage.kubectl("apply", "-f", "-", input=json.dumps(pod))
    words = "was not created for pod"
    storage.until(lambda: words in storage.kubectl("get", "events", "-o", "jsonpath={.items[*].message}"))


@pytest.mark.slow
def test_a_pod_that_went_while_no_kubelet_ran_leaves_nothing_published(storage: Storage) -> None:
    storage.apply("claim.yaml")
    storage.apply("pod.yaml")
    storage.ready("writer")
    folder, uid = storage.folder(storage.volume("notes")), storage.get("pod", "writer")["metadata"]["uid"]
    storage.kill_kubelet()
    storage.kubectl("delete", "pod", "writer", "--force", "--grace-period=0")
    storage.until(lambda: not storage.traces(uid))
    storage.until(lambda: json.loads((folder / "volume.json").read_text())["published"] == {})


def test_a_claim_that_asks_for_more_gets_it_while_its_pod_runs(storage: Storage) -> None:
    storage.apply("claim.yaml")
    storage.apply("pod.yaml")
    storage.ready("writer")
    storage.kubectl("patch", "pvc", "notes", "-p", '{"spec":{"resources":{"requests":{"storage":"32Mi"}}}}')
    storage.until(lambda: storage.get("pvc", "notes")["status"]["capacity"] == {"storage": "32Mi"})
    claim = storage.get("pvc", "notes")
    assert "FileSystemResizePending" not in {c["type"] for c in claim["status"].get("conditions", [])}
    assert not claim["status"].get("allocatedResourceStatuses")
    assert storage.volume("notes")["spec"]["capacity"] == {"storage": "32Mi"}
    node = storage.get("pod", "writer")["spec"]["nodeName"]
    metrics = storage.kubectl("get", "--raw", f"/api/v1/nodes/{node}/proxy/metrics")
    assert f'capacity_bytes{{namespace="{storage.name}",persistentvolumeclaim="notes"}} {32 << 20}' in metrics


def test_a_retained_volume_stays_with_its_files(storage: Storage) -> None:
    storage.apply("claim.yaml")
    storage.apply("pod.yaml")
    storage.ready("writer")
    volume = storage.volume("notes")
    name, folder = volume["metadata"]["name"], storage.folder(volume)
    storage.kubectl("patch", "pv", name, "-p", '{"spec":{"persistentVolumeReclaimPolicy":"Retain"}}')
    storage.kubectl("exec", "writer", "--", "sh", "-c", "echo kept > /notes/file")
    storage.kubectl("delete", "pod/writer", "pvc/notes")
    storage.until(lambda: storage.get("pv", name)["status"]["phase"] == "Released")
    assert (folder / "data" / "file").read_text() == "kept\n"
    storage.kubectl("patch", "pv", name, "-p", '{"spec":{"persistentVolumeReclaimPolicy":"Delete"}}')
    storage.until(lambda: not folder.exists())


def test_a_class_that_binds_at_once_is_refused_in_words(storage: Storage) -> None:
    bad = {
        "apiVersion": "storage.k8s.io/v1",
        "kind": "StorageClass",
        "metadata": {"name": storage.name},
        "provisioner": "csi.k8sext.dev",
        "volumeBindingMode": "Immediate",
    }
    claim = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": "hasty"},
        "spec": {
            "storageClassName": storage.name,
            "accessModes": ["ReadWriteOnce"],
            "resources": {"requests": {"storage": "1Mi"}},
        },
    }
    for item in (bad, claim):
        storage.kubectl("apply", "-f", "-", input=json.dumps(item))
    try:
        storage.until(lambda: "must say volumeBindingMode: WaitForFirstConsumer" in storage.kubectl("get", "events"))
    finally:
        storage.kubectl("delete", "storageclass", storage.name)


def test_no_privilege_leads_from_a_host_path_to_the_rest_of_the_machine(storage: Storage) -> None:
    volume = {"name": "root", "hostPath": {"path": "/var/lib/kubelet/../../../etc", "type": "Directory"}}
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "curious"},
        "spec": {"containers": [{"name": "main", "image": "localhost/k8sext:0.1.0"}], "volumes": [volume]},
    }
    with pytest.raises(ClusterError, match=r"must not contain '\.\.'"):
        storage.kubectl("apply", "-f", "-", input=json.dumps(pod))
    volume["hostPath"] = {"path": "/etc", "type": "Directory"}
    storage.kubectl("apply", "-f", "-", input=json.dumps(pod))
    storage.until(lambda: "/etc is refused" in storage.kubectl("get", "events"))
