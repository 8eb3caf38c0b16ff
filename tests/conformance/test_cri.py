"""critest, the official judge of CRI runtimes, on the handler `process` (see README.md here)."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from k8sext.infra.cri import stop_all
from k8sext.infra.cri.images import BUILT_IN
from tests.conformance import busybox

NOT_OF_PROCESS = "|".join(
    [
        r"Image Manager",  # pulls images from registries
        r"Image Consistency",
        r"Image Identifier Consistency",
        r"running multiple containers in a pod",  # an httpd image
        r"port mapping",  # wants the default command of an nginx image
        r"portforward",
        r"preserving container attributes",
    ]
)


@pytest.fixture
def folder() -> Iterator[Path]:
    path = Path(tempfile.mkdtemp(prefix="critest"))
    yield path
    shutil.rmtree(path, ignore_errors=True)


def test_the_conformance_cases_pass_that_ask_for_no_other_image(folder: Path) -> None:
    critest, box = shutil.which("critest"), shutil.which("busybox")
    if critest is None or box is None:
        pytest.skip("needs critest and busybox on PATH: tests/conformance/README.md says how to get them")
    python = busybox.environment(folder / "image", box)
    images = folder / "images.yaml"
    images.write_text(f"defaultTestContainerImage: {BUILT_IN}\nwebServerTestImage: {BUILT_IN}\n")
    endpoint = f"unix://{folder}/cri.sock"
    server = subprocess.Popen([python, "-m", "k8sext.infra.cri", "--listen", endpoint, "--root", str(folder / "root")])
    try:
        wait_for(folder / "cri.sock")
        judge = [
            critest,
            "-runtime-endpoint",
            endpoint,
            "-test-images-file",
            str(images),
            "-websocket-exec",
            "-websocket-attach",
        ]
        chosen = [r"-ginkgo.focus=\[Conformance\]", f"-ginkgo.skip={NOT_OF_PROCESS}", "-ginkgo.no-color"]
        done = subprocess.run([*judge, *chosen], cwd=folder, capture_output=True, text=True, check=False, timeout=600)
    finally:
        server.terminate()
        server.wait(20)
        stop_all(folder / "root", folder)
    assert done.returncode == 0, done.stdout[-5000:]
    assert "0 Failed" in done.stdout


def wait_for(socket: Path) -> None:
    deadline = time.monotonic() + 60
    while not socket.exists():
        assert time.monotonic() < deadline, "the runtime did not start"
        time.sleep(0.05)
