"""The room in which exercises are solved: a cluster cleared of what earlier solutions left, and the notebooks'
folder."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

import pytest

from k8sext.cluster import Cluster, environment
from tests.exercises.room import Room
from tests.notebooks.pages import NOTEBOOKS

LEFT_BY_SOLUTIONS = {
    "namespace": ("exercises",),
    "crd": ("buoys.exercises.k8sext.io",),
    "validatingadmissionpolicy,validatingadmissionpolicybinding": ("few-replicas",),
}


def clear(cluster: Cluster) -> None:
    for kind, names in LEFT_BY_SOLUTIONS.items():
        cluster.kubectl("delete", kind, *names, "--ignore-not-found")


@pytest.fixture(scope="session", autouse=True)
def _own_ipython(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The shells of these tests write no history into the user's home."""
    with mock.patch.dict(os.environ, IPYTHONDIR=str(tmp_path_factory.mktemp("ipython"))):
        yield


@pytest.fixture(scope="module")
def room(cluster: Cluster) -> Iterator[Room]:
    before = Path.cwd()
    with mock.patch.dict(os.environ, environment(cluster)):
        clear(cluster)
        os.chdir(NOTEBOOKS)
        yield Room()
        os.chdir(before)
        clear(cluster)
