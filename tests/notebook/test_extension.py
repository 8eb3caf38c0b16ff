"""`%load_ext k8sext` on a running cluster."""

from __future__ import annotations

import os
from unittest import mock

import pytest

from k8sext.cluster import Cluster, ClusterError
from k8sext.notebook import extension


class RecordingIPython:
    """Keeps what the extension sets."""

    system = None
    getoutput = None

    def __init__(self):
        self.input_transformers_cleanup = []
        self.user_ns = {}

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
