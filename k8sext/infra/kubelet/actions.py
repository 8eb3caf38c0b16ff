"""The four things that a probe or a lifecycle hook can do: run a command, ask by HTTP, open a connection, sleep."""

from __future__ import annotations

import asyncio
from typing import Any

import aiohttp
import grpc

from k8sext.infra.cri.proto import api_pb2 as cri
from k8sext.infra.kubelet.pod import Json
from k8sext.infra.kubelet.reach import Reach, reason
from k8sext.infra.kubelet.runtime import Runtime, RuntimeFailure

LONGEST_OUTPUT = 10_240


class Actions:
    """Carries out actions on the containers of one node; `session` asks by `reach`."""

    def __init__(self, runtime: Runtime, session: aiohttp.ClientSession, reach: Reach) -> None:
        self._runtime, self._session, self._reach = runtime, session, reach

    async def run(self, action: Json, container: Json, run: Any, pod_ip: str, timeout: float) -> tuple[bool, str]:
        """Do it once. Returns whether it succeeded, and its output or the reason why not. Raises nothing."""
        try:
            return await self._run(action, container, run, pod_ip, timeout)
        except (ValueError, RuntimeFailure) as error:
            return False, str(error)

    async def _run(self, action: Json, container: Json, run: Any, pod_ip: str, timeout: float) -> tuple[bool, str]:
        match action:
            case {"exec": {"command": command}}:
                return await self._exec(run, command, timeout)
            case {"httpGet": request}:
                return await self._http_get(request, container, pod_ip, timeout)
            case {"tcpSocket": socket}:
                return await self._connect(socket.get("host") or pod_ip, _port(socket["port"], container), timeout)
            case {"sleep": {"seconds": seconds}}:
                await asyncio.sleep(seconds)
                return True, ""
        return False, f"this kubelet knows exec, httpGet, tcpSocket and sleep, and none of them is in {sorted(action)}"

    async def _exec(self, run: Any, command: list[str], timeout: float) -> tuple[bool, str]:
        request = cri.ExecSyncRequest(container_id=run.id, cmd=command, timeout=int(timeout))
        try:
            answer = await self._runtime.call("ExecSync", request, timeout=timeout + 5)
        except RuntimeFailure as error:
            if error.code == grpc.StatusCode.DEADLINE_EXCEEDED:
                return False, f'command timed out: "{" ".join(command)}" timed out after {timeout:g}s'
            raise
        return answer.exit_code == 0, (answer.stdout + answer.stderr)[:LONGEST_OUTPUT].decode(errors="replace")

    async def _http_get(self, request: Json, container: Json, pod_ip: str, timeout: float) -> tuple[bool, str]:
        host, port = request.get("host") or pod_ip, _port(request["port"], container)
        scheme, path = request.get("scheme", "HTTP").lower(), "/" + request.get("path", "/").lstrip("/")
        headers = {"User-Agent": "kube-probe/1.37", "Accept": "*/*"}
        headers |= {header["name"]: header["value"] for header in request.get("httpHeaders") or []}
        url = f"{scheme}://{host}:{port}{path}"
        limit = aiohttp.ClientTimeout(total=timeout)
        try:
            async with self._session.get(url, headers=headers, allow_redirects=False, timeout=limit) as response:
                body = (await response.content.read(LONGEST_OUTPUT)).decode(errors="replace")
        except TimeoutError:
            return False, f'Get "{url}": no answer within {timeout:g}s'
        except (aiohttp.ClientError, OSError) as error:
            return False, f'Get "{url}": {reason(error)}'
        if 200 <= response.status < 400:
            return True, body
        return False, f"HTTP probe failed with statuscode: {response.status}"

    async def _connect(self, host: str, port: int, timeout: float) -> tuple[bool, str]:
        try:
            async with asyncio.timeout(timeout):
                connection = await self._reach.connect(host, port)
        except TimeoutError:
            return False, f"dial tcp {host}:{port}: i/o timeout"
        except OSError as error:
            return False, f"dial tcp {host}:{port}: {reason(error)}"
        connection.close()
        return True, ""


def _port(port: int | str, container: Json) -> int:
    """A port may be given by the name it has in the container's spec."""
    if isinstance(port, int) or port.isdigit():
        return int(port)
    for known in container.get("ports") or []:
        if known.get("name") == port:
            return known["containerPort"]
    raise ValueError(f"container {container['name']} has no port named {port}")
