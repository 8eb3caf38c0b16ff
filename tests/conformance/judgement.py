"""One judgement of critest, in namespaces made for it: a registry, the runtime, and the judge itself.

`python -m tests.conformance.judgement HANDLER CRITEST BUSYBOX FOLDER` leaves report.json in the folder.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from k8sext.infra.cri import stop_all
from k8sext.infra.cri.built_in import BUILT_IN
from tests.conformance import busybox, images
from tests.conformance.registry import Registry, serving


def main(handler: str, program: str, box: str, folder: Path) -> None:
    """Judge one handler, with every case."""
    options = ["-runtime-endpoint", f"unix://{folder}/cri.sock", "-websocket-exec", "-websocket-attach"]
    options += ["-ginkgo.no-color", f"-ginkgo.json-report={folder}/report.json"]
    python, registry = sys.executable, Registry()
    if handler == "process":
        python = str(busybox.environment(folder / "image", box))
        (folder / "images.yaml").write_text(f"defaultTestContainerImage: {BUILT_IN}\nwebServerTestImage: {BUILT_IN}\n")
        options += ["-test-images-file", str(folder / "images.yaml")]
    else:
        images.fill(registry, box)
    with serving(registry):
        environment = {**os.environ, **registry.stand_in(folder / "home", *images.REGISTRIES)}
        with runtime(python, handler, folder, environment):
            subprocess.run([program, *options], cwd=folder, check=False, timeout=1800)


@contextmanager
def runtime(python: str, handler: str, folder: Path, environment: Mapping[str, str]) -> Iterator[None]:
    """Serve the runtime at cri.sock in a folder for the length of a block, and leave nothing of its pods."""
    root, options = folder / "root", ["--default-handler", handler, "--network", "machine"]
    words = ["-m", "k8sext.infra.cri", "--listen", f"unix://{folder}/cri.sock", "--root", str(root), *options]
    server = subprocess.Popen([python, *words], stderr=subprocess.DEVNULL, cwd="/", env=environment)
    try:
        deadline = time.monotonic() + 60
        while not (folder / "cri.sock").exists():
            if time.monotonic() > deadline or server.poll() is not None:
                raise RuntimeError("the runtime did not start")
            time.sleep(0.05)
        yield
    finally:
        server.terminate()
        server.wait(60)
        stop_all(root, folder)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3], Path(sys.argv[4]))
