"""critest, the official judge of CRI runtimes, on both handlers of k8sext.infra.cri.

`python -m tests.conformance.critest` writes its tables into README.md here. As root, in a network and with mounts of its own.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from k8sext.cluster.errors import Unavailable
from k8sext.infra.cri import stop_all
from k8sext.infra.cri.images import BUILT_IN
from k8sext.infra.cri.oci.store import ImageStore
from tests.conformance import busybox, readme
from tests.conformance.csi_sanity import Case, cases

STATES = ("passed", "failed", "skipped")
OWN_NAMESPACES = ["unshare", "--net", "--mount", "--propagation", "private", "sh", "-c"]
REASONS = {
    "process": {
        r"Image Manager|Image Consistency|Image Identifier|Image Volume|Multiple Containers|SupplementalGroups|manifest list": (
            "another image than the built-in one: refused, a kubelet shows ErrImagePull"
        ),
        r"image '[^']*' is not available": "another image than the built-in one: refused, a kubelet shows ErrImagePull",
        r"port mapping|portforward|preserving container attributes": "the default command of an nginx image: this one has none",
        r"[Ss]eccomp": "seccomp filters: none are loaded, a Localhost profile is refused",
        r"HostIpc is false": "an IPC namespace: the machine's is shared",
        r"MaskedPaths": "masking /bin/ls of its image: `ls` is first found elsewhere here; a test of ours masks paths",
    },
    "oci": {
        r"Image Manager|Image Consistency|Image Identifier|Image Volume|Multiple Containers|SupplementalGroups|manifest list": (
            "images of public registries: none was reached"
        ),
        r"image '[^']*' cannot be had": "images of public registries: none was reached",
        r"[Ss]eccomp": "seccomp filters: none are loaded, a Localhost profile is refused",
        r"HostIpc": "shared memory by `ipcmk` and `ipcs`: this busybox has no such commands",
        r"MaskedPaths": "masking /bin/ls of its image: this busybox's shell has its own; a test of ours masks paths",
    },
}
"""Of failures that our runtime does not explain in its own words: a pattern of the case's name or message, and why."""


def judge() -> tuple[str, str]:
    """critest and busybox from PATH. Raises Unavailable where one of them, or root, is not there."""
    program, box = shutil.which("critest"), shutil.which("busybox")
    if program is None or box is None:
        raise Unavailable("critest and busybox must be on PATH; README.md here says how to get them")
    if os.geteuid() != 0:
        raise Unavailable("all cases of critest want root")
    return program, box


def run(program: str, box: str, handler: str) -> list[Case]:
    """Judge one handler, with every case."""
    folder = Path(tempfile.mkdtemp(prefix="critest"))
    try:
        python = sys.executable if handler == "oci" else str(busybox.environment(folder / "image", box))
        with _namespaces() as enter, _runtime([*enter, python], folder, handler, box):
            return cases(json.loads(_ask([*enter, program], folder, handler).read_text()))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def table(found: dict[str, list[Case]]) -> str:
    """The figures of both handlers, and why cases failed or were skipped."""
    head = [
        "| | " + " | ".join(f"`{name}` | of these Conformance" for name in found) + " |",
        "|---|" + "---|---|" * len(found),
    ]
    rows = []
    for state in (*STATES, "in all"):
        chosen = [[case for case in all_cases if state in (case.state, "in all")] for all_cases in found.values()]
        figures = [f"{len(some)} | {sum('[Conformance]' in case.name for case in some)}" for some in chosen]
        rows.append(f"| {state} | " + " | ".join(figures) + " |")
    parts = ["\n".join([*head, *rows])]
    for handler, all_cases in found.items():
        for state in STATES[1:]:
            reasons = Counter(reason(handler, case) for case in all_cases if case.state == state)
            lines = [
                f"| {number} | {text} |"
                for text, number in sorted(reasons.items(), key=lambda item: (-item[1], item[0]))
            ]
            parts.append("\n".join([f"| `{handler}`: {state} | because of |", "|---|---|", *lines]))
    return "\n\n".join(parts)


def reason(handler: str, case: Case) -> str:
    """Why a case did not pass: critest's word for a skipped one; else ours by its name, or the runtime's own refusal."""
    if case.state == "skipped":
        return case.message.strip().splitlines()[0] if case.message.strip() else "benchmarks, run only when asked for"
    for pattern, text in REASONS[handler].items():
        if re.search(pattern, f"{case.name} {case.message}"):
            return text
    said = re.search(r"desc = (.*)", case.message)
    return re.sub(r" \(.*?\)", "", said[1]) if said else case.name.replace("[k8s.io] ", "")


@contextmanager
def _namespaces() -> Iterator[list[str]]:
    """A network and mounts of the judge's own; yields the command that runs another in them."""
    script = "ip link set lo up; echo ready; exec sleep infinity"
    with subprocess.Popen([*OWN_NAMESPACES, script], stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        yield ["nsenter", f"--target={holder.pid}", "--net", "--mount", "--"]
        holder.kill()


@contextmanager
def _runtime(python: Sequence[str], folder: Path, handler: str, box: str) -> Iterator[None]:
    """The runtime, with two images in its store where it can hold any."""
    root, options = folder / "root", ["--default-handler", handler, "--network", "machine"]
    if handler == "oci":
        for name, command in (("busybox", ["sh"]), ("web", ["httpd", "-f", "-p", "80", "-h", "/www"])):
            busybox.image(folder / f"{name}.tar", f"localhost/{name}:1", box, command)
            ImageStore(root / "images").load(folder / f"{name}.tar")
    words = ["-m", "k8sext.infra.cri", "--listen", f"unix://{folder}/cri.sock", "--root", str(root), *options]
    server = subprocess.Popen([*python, *words], stderr=subprocess.DEVNULL, cwd="/")
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


def _ask(program: Sequence[str], folder: Path, handler: str) -> Path:
    names = (BUILT_IN, BUILT_IN) if handler == "process" else ("localhost/busybox:1", "localhost/web:1")
    (folder / "images.yaml").write_text(f"defaultTestContainerImage: {names[0]}\nwebServerTestImage: {names[1]}\n")
    options = [
        *("-runtime-endpoint", f"unix://{folder}/cri.sock", "-test-images-file", str(folder / "images.yaml")),
        *("-websocket-exec", "-websocket-attach", "-ginkgo.no-color", f"-ginkgo.json-report={folder}/report.json"),
    ]
    done = subprocess.run([*program, *options], cwd=folder, capture_output=True, text=True, check=False, timeout=1800)
    if not (folder / "report.json").exists():
        raise RuntimeError(f"critest did not run: {done.stdout[-2000:]}{done.stderr[-2000:]}")
    return folder / "report.json"


def main() -> None:
    """Judge both handlers and write the tables."""
    program, box = judge()
    readme.write("critest", table({handler: run(program, box, handler) for handler in ("process", "oci")}))


if __name__ == "__main__":
    main()
