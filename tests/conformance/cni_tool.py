"""cnitool, the command-line runtime of the CNI project, with the plugin k8sext-bridge.

`python -m tests.conformance.cni_tool` writes its table into README.md here. Everything happens in a network namespace
made for it.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sysconfig
import tempfile
from dataclasses import dataclass
from pathlib import Path

from k8sext.cluster.paths import cache_folder
from k8sext.cluster.programs import build
from k8sext.cluster.programs.progress import LineProgress
from k8sext.infra.cri.handlers.oci.capability_checks import namespace_flags
from tests.conformance import readme

HERE = Path(__file__).parent
PACKAGE = "github.com/containernetworking/cni/cnitool"
SCRIPT = """
# Runs in a namespace of its own ($1 is the pod's). Each step: its name, whether it must succeed, and the command.
step() { echo "step|$1|$2"; shift 2; "$@" > out 2>&1; echo "exit|$?"; cat out; echo; echo "end|"; }
link() { nsenter --net=$1 ip link delete eth0; }
step "STATUS of a network that works" yes cnitool status pods $1
step "ADD attaches a pod" yes cnitool add pods $1
step "ADD of an interface that exists" no cnitool add pods $1
step "CHECK while all is well" yes cnitool check pods $1
step "(somebody removes the interface)" yes link $1
step "CHECK of what is broken" no cnitool check pods $1
step "DEL on ruins" yes cnitool del pods $1
step "DEL once more" yes cnitool del pods $1
step "ADD after DEL" yes cnitool add pods $1
step "GC without a valid attachment" yes cnitool gc pods $1
step "(the address was given back)" yes grep -q '"addresses": {}' data/pods/addresses.json
step "ADD in a chain of two plugins" yes cnitool add chain $1
step "CHECK of the chain" yes cnitool check chain $1
step "DEL of the chain" yes cnitool del chain $1
"""


@dataclass(frozen=True)
class Step:
    """One call, whether it ended as it must, and what was printed."""

    name: str
    good: bool
    output: str


def judge() -> Path:
    """cnitool from PATH, or built once into the cache. Raises Unavailable where it cannot be had."""
    if found := shutil.which("cnitool"):
        return Path(found)
    folder = cache_folder() / "judges" / f"cni-{version()}"
    if not (folder / "cnitool").exists():
        folder.mkdir(parents=True, exist_ok=True)
        build.compile_all({"cnitool": PACKAGE}, HERE / "cni_gomod", folder, LineProgress())
    return folder / "cnitool"


def version() -> str:
    """The release of cnitool that is pinned."""
    lines = (HERE / "cni_gomod" / "go.mod").read_text().splitlines()
    line = next(line for line in lines if "github.com/containernetworking/cni v" in line)
    return line.partition("// ")[0].split()[-1]


def run(program: Path) -> list[Step]:
    """Go through all verbs with the plugin, in namespaces of our own."""
    with tempfile.TemporaryDirectory(prefix="cnitool") as name:
        folder = Path(name)
        (folder / "conf").mkdir()
        for network in ("pods", "chain"):
            (folder / "conf" / f"{network}.conflist").write_text(json.dumps(configuration(network, folder)))
        environment = {
            **os.environ,
            "NETCONFPATH": str(folder / "conf"),
            "CNI_PATH": sysconfig.get_path("scripts"),
            "PATH": f"{program.parent}:{os.environ['PATH']}",
        }
        flags = [*(namespace_flags() or []), "--mount", "--net"]
        pod = 'unshare --net sh -c "echo; exec sleep infinity" > ready & until [ -s ready ]; do sleep 0.05; done; '
        cache = "mkdir -p cache; mount -t tmpfs none /var/lib; set -- /proc/$!/ns/net\n"
        done = subprocess.run(
            ["unshare", *flags, "sh", "-c", pod + cache + SCRIPT + "kill %1 2>/dev/null || kill $!\n"],
            cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=120,
        )  # fmt: skip
    found = steps(done.stdout)
    if not found:
        raise RuntimeError(f"cnitool did not run: {done.stderr[-2000:]}")
    return found


def configuration(network: str, folder: Path) -> dict:
    """A network list: the plugin alone, or twice, the second time with the first one's result."""
    first = {"type": "k8sext-bridge", "ipam": {"subnet": "10.77.0.0/24", "dataDir": str(folder / "data")}}
    return {"cniVersion": "1.1.0", "name": network, "plugins": [first]}


def steps(text: str) -> list[Step]:
    """What the script printed about each step."""
    found = []
    for part in text.split("step|")[1:]:
        head, _, rest = part.partition("\nexit|")
        name, _, must = head.partition("|")
        code, _, output = rest.partition("\n")
        found.append(Step(name, (code == "0") == (must == "yes"), output.partition("end|")[0].strip()))
    return found


def table(found: list[Step]) -> str:
    """The steps and how they ended."""
    calls = [step for step in found if not step.name.startswith("(")]
    rows = [f"| {step.name} | {'passed' if step.good else 'failed'} |" for step in calls]
    passed = sum(step.good for step in calls)
    summary = f"cnitool {version()}: {passed} passed, {len(calls) - passed} failed, 0 skipped."
    return "\n".join([summary, "", "| call | |", "|---|---|", *rows])


def main() -> None:
    """Judge and write the table."""
    readme.write("cnitool", table(run(judge())))


if __name__ == "__main__":
    main()
