"""A cluster for running notebooks: fresh, private, under the name every learner's cluster has, and gone afterwards."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from unittest import mock

from k8sext import cluster as clusters
from k8sext.cluster.programs.progress import LineProgress

STARTED = "K8SEXT_TEST_LAB"


@contextmanager
def lab() -> Iterator[clusters.Cluster]:
    """Start the cluster and point $K8SEXT_STATE at it, for this process and its children. Inside another lab(): use that.

    For the provider existing, whoever set K8SEXT_CONTEXT agreed to what the notebooks make there.
    """
    if os.environ.get(STARTED):
        yield clusters.connect()
        return
    with tempfile.TemporaryDirectory(prefix="k8sext-lab-") as folder, mock.patch.dict(os.environ):
        borrowed = os.environ.get("K8SEXT_PROVIDER") == "existing"
        for variable in ("K8SEXT_CLUSTER", "K8SEXT_DATA", *([] if borrowed else ["KUBECONFIG"])):
            os.environ.pop(variable, None)
        os.environ |= {"K8SEXT_STATE": folder, STARTED: "yes"}
        with clusters.up(progress=LineProgress(), consent=lambda plan: True) as cluster:
            yield cluster
