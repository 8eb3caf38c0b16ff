"""critest, the official judge of CRI runtimes, on both handlers (see README.md here)."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from k8sext.cluster.errors import Unavailable
from k8sext.infra.cri.built_in import BUILT_IN
from k8sext.infra.cri.handlers.oci import capability_checks as possible
from tests.conformance import busybox, critest, judgement

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
CANNOT = {
    "process": {
        critest.OTHER_IMAGE,
        critest.NO_NGINX,
    },
    "oci": {
        "an image named by the digest of the original, which cannot be remade",
        "the runtime handler 'oci' cannot lead a port of the machine to a pod: "
        "remove hostPort, or use hostNetwork: true",
    },
}
"""Why conformance cases fail."""


@pytest.fixture
def folder() -> Iterator[Path]:
    path = Path(tempfile.mkdtemp(prefix="critest"))
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.mark.slow
@pytest.mark.parametrize(("handler", "least"), [("process", 28), ("oci", 48)])
def test_conformance_cases_pass_unless_they_ask_for_what_is_refused(handler: str, least: int) -> None:
    if handler == "oci" and (reasons := [*possible.obstacles(), *possible.missing_for_images()]):
        pytest.skip(f"the handler oci cannot be used here: {', '.join(reasons)}")
    try:
        found = critest.run(*critest.judge(), handler)
    except Unavailable as reason:
        pytest.skip(f"critest cannot be had: {reason}")
    conformance = [case for case in found if "[Conformance]" in case.name]
    assert {critest.reason(handler, case) for case in conformance if case.state == "failed"} == CANNOT[handler]
    assert sum(case.state == "passed" for case in conformance) >= least


def test_without_root_the_conformance_cases_pass_that_ask_for_no_other_image(folder: Path) -> None:
    if os.geteuid() == 0:
        pytest.skip("we are root")
    program, box = shutil.which("critest"), shutil.which("busybox")
    if program is None or box is None:
        pytest.skip("needs critest and busybox on PATH: tests/conformance/README.md says how to get them")
    python = str(busybox.environment(folder / "image", box))
    images = folder / "images.yaml"
    images.write_text(f"defaultTestContainerImage: {BUILT_IN}\nwebServerTestImage: {BUILT_IN}\n")
    judge = [program, "-runtime-endpoint", f"unix://{folder}/cri.sock", "-test-images-file", str(images)]
    chosen = [r"-ginkgo.focus=\[Conformance\]", f"-ginkgo.skip={NOT_OF_PROCESS}", "-ginkgo.no-color"]
    with judgement.runtime(python, "process", folder, os.environ):
        done = subprocess.run(
            [*judge, "-websocket-exec", "-websocket-attach", *chosen],
            cwd=folder, capture_output=True, text=True, check=False, timeout=600,
        )  # fmt: skip
    assert done.returncode == 0, done.stdout[-5000:]
    assert "0 Failed" in done.stdout
