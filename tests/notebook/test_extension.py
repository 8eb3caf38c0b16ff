"""`%load_ext k8sext` on a running cluster."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import pytest

from k8sext.cluster import Cluster, ClusterError, paths
from k8sext.notebook import extension


class RecordingIPython:
    """Keeps what the extension sets."""

    system = None
    getoutput = None

    def __init__(self):
        self.input_transformers_cleanup = []
        self.user_ns = {}
        self.extension_manager = SimpleNamespace(loaded={"k8sext"})
        self.events = self
        self.callbacks = []

    def register(self, event, callback):
        self.callbacks.append(callback)

    def unregister(self, event, callback):
        self.callbacks.remove(callback)

    def register_magic_function(self, function, kind, name):
        self.magic = (kind, name)

    def push(self, names, interactive):
        self.user_ns |= names


def test_without_a_cluster_the_reader_sees_one_sentence(monkeypatch):
    def refuse() -> Cluster:
        raise ClusterError("Port 6443 is taken: choose another.")

    monkeypatch.setattr(extension, "connect", refuse)
    with pytest.raises(extension.NoCluster) as failure:
        extension.load(RecordingIPython())
    assert failure.value._render_traceback_() == ["NoCluster: Port 6443 is taken: choose another."]


@pytest.mark.cluster
def test_loading_says_one_line_and_points_commands_at_the_cluster(cluster: Cluster, monkeypatch, capsys):
    monkeypatch.setattr(extension, "connect", lambda: cluster)
    ipython = RecordingIPython()
    with mock.patch.dict(os.environ):
        extension.load(ipython)
        assert os.environ["KUBECONFIG"] == str(cluster.kubeconfig)
        assert os.environ["PATH"].split(os.pathsep)[0] == str(cluster.programs["kubectl"].parent)
    assert capsys.readouterr().out == "Connected: kubectl v1.37.2, API server v1.37.2.\n"
    assert ipython.system
    assert ipython.getoutput
    assert ipython.magic == ("cell", "sh")
    assert set(ipython.user_ns) == {"check", "hint", "solution", "view"}


@pytest.mark.cluster
def test_loading_again_connects_again_and_installs_nothing_twice(cluster: Cluster, monkeypatch, capsys):
    monkeypatch.setattr(extension, "connect", lambda: cluster)
    ipython = RecordingIPython()
    with mock.patch.dict(os.environ):
        for _ in range(2):
            ipython.extension_manager.loaded.add("k8sext")
            extension.load(ipython)
            for callback in list(ipython.callbacks):  # as IPython does when the cell is done
                callback()
            assert ipython.extension_manager.loaded == set()
            assert ipython.callbacks == []
    assert capsys.readouterr().out.count("Connected: kubectl") == 2
    assert len(ipython.input_transformers_cleanup) == 1


@pytest.mark.cluster
def test_a_command_that_failed_because_the_cluster_is_gone_says_what_to_do(cluster: Cluster):
    assert extension._advice(cluster, "kubectl get nodes") == ""
    gone: Any = SimpleNamespace(server="https://127.0.0.1:1")
    assert "first cell, %load_ext k8sext" in extension._advice(gone, "kubectl get nodes")


def test_a_cluster_that_was_taken_down_has_no_address_and_says_so(tmp_path: Path) -> None:
    removed = Cluster("gone", "embedded", paths.layout("gone", tmp_path))
    assert "first cell, %load_ext k8sext" in extension._advice(removed, "kubectl get nodes")
    for ask in (lambda: removed.server, lambda: removed.programs, lambda: removed.kubectl("get", "nodes")):
        with pytest.raises(ClusterError, match="The cluster gone is gone: start it again with `k8sext up`"):
            ask()
