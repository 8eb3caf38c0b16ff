"""csi-sanity, the official judge of CSI drivers, on csi.k8sext.dev.

`python -m tests.conformance.csi_sanity` writes its table into README.md here.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from k8sext.cluster.paths import cache_folder
from k8sext.cluster.programs import build
from k8sext.cluster.programs.progress import LineProgress
from tests.conformance import readme
from tests.support.eventually import eventually

HERE = Path(__file__).parent
PACKAGE = "github.com/kubernetes-csi/csi-test/v5/cmd/csi-sanity"
REASONS = {
    "ControllerPublish": "nothing is attached: a folder is on its node already",
    "Controller Publish": "nothing is attached: a folder is on its node already",
    "ControllerUnpublish": "nothing is attached: a folder is on its node already",
    "Modify": "no VolumeAttributesClass: a folder has no settings",
    "volume attribute class": "no VolumeAttributesClass: a folder has no settings",
    "Group": "no snapshots of several volumes at once",
    "Health": "no reports of health: a folder is there or not",
    "SNAPSHOT_ACCESSIBILITY": "a snapshot has no topology of its own, it is where its volume is",
    "GetSnapshot": "GetSnapshot is alpha; ListSnapshots tells the same",
}


@dataclass(frozen=True)
class Case:
    """One case and how it ended: passed, failed, skipped or pending (switched off in csi-sanity itself)."""

    name: str
    state: str
    message: str


def judge() -> Path:
    """csi-sanity from PATH, or built once into the cache. Raises Unavailable where it cannot be had."""
    if found := shutil.which("csi-sanity"):
        return Path(found)
    folder = cache_folder() / "judges" / version()
    if not (folder / "csi-sanity").exists():
        folder.mkdir(parents=True, exist_ok=True)
        build.compile_all({"csi-sanity": PACKAGE}, HERE / "csi_gomod", folder, LineProgress())
    return folder / "csi-sanity"


def version() -> str:
    """The release of csi-test that is pinned."""
    lines = (HERE / "csi_gomod" / "go.mod").read_text().splitlines()
    return next(line.split()[1] for line in lines if "github.com/kubernetes-csi/csi-test/v5 " in line)


def run(program: Path, publish: str) -> list[Case]:
    """Judge a driver that is started for this, publishing by "link" or "bind"."""
    folder = Path(tempfile.mkdtemp(prefix="sanity"))
    endpoint = f"unix://{folder}/csi.sock"
    words = ["--endpoint", endpoint, "--data", str(folder / "data"), "--node", "judged", "--publish", publish]
    driver = subprocess.Popen([sys.executable, "-m", "k8sext.infra.csi", *words, "--log-level", "WARNING"])
    try:
        eventually((folder / "csi.sock").exists)
        options = [
            f"-csi.endpoint={endpoint}",
            f"-csi.mountdir={folder}/mount",
            f"-csi.stagingdir={folder}/staging",
            "-csi.testvolumesize=1048576",
            f"-ginkgo.json-report={folder}/report.json",
        ]
        done = subprocess.run([str(program), *options], capture_output=True, text=True, check=False, timeout=300)
        if not (folder / "report.json").exists():
            raise RuntimeError(f"csi-sanity did not run: {done.stdout[-2000:]}{done.stderr[-2000:]}")
        return cases(json.loads((folder / "report.json").read_text()))
    finally:
        driver.terminate()
        driver.wait(20)
        shutil.rmtree(folder)


def cases(report: list[dict]) -> list[Case]:
    """What ginkgo wrote about each case."""
    return [
        Case(
            " ".join([*(spec["ContainerHierarchyTexts"] or []), spec["LeafNodeText"]]),
            spec["State"],
            spec.get("Failure", {}).get("Message", ""),
        )
        for suite in report
        for spec in suite["SpecReports"]
        if spec["LeafNodeType"] == "It"
    ]


def table(found: list[Case]) -> str:
    """The figures, and why cases were skipped."""
    states = Counter(case.state for case in found)
    reasons = Counter(reason(case) for case in found if case.state in ("skipped", "pending"))
    rows = [f"| {states[state]} | {state} |" for state in ("passed", "failed", "skipped", "pending")]
    why = [f"| {number} | {text} |" for text, number in sorted(reasons.items(), key=lambda item: (-item[1], item[0]))]
    return "\n".join(
        [
            f"csi-sanity {version()}, the same figures with `--publish link` as any user and `--publish bind` as root:",
            "",
            *["| cases | |", "|---|---|", *rows, f"| {len(found)} | in all |"],
            "",
            *["| skipped or pending | because |", "|---|---|", *why],
        ]
    )


def reason(case: Case) -> str:
    """Why a case was not run, in our words where we know it."""
    if case.state == "pending":
        return "switched off in csi-sanity itself"
    return next((text for word, text in REASONS.items() if word in f"{case.name} {case.message}"), case.message)


def main() -> None:
    """Judge both ways of publishing and write the table."""
    program = judge()
    found = {publish: run(program, publish) for publish in ("link", "bind")}
    if Counter(c.state for c in found["link"]) != Counter(c.state for c in found["bind"]):
        sys.exit("Links and bind mounts are judged differently; see what fails with: make conformance")
    readme.write("csi-sanity", table(found["link"]))


if __name__ == "__main__":
    main()
