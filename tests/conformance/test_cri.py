"""critest, the official judge of CRI runtimes, on the handler `process` (see README.md here)."""

from __future__ import annotations

import shutil
import subprocess
import sys
import sysconfig
import tempfile
import time
import venv
from collections.abc import Iterator
from pathlib import Path

import pytest

import k8sext
from k8sext.infra.cri import stop_all
from k8sext.infra.cri.images import BUILT_IN

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
    critest, busybox = shutil.which("critest"), shutil.which("busybox")
    if critest is None or busybox is None:
        pytest.skip("needs critest and busybox on PATH: tests/conformance/README.md says how to get them")
    python = environment_like_busybox(folder / "image", busybox)
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


def environment_like_busybox(folder: Path, busybox: str) -> Path:
    """Make a Python environment that holds ours and, as critest expects of its image, the commands of busybox; return its python."""
    venv.create(folder, with_pip=False)
    packages = Path(sysconfig.get_path("purelib", vars={"base": str(folder), "platbase": str(folder)}))
    (packages / "ours.pth").write_text(f"{sysconfig.get_path('purelib')}\n{Path(k8sext.__file__).parents[1]}\n")
    for name in subprocess.run([busybox, "--list"], capture_output=True, text=True, check=True).stdout.split():
        if not (link := folder / "bin" / name).exists():
            link.symlink_to(busybox)
    return folder / "bin" / Path(sys.executable).name


def wait_for(socket: Path) -> None:
    deadline = time.monotonic() + 60
    while not socket.exists():
        assert time.monotonic() < deadline, "the runtime did not start"
        time.sleep(0.05)
