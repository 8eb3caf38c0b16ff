"""critest, the official judge of CRI runtimes, on both handlers of k8sext.infra.cri.

`python -m tests.conformance.critest` writes its tables into README.md here. As root, in namespaces of its own.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

from k8sext.cluster.errors import Unavailable
from tests.conformance import busybox, readme
from tests.conformance.csi_sanity import Case, cases

STATES = ("passed", "failed", "skipped")
OWN_NAMESPACES = ["unshare", "--net", "--ipc", "--pid", "--fork", "--kill-child", "--mount-proc"]
FIRST_PROCESS = 'ip link set lo up; "$@"; exit'
"""It stays, and so buries the processes that have lost their parents."""
OTHER_IMAGE = "another image than the built-in one: refused, a kubelet shows ErrImagePull"
NO_NGINX = "the default command of an nginx image: this one has none"
REASONS = {
    "process": {
        r"Image (Manager|Consistency|Identifier|Volume)|manifest list": OTHER_IMAGE,
        r"Multiple Containers|SupplementalGroups": OTHER_IMAGE,
        r"image '[^']*' is not available": OTHER_IMAGE,
        r"port mapping|portforward|preserving container attributes": NO_NGINX,
        r"[Ss]eccomp": "seccomp filters: none are loaded, a Localhost profile is refused",
        r"HostIpc is false": "an IPC namespace: the machine's is shared",
        r"MaskedPaths": "masking /bin/ls of its image: `ls` is first found elsewhere here; a test of ours masks paths",
    },
    "oci": {
        r"public image with digest": "an image named by the digest of the original, which cannot be remade",
        r"[Ss]eccomp": "seccomp filters: none are loaded, a Localhost profile is refused",
        r"MaskedPaths": "masking /bin/ls of its image: this busybox's shell has its own; a test of ours masks paths",
    },
}
"""Of failures that our runtime does not explain in its own words: a pattern of the case's name or message, and why."""


def judge() -> tuple[str, str]:
    """critest and busybox from PATH. Raises Unavailable where one of them, or root, is not there."""
    program, box = shutil.which("critest"), shutil.which("busybox")
    if program is None or box is None:
        raise Unavailable("critest and busybox must be on PATH; README.md here says how to get them")
    if len(busybox.program(box)) > 1:
        raise Unavailable("busybox must be linked statically: in its images stand no libraries")
    if os.geteuid() != 0:
        raise Unavailable("all cases of critest want root")
    return program, box


def run(program: str, box: str, handler: str) -> list[Case]:
    """Judge one handler, with every case."""
    folder = Path(tempfile.mkdtemp(prefix="critest"))
    words = [sys.executable, "-m", "tests.conformance.judgement", handler, program, box, str(folder)]
    try:
        done = subprocess.run(
            [*OWN_NAMESPACES, "sh", "-c", FIRST_PROCESS, "sh", *words],
            cwd=Path(__file__).parents[2], capture_output=True, text=True, check=False,
        )  # fmt: skip
        if not (folder / "report.json").exists():
            raise RuntimeError(f"critest did not run: {done.stdout[-2000:]}{done.stderr[-2000:]}")
        return cases(json.loads((folder / "report.json").read_text()))
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
    """Why a case did not pass: critest's word for a skipped one; else ours by its name, or the runtime's own
    refusal."""
    if case.state == "skipped":
        return case.message.strip().splitlines()[0] if case.message.strip() else "benchmarks, run only when asked for"
    for pattern, text in REASONS[handler].items():
        if re.search(pattern, f"{case.name} {case.message}"):
            return text
    said = re.search(r"desc = (.*)", case.message)
    return re.sub(r" \(.*?\)| at /tmp/\S+", "", said[1]) if said else case.name.replace("[k8s.io] ", "")


def main() -> None:
    """Judge both handlers and write the tables."""
    program, box = judge()
    readme.write("critest", table({handler: run(program, box, handler) for handler in ("process", "oci")}))


if __name__ == "__main__":
    main()
