"""`make test-kind`: a real kind cluster, every notebook on it, and the tests of its nodes; or one line why it cannot
run here.

Where no image registry is reached, the node image is made by the recipe in this folder. A Docker daemon that runs
already is used.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import NoReturn
from unittest import mock

from k8sext.cluster.errors import ClusterError, Unavailable
from k8sext.cluster.programs.progress import LineProgress, Progress, duration
from k8sext.cluster.providers.kind import images
from tests.kind import node_image
from tests.kind.daemon import CannotRun, docker_daemon
from tests.notebooks.__main__ import NBVAL
from tests.notebooks.lab import lab
from tests.notebooks.pages import NOTEBOOKS

ROOT = Path(__file__).parents[2]
# What the workbook's kubelet is tested for, which the real one must do as well.
KUBELET = tuple(f"tests/infra/kubelet/test_{what}.py" for what in ("pods", "kubectl", "port_forward", "certificates"))
PATIENCE = 60.0
"""Seconds for a part that is interrupted to clean up."""


class OutOfTime(Exception):
    """The minutes that were given are over."""


def main(arguments: list[str]) -> int:
    """Returns 0 when all passed, or when there is no Docker or no image here and that is allowed.

    Raises ClusterError when they are there and the cluster does not start.
    """
    parser = argparse.ArgumentParser(prog="python -m tests.kind", description=__doc__)
    parser.add_argument(
        "--if-possible", action="store_true", help="say in one line why it cannot run here, and succeed"
    )
    parser.add_argument("--minutes", type=int, metavar="N", help="stop after so many, and say so in one line")
    parser.add_argument(
        "--run",
        nargs=argparse.REMAINDER,
        metavar="COMMAND",
        help="run this instead, with Docker and the images at hand",
    )
    chosen = parser.parse_args(arguments)
    progress = LineProgress()
    codes: dict[str, int] = {}
    try:
        with ExitStack() as ends, time_limit(chosen.minutes):
            try:
                if chosen.minutes is not None and chosen.minutes <= 0:
                    raise CannotRun("no time is left")
                ends.enter_context(docker_daemon())
                ends.enter_context(reachable_images(progress))
            except (CannotRun, ClusterError, Unavailable, OSError, subprocess.SubprocessError) as reason:
                print(f"The tests on kind were not run: {' '.join(str(reason).split())}", flush=True)
                return 0 if chosen.if_possible else 1
            if chosen.run:
                return call(chosen.run)
            # From here on a failure is one of the workbook, not of this machine.
            cluster = ends.enter_context(lab())
            for name, command in parts(cluster.layout.data).items():
                codes[name] = run(name, command, progress)
    except OutOfTime:
        done = ", ".join(codes) or "nothing"
        print(f"The tests on kind were stopped after {chosen.minutes} minutes, with this done: {done}.", flush=True)
        return max(codes.values(), default=0) or (0 if chosen.if_possible else 1)
    return max(codes.values())


@contextmanager
def time_limit(minutes: int | None) -> Iterator[None]:
    """Raise OutOfTime in the block when it takes longer; with 0 or no minutes, never."""

    def over(number: int, frame: FrameType | None) -> NoReturn:
        raise OutOfTime

    signal.signal(signal.SIGALRM, over)
    signal.alarm(60 * max(minutes or 0, 0))
    try:
        yield
    finally:
        signal.alarm(0)


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


def parts(cluster: Path) -> dict[str, list[str]]:
    """The commands: tests of the cluster, of its nodes, and the notebooks. All are run, whatever the first says."""
    pytest = [sys.executable, "-m", "pytest", "-q"]
    notebooks = map(str, sorted(NOTEBOOKS.glob("[0-9][0-9]-*.ipynb")))
    return {
        "cluster": [*pytest, f"--cluster={cluster}", "tests/kind"],
        "nodes": [*pytest, f"--cluster={cluster}", "-p", "tests.kind.plugin", *KUBELET],
        "notebooks": [*pytest, *NBVAL, *notebooks],
    }


def run(name: str, command: list[str], progress: Progress) -> int:
    """Run one part and say how it went."""
    began = time.monotonic()
    code = call(command)
    progress.say(f"{name} on kind: {'passed' if code == 0 else 'FAILED'} in {duration(time.monotonic() - began)}")
    return code


def call(command: list[str]) -> int:
    """As subprocess.call, but when something comes between, the command may end what it has started."""
    process = subprocess.Popen(command, cwd=ROOT)
    try:
        return process.wait()
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
            with suppress(subprocess.TimeoutExpired):
                process.wait(PATIENCE)
            process.kill()
            process.wait()


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that what was started ends also then
    sys.exit(main(sys.argv[1:]))
