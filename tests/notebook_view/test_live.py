"""The view on real clusters: what kubectl does shows up in it, whatever happens to the API server meanwhile."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from k8sext.cluster import Cluster, ClusterError, PrivateApiServer, private_api_server
from k8sext.notebook.view import view
from k8sext.notebook.view.live import MOST_OPEN, REDRAW, View, ViewError
from tests.kube.servers import end_restarted, restart_api_server

Eventually = Callable[..., None]
cluster_test = pytest.mark.cluster
NAMESPACE = "cluster-view"


@pytest.fixture
def kubectl(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., str]]:
    """kubectl in a namespace of the shared cluster, to which views are pointed, too."""
    monkeypatch.setenv("KUBECONFIG", str(cluster.kubeconfig))
    with suppress(ClusterError):
        cluster.kubectl("create", "namespace", NAMESPACE)
        cluster.kubectl("wait", "--for=create", "serviceaccount/default", "--namespace", NAMESPACE, "--timeout=60s")
    yield lambda *arguments, **options: cluster.kubectl("--namespace", NAMESPACE, *arguments, **options)
    cluster.kubectl("--namespace", NAMESPACE, "delete", "pod", "--all", "--now", "--wait")


@pytest.fixture
def shown() -> Iterator[Callable[..., View]]:
    """Opens views that are closed afterwards."""
    opened: list[View] = []

    def show(*arguments: Any, **options: Any) -> View:
        opened.append(view(*arguments, **options))
        return opened[-1]

    yield show
    for one in opened:
        one.close()


def nowhere(name: str) -> str:
    """The manifest of a pod that no node takes."""
    containers = [{"name": "main", "image": "localhost/none"}]
    spec = {"nodeSelector": {"disk": "of-glass"}, "containers": containers, "automountServiceAccountToken": False}
    return json.dumps({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec})


@cluster_test
def test_a_pod_that_kubectl_makes_and_deletes_comes_and_goes(kubectl, shown, eventually: Eventually):
    live = shown(NAMESPACE)
    kubectl("create", "-f", "-", input=nowhere("comes"))
    eventually(lambda: "comes" in live.panel.picture.value)
    eventually(lambda: "pod comes" in live.panel.events.value)
    kubectl("delete", "pod", "comes", "--now")
    eventually(lambda: "comes" not in live.panel.picture.value)


@cluster_test
def test_choosing_a_waiting_pod_says_why_it_waits_and_shows_its_yaml(kubectl, shown, eventually: Eventually):
    live = shown(NAMESPACE)
    kubectl("create", "-f", "-", input=nowhere("asked"))
    eventually(lambda: [label for label, _ in live.panel.objects.options if label == "pod asked: Waiting"])
    live.panel.objects.value = next(choice for _, choice in live.panel.objects.options if choice.name == "asked")
    eventually(lambda: "Waiting: 0/3 nodes are available" in live.panel.detail.value)
    eventually(lambda: "FailedScheduling" in live.panel.detail.value)
    assert "disk: of-glass" in live.panel.detail.value
    kubectl("delete", "pod", "asked", "--now")
    eventually(lambda: "Choose an object" in live.panel.detail.value)


@cluster_test
def test_a_paused_view_stands_still_and_catches_up_later(kubectl, shown, eventually: Eventually):
    still, moving = shown(NAMESPACE), shown(NAMESPACE)
    still.panel.pause.value = True
    eventually(lambda: "paused" in still.panel.status.value)
    kubectl("create", "-f", "-", input=nowhere("late"))
    eventually(lambda: "late" in moving.panel.picture.value)
    assert "late" not in still.panel.picture.value
    still.panel.pause.value = False
    eventually(lambda: "late" in still.panel.picture.value)


@cluster_test
def test_a_namespace_can_be_chosen_and_the_picture_be_read_as_text(kubectl, shown, eventually: Eventually):
    live = shown()
    kubectl("create", "-f", "-", input=nowhere("filtered"))
    eventually(lambda: f"{NAMESPACE}/filtered" in live.panel.picture.value)
    live.panel.words.value = True
    eventually(lambda: f"waiting: {NAMESPACE}/filtered: 0/3" in live.panel.picture.value)
    eventually(lambda: NAMESPACE in dict(live.panel.namespaces.options))
    live.panel.namespaces.value = NAMESPACE
    eventually(lambda: "waiting: filtered: 0/3" in live.panel.picture.value)


@cluster_test
def test_what_is_kept_of_a_cell_holds_all_that_was_done_before_it(kubectl, shown):
    live = shown(NAMESPACE)
    kubectl("create", "-f", "-", input=nowhere("before"))
    data, metadata = live._repr_mimebundle_()
    assert set(data) == {"text/plain", "image/svg+xml", "application/vnd.jupyter.widget-view+json"}
    assert "waiting: before: " in data["text/plain"] == metadata["image/svg+xml"]["alt"]
    assert data["image/svg+xml"].startswith("<svg ")


@cluster_test
def test_a_closed_view_ends_its_thread_and_keeps_its_picture(kubectl, shown):
    live = shown(NAMESPACE)
    live.close()
    live.close()
    assert not [thread for thread in threading.enumerate() if thread.name == "cluster view"]
    assert "closed" in live.panel.status.value
    assert "The cluster, with the pods of the namespace" in repr(live)


@cluster_test
def test_of_many_open_views_the_oldest_is_closed(kubectl, shown):
    views = [shown(NAMESPACE) for _ in range(MOST_OPEN + 1)]
    assert "closed" in views[0].panel.status.value
    assert "closed" not in views[1].panel.status.value


@cluster_test
def test_a_program_with_an_open_view_ends_when_it_is_done(cluster: Cluster):
    code = "from k8sext.notebook.view import view; print(view())"
    environment = {**os.environ, "KUBECONFIG": str(cluster.kubeconfig)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0
    assert "zone lab-a" in done.stdout
    assert done.stderr == ""


@pytest.fixture(scope="module")
def server(programs: dict[str, Path]) -> Iterator[PrivateApiServer]:
    with private_api_server() as started:
        yield started
        end_restarted()


@cluster_test
def test_the_view_goes_on_after_a_restart_of_the_api_server(server, shown, eventually: Eventually, monkeypatch, capfd):
    monkeypatch.setenv("KUBECONFIG", str(server.kubeconfig))
    live = shown("default", kinds=("configmaps",))
    restart_api_server(server)

    def created() -> bool:
        with suppress(ClusterError):
            server.kubectl("create", "configmap", "afterwards")
            return True
        return False

    eventually(created, within=90)
    eventually(lambda: "afterwards" in live.panel.picture.value, within=90)
    eventually(lambda: "live" in live.panel.status.value)
    assert capfd.readouterr() == ("", ""), "what a thread prints lands in a cell that has nothing to do with it"


@cluster_test
def test_the_view_goes_on_with_a_cluster_that_was_made_anew(cluster, server, shown, eventually, monkeypatch, tmp_path):
    kubeconfig = tmp_path / "kubeconfig"
    shutil.copy(server.kubeconfig, kubeconfig)
    monkeypatch.setenv("KUBECONFIG", str(kubeconfig))
    live = shown()
    assert "0 nodes" in live._repr_mimebundle_()[0]["image/svg+xml"]
    kubeconfig.unlink()
    shutil.copy(cluster.kubeconfig, tmp_path / "new")
    (tmp_path / "new").replace(kubeconfig)
    eventually(lambda: "k8sext-worker" in live.panel.picture.value, within=60)


@cluster_test
def test_a_kind_that_comes_later_is_shown_from_then_on(cluster, kubectl, shown, eventually: Eventually):
    crd = Path(__file__).parents[2] / "manifests" / "resources" / "crd.yaml"
    manifest = crd.read_text().replace("k8s.packt.com", "later.example.com")
    live = shown(NAMESPACE, kinds="weatherreports.later.example.com")
    assert "weatherreports.later.example.com: no such kind yet" in repr(live)
    try:
        cluster.kubectl("apply", "-f", "-", input=manifest)
        eventually(lambda: ">none<" in live.panel.picture.value, within=60)
        assert "weatherreports.later.example.com: -" in repr(live)
    finally:
        cluster.kubectl("delete", "-f", "-", input=manifest)


@cluster_test
def test_many_changes_at_once_are_drawn_together(server, shown, eventually: Eventually, monkeypatch):
    monkeypatch.setenv("KUBECONFIG", str(server.kubeconfig))
    live = shown("default", kinds=("configmaps",))
    drawn: list[float] = []
    live.panel.picture.observe(lambda _: drawn.append(time.monotonic()), names="value")
    items = [{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": f"many-{number}"}} for number in range(100)]
    server.kubectl("create", "-f", "-", input=json.dumps({"apiVersion": "v1", "kind": "List", "items": items}))
    eventually(lambda: len(live.panel.objects.options) >= 100)
    assert all(later - earlier >= REDRAW * 0.9 for earlier, later in pairwise(drawn))


def test_without_a_cluster_the_reader_sees_one_sentence(monkeypatch):
    monkeypatch.delenv("KUBECONFIG", raising=False)
    with pytest.raises(ViewError, match="run the cell with %load_ext k8sext first"):
        view()


def test_a_cluster_that_does_not_answer_is_said_in_one_sentence(monkeypatch, tmp_path):
    cluster = {"name": "c", "cluster": {"server": "http://127.0.0.1:9"}}
    context = {"name": "c", "context": {"cluster": "c", "user": "u"}}
    users = [{"name": "u", "user": {"token": "none"}}]
    kubeconfig = tmp_path / "kubeconfig"
    kubeconfig.write_text(
        json.dumps({"current-context": "c", "clusters": [cluster], "contexts": [context], "users": users})
    )
    monkeypatch.setenv("KUBECONFIG", str(kubeconfig))
    with pytest.raises(ViewError, match="The cluster does not answer") as failure:
        view()
    assert len(failure.value._render_traceback_()) == 1
