"""A cluster for running notebooks: fresh, private, under the name every learner's cluster has, and gone afterwards."""

from __future__ import annotations

import os
import signal
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest import mock

from k8sext import cluster as clusters
from k8sext.cluster.programs.progress import LineProgress

STARTED = "K8SEXT_TEST_LAB"


@contextmanager
def lab() -> Iterator[clusters.Cluster]:
    """Start the cluster and point $K8SEXT_STATE at it, for this process and its children. Inside another lab(): use
    that.

    For the provider existing, whoever set K8SEXT_CONTEXT agreed to what the notebooks make there.
    """
    if os.environ.get(STARTED):
        yield clusters.connect()
        return
    with tempfile.TemporaryDirectory(prefix="k8sext-lab-") as folder, mock.patch.dict(os.environ):
        borrowed = os.environ.get("K8SEXT_PROVIDER") == "existing"
        for variable in ("K8SEXT_CLUSTER", "K8SEXT_DATA", *([] if borrowed else ["KUBECONFIG"])):
            os.environ.pop(variable, None)
        # Kernels are killed in the end, and cannot remove the files that they keep for a while.
        (temporary := Path(folder) / "tmp").mkdir()
        os.environ |= {"K8SEXT_STATE": folder, "TMPDIR": str(temporary), STARTED: "yes"}
        if signal.getsignal(signal.SIGTERM) == signal.SIG_DFL:  # whoever ends us early ends the cluster, too
            signal.signal(signal.SIGTERM, signal.default_int_handler)
        with clusters.up(progress=LineProgress(), consent=lambda plan: True) as cluster:
            yield cluster
