"""The runtime's half of CNI: call the network plugin for each pod, and remember what it answered."""

from __future__ import annotations

import asyncio
import ipaddress
import json
import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from k8sext.infra.addresses import halves
from k8sext.infra.cri.handlers.oci.network_namespace import NetworkNamespace
from k8sext.infra.cri.shimclient import SOURCE_ROOT

PLUGIN = (sys.executable, "-S", "-E", "-m", "k8sext.infra.cni.plugin")
INTERFACE = "eth0"


class NetworkError(Exception):
    """The plugin refused; the message is its own."""


class Network:
    """The pod network of one node. Addresses come from the upper half of the node's range: the lower half is
    `process`'s."""

    def __init__(self, folder: Path, namespace: NetworkNamespace, bridge: str) -> None:
        """`folder` keeps the plugin's notes; `bridge` is the name of this node's bridge."""
        self._folder, self._namespace, self._bridge = folder, namespace, bridge

    def configuration(self, cidr: ipaddress.IPv4Network, **more: Any) -> dict[str, Any]:
        """Return the network configuration that is passed to the plugin."""
        ipam = {
            "subnet": str(cidr),
            "rangeStart": str(halves(cidr)[1][0]),
            "dataDir": str(self._folder.absolute()),
        }
        return {
            "cniVersion": "1.1.0",
            "name": "pods",
            "type": "k8sext-bridge",
            "bridge": self._bridge,
            "ipam": ipam,
            **more,
        }

    async def add(self, cidr: ipaddress.IPv4Network, sandbox_id: str, namespace: str) -> dict[str, Any]:
        """Attach a pod and return the plugin's result. Raises NetworkError, after a DEL, as the specification asks."""
        try:
            return await self._call("ADD", self.configuration(cidr), sandbox_id, namespace)
        except NetworkError:
            await self.delete(cidr, sandbox_id)
            raise

    async def delete(self, cidr: ipaddress.IPv4Network, sandbox_id: str, result: dict[str, Any] | None = None) -> None:
        """Detach a pod, whose namespace may be gone. Raises NetworkError."""
        await self._call("DEL", self.configuration(cidr, prevResult=result), sandbox_id, "")

    async def collect(self, cidr: ipaddress.IPv4Network, sandbox_ids: Iterable[str]) -> None:
        """Detach all but these pods: what a crash left behind. Raises NetworkError."""
        valid = [{"containerID": one, "ifname": INTERFACE} for one in sandbox_ids]
        await self._call("GC", self.configuration(cidr, **{"cni.dev/valid-attachments": valid}), "", "")

    def was_used(self) -> bool:
        """Whether a pod was ever attached here."""
        return (self._folder / "pods").exists()

    async def _call(self, command: str, document: dict[str, Any], sandbox_id: str, namespace: str) -> dict[str, Any]:
        environment = {
            "CNI_COMMAND": command,
            "CNI_CONTAINERID": sandbox_id,
            "CNI_NETNS": namespace,
            "CNI_IFNAME": INTERFACE,
            "CNI_PATH": os.path.dirname(sys.executable),  # noqa: PTH120
            "PATH": os.environ.get("PATH", ""),
        }
        process = await asyncio.create_subprocess_exec(
            *(await asyncio.to_thread(self._namespace.enter)),
            *PLUGIN,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            cwd=SOURCE_ROOT,
            env=environment,
        )
        output, errors = await process.communicate(json.dumps(document).encode())
        try:
            answer = json.loads(output or b"{}")
        except ValueError:
            answer = {"code": 999, "msg": output.decode(errors="replace")}
        if process.returncode != 0:
            reason = answer.get("msg") or errors.decode(errors="replace").strip() or "no reason given"
            raise NetworkError(f"the network plugin failed ({command}, code {answer.get('code', '-')}): {reason}")
        return answer
