"""Machines that tests may wire up: network namespaces of their own, so that nothing of this machine's network is
touched."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

PLUGIN = Path(sysconfig.get_path("scripts")) / "k8sext-bridge"
READY = "echo ready; exec sleep infinity"


class Machine:
    """A network namespace that stands for a machine, and in it the namespaces of pods. Each is held by a process that
    sleeps."""

    def __init__(self, folder: Path, *flags: str) -> None:
        self.folder, self._held = folder, ExitStack()
        self.pid = self._hold(["unshare", *flags, "--net"])
        self.enter = ["nsenter", f"--target={self.pid}", *(["--user"] if "--user" in flags else []), "--net", "--"]
        self.pods: dict[str, int] = {}

    def pod(self, name: str) -> str:
        """Return the path of a pod's network namespace, made when it is first asked for."""
        if name not in self.pods:
            self.pods[name] = self._hold([*self.enter, "unshare", "--net"])
        return f"/proc/{self.pods[name]}/ns/net"

    def network(self, **changes: Any) -> dict[str, Any]:
        """Return a network configuration; `changes` replace or add keys, those of `ipam` are merged."""
        ipam = {"subnet": "10.9.0.0/29", "dataDir": str(self.folder), **changes.pop("ipam", {})}
        return {"cniVersion": "1.1.0", "name": "pods", "type": "k8sext-bridge", "ipam": ipam, **changes}

    def call(self, command: str, pod: str = "", network: Any = None, **environment: str) -> Any:
        """Call the plugin as a runtime does; return its answer, or its error."""
        variables = {"CNI_COMMAND": command, "PATH": os.environ["PATH"]}
        if pod:
            variables |= {"CNI_CONTAINERID": pod, "CNI_NETNS": self.pod(pod), "CNI_IFNAME": "eth0", "CNI_PATH": "/"}
        text = network if isinstance(network, bytes) else json.dumps(network or self.network()).encode()
        done = subprocess.run([*self.enter, PLUGIN], input=text, capture_output=True, env=variables | environment)
        assert b"Traceback" not in done.stderr, done.stderr.decode()
        answer = json.loads(done.stdout) if done.stdout else None
        assert (done.returncode != 0) == bool(answer and "code" in answer), (done.returncode, answer, done.stderr)
        return answer

    def sh(self, script: str, pod: str = "", check: bool = True) -> str:
        """Run a shell script on the machine or in a pod's namespace and return what it printed."""
        inside = ["nsenter", f"--net={self.pod(pod)}", "--"] if pod else []
        done = subprocess.run([*self.enter, *inside, "sh", "-ec", script], capture_output=True, text=True)
        assert not check or done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def links(self) -> list[str]:
        """Return the cables that hang in the machine."""
        return [link["ifname"] for link in json.loads(self.sh("ip -json link")) if link["ifname"].startswith("k8x")]

    def addresses(self) -> dict[str, Any]:
        """Return the addresses that the plugin has noted as taken."""
        file = self.folder / "pods" / "addresses.json"
        return json.loads(file.read_text())["addresses"] if file.exists() else {}

    def close(self) -> None:
        """End the sleepers, and with them the namespaces."""
        self._held.close()

    def _hold(self, command: list[str]) -> int:
        process = subprocess.Popen([*command, "sh", "-c", READY], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self._held.callback(lambda: (process.kill(), process.communicate()))
        assert process.stdout is not None
        if process.stdout.readline() != b"ready\n":
            pytest.skip(f"no namespaces here: {process.communicate()[1].decode().strip()}")
        return process.pid


@pytest.fixture(params=["as root", "in a user namespace"])
def machine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Machine]:
    """A machine of the test's own, once as root and once as root of a user namespace only."""
    if sys.platform != "linux" or not all(map(shutil.which, ("ip", "unshare", "nsenter"))):
        pytest.skip("needs Linux with iproute2 and util-linux")
    if request.param == "as root" and os.geteuid() != 0:
        pytest.skip("needs root")
    flags = [] if request.param == "as root" else ["--user", "--map-root-user"]
    made = Machine(tmp_path, *flags)
    yield made
    made.close()
