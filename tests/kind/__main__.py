"""`make test-kind`: a real kind cluster, every notebook on it, and the tests of its nodes; or one line why it cannot run here.

Where no image registry is reached, the node image is made by the recipe in this folder. A Docker daemon that runs already is used.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest import mock

from k8sext.cluster.kind import images
from k8sext.cluster.programs.progress import LineProgress, Progress, duration
from tests.kind import node_image
from tests.kind.daemon import CannotRun, docker_daemon
from tests.notebooks.lab import lab

ROOT = Path(__file__).parents[2]
# What the workbook's kubelet is tested for, which the real one must do as well.
KUBELET = ("tests/infra/kubelet/test_pods.py", "tests/infra/kubelet/test_kubectl.py")


def main(arguments: list[str]) -> int:
    """Returns 0 when all passed, or when it cannot run here and that is allowed."""
    parser = argparse.ArgumentParser(prog="python -m tests.kind", description=__doc__)
    parser.add_argument(
        "--if-possible", action="store_true", help="say in one line why it cannot run here, and succeed"
    )
    parser.add_argument(
        "--run",
        nargs=argparse.REMAINDER,
        metavar="COMMAND",
        help="run this instead, with Docker and the images at hand",
    )
    chosen = parser.parse_args(arguments)
    progress = LineProgress()
    try:
        with docker_daemon(), reachable_images(progress):
            if chosen.run:
                return subprocess.run(chosen.run).returncode
            with lab() as cluster:
                return run(cluster.layout.data, progress)
    except CannotRun as reason:
        print(f"The tests on kind were not run: {' '.join(str(reason).split())}.")
        return 0 if chosen.if_possible else 1


@contextmanager
def reachable_images(progress: Progress) -> Iterator[None]:
    """Name images of our own to the provider where those it would pull cannot be had."""
    with mock.patch.dict(os.environ, {"K8SEXT_PROVIDER": "kind"}):
        if not can_pull():
            os.environ["K8SEXT_KIND_NODE_IMAGE"] = node_image.node_image(progress)
            os.environ["K8SEXT_IMAGE_BASE"] = node_image.python_base(progress)
        yield


def can_pull() -> bool:
    """Whether Docker has the pinned node image or can have it."""
    if os.environ.get("K8SEXT_KIND_NODE_IMAGE"):
        return True
    try:
        done = subprocess.run(["docker", "manifest", "inspect", images.NODE], capture_output=True, timeout=20)
    except subprocess.TimeoutExpired:
        return False
    return done.returncode == 0


def run(cluster: Path, progress: Progress) -> int:
    """The tests of the cluster and of its nodes, then the notebooks. All are run, whatever the first says."""
    pytest = [sys.executable, "-m", "pytest", "-q", f"--cluster={cluster}"]
    parts = {
        "cluster": [*pytest, "tests/kind"],
        "nodes": [*pytest, "-p", "tests.kind.plugin", *KUBELET],
        "notebooks": [sys.executable, "-m", "tests.notebooks", "--provider", "kind"],
    }
    codes = {}
    for name, command in parts.items():
        began = time.monotonic()
        codes[name] = subprocess.run(command, cwd=ROOT).returncode
        progress.say(
            f"{name} on kind: {'passed' if codes[name] == 0 else 'FAILED'} in {duration(time.monotonic() - began)}"
        )
    return max(codes.values())


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
