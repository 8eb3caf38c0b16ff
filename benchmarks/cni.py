"""The network plugin beside the CNI project's own bridge plugin: one ADD and one DEL, as a runtime calls them.

Both wire up the same pod, in turns, in a network namespace made for it. The peer is the plugin `bridge` with
`host-local` (Debian: containernetworking-plugins), written in Go; without it there are only our own figures.
"""

from __future__ import annotations

import json
import os
import subprocess
import sysconfig
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.report import Row

PEER = Path("/usr/lib/cni")
OURS = Path(sysconfig.get_path("scripts"), "k8sext-bridge")
HOLD = "echo ready; exec sleep infinity"


def run(rounds: int) -> Iterator[Row]:
    """ADD and DEL, in milliseconds of wall time."""
    with tempfile.TemporaryDirectory() as folder:
        times: dict[tuple[str, str], list[float]] = {}
        with _hold(["unshare", "--user", "--map-root-user", "--net"]) as node:
            enter = ["nsenter", f"--target={node.pid}", "--user", "--preserve-credentials", "--net", "--"]
            with _hold([*enter, "unshare", "--net"]) as pod:
                for _ in range(rounds):
                    for who, (plugin, network) in _plugins(Path(folder)).items():
                        for command in ("ADD", "DEL"):
                            seconds = _call([*enter, str(plugin)], command, network, pod.pid)
                            times.setdefault((command, who), []).append(1000 * seconds)
                pod.kill()
            node.kill()
    for command in ("ADD", "DEL"):
        peer = times.get((command, "bridge"), [])
        yield Row(
            f"CNI {command}", "ms", times[(command, "ours")], "bridge + host-local" if peer else "", peer, "at most 2x"
        )


def _plugins(folder: Path) -> dict[str, tuple[Path, str]]:
    ours = {"type": "k8sext-bridge", "bridge": "ours", "ipam": {"subnet": "10.9.0.0/24", "dataDir": f"{folder}/ours"}}
    host_local = {"type": "host-local", "subnet": "10.8.0.0/24", "dataDir": f"{folder}/peer"}
    peer = {"type": "bridge", "bridge": "peer", "isGateway": True}
    peer["ipam"] = {**host_local, "routes": [{"dst": "0.0.0.0/0"}]}  # type: ignore[assignment]
    found = {"ours": (OURS, json.dumps({"cniVersion": "1.0.0", "name": "ours", **ours}))}
    if (PEER / "bridge").exists():
        found["bridge"] = (PEER / "bridge", json.dumps({"cniVersion": "1.0.0", "name": "peer", **peer}))
    return found


def _call(command: list[str], verb: str, network: str, pod: int) -> float:
    variables = {
        **os.environ,
        "CNI_COMMAND": verb,
        "CNI_CONTAINERID": "bench",
        "CNI_IFNAME": "eth0",
        "CNI_NETNS": f"/proc/{pod}/ns/net",
        "CNI_PATH": str(PEER),
    }
    began = time.perf_counter()
    done = subprocess.run(command, input=network, capture_output=True, text=True, env=variables)
    took = time.perf_counter() - began
    if done.returncode != 0:
        raise RuntimeError(f"{verb} failed: {done.stdout or done.stderr}")
    return took


def _hold(command: list[str]) -> subprocess.Popen[str]:
    process = subprocess.Popen([*command, "sh", "-c", HOLD], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    if process.stdout.readline() != "ready\n":
        raise RuntimeError("no namespaces here: see `k8sext doctor`")
    return process
