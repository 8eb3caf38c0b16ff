"""Take the official programs from their real addresses, and start a cluster with them: `python -m tests.download`.

Nothing that this machine has already counts: not PATH, no cache, no mirror. Run by hand and weekly in CI, since only
the internet can answer. `--mirror URL` asks a mirror with the official layout instead.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from pathlib import Path
from unittest import mock

from k8sext import __version__
from k8sext import cluster as clusters
from k8sext.cluster import programs
from k8sext.cluster.programs.installed import version_of
from k8sext.cluster.programs.progress import LineProgress, Progress
from k8sext.cluster.providers.kind import program as kind
from k8sext.versions import ETCD, KUBERNETES

MIRRORS = ("K8SEXT_KUBERNETES_MIRROR", "K8SEXT_ETCD_MIRROR", "K8SEXT_KIND_MIRROR")
POD = ("run", "hello", f"--image=localhost/k8sext:{__version__}", "--restart=Never", "--command", "--", "true")


def main(words: list[str]) -> int:
    """Download, check the versions, start a cluster, run a pod, stop it. Returns 0 when all of it went well."""
    parser = argparse.ArgumentParser(prog="python -m tests.download", description=__doc__)
    parser.add_argument("--mirror", metavar="URL", help="ask this place for all of them")
    chosen = parser.parse_args(words)
    progress = LineProgress()
    with tempfile.TemporaryDirectory(prefix="k8sext-download-") as folder, mock.patch.dict(os.environ):
        _forget_this_machine(Path(folder), chosen.mirror)
        try:
            _download(progress)
            _start(Path(folder), progress)
        except clusters.ClusterError as error:
            print(f"Error: {error}", file=sys.stderr)
            return 1
    return 0


def _forget_this_machine(folder: Path, mirror: str | None) -> None:
    """An empty cache, and no way but the download."""
    for name in ("KUBEBUILDER_ASSETS", "K8SEXT_CLUSTER", "K8SEXT_DATA", "K8SEXT_PROVIDER", "KUBECONFIG", *MIRRORS):
        os.environ.pop(name, None)
    os.environ |= {"K8SEXT_CACHE": str(folder / "cache"), "K8SEXT_STATE": str(folder / "state")}
    os.environ["K8SEXT_PROGRAMS"] = "download"
    os.environ |= dict.fromkeys(MIRRORS, mirror) if mirror else {}


def _download(progress: Progress) -> None:
    with mock.patch.dict(os.environ, PATH=""):  # or what stands there would be taken
        found = {**programs.find(progress=progress), "kind": kind.find(progress)}
    for name, path in found.items():
        version = kind.version_of(path) if name == "kind" else version_of(path)
        wanted = {"etcd": ETCD, "kind": kind.KIND}.get(name, KUBERNETES)
        if version != wanted:
            raise clusters.ClusterError(f"The {name} that was downloaded is {version}, not {wanted}.")
        print(f"{name} {version}")


def _start(folder: Path, progress: Progress) -> None:
    os.environ["KUBEBUILDER_ASSETS"] = str(programs.cache())
    with clusters.up("download", folder / "cluster", provider="embedded", progress=progress) as cluster:
        cluster.kubectl("wait", "--for=create", "serviceaccount/default", "--timeout=60s")
        cluster.kubectl(*POD)
        cluster.kubectl("wait", "pod/hello", "--for=jsonpath={.status.phase}=Succeeded", "--timeout=120s")
    print("A cluster started with them and ran a pod.")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
