"""Handlers: what a probe or a lifecycle hook can do: run a command, ask by HTTP or gRPC, open a connection, sleep.

Source: `LifecycleHandler` and `Probe` in the API of pods, and how the kubelet words what went wrong.
"""

from __future__ import annotations

import asyncio
import socket

import aiohttp
import grpc
from multidict import CIMultiDict
from yarl import URL

from k8sext.infra.kubelet.pod.dial import Dialer, reason
from k8sext.infra.kubelet.pod.grpc_probe import is_serving
from k8sext.infra.kubelet.runtime.client import RuntimeClient, RuntimeFailure
from k8sext.kube.objects import Json

LONGEST_OUTPUT = 10_240
REDIRECTS, MOST_REDIRECTS = (301, 302, 303, 307, 308), 10
Outcome = tuple[bool | None, str]
"""Whether it succeeded, and its output or the reason why not; None: nobody could be asked, so nothing is known."""


class Handlers:
    """Runs the handlers of one node's pods; the connections of `session` are the dialer's."""

    def __init__(self, runtime: RuntimeClient, session: aiohttp.ClientSession, dialer: Dialer) -> None:
        self._runtime, self._session, self._dialer = runtime, session, dialer

    async def run(self, handler: Json, container: Json, run_id: str, pod_ip: str, timeout: float) -> Outcome:
        """Do it once, within `timeout` seconds. Raises nothing."""
        try:
            return await self._run(handler, container, run_id, pod_ip, timeout)
        except (ValueError, RuntimeFailure) as error:
            return None, str(error)

    async def _run(self, handler: Json, container: Json, run_id: str, pod_ip: str, timeout: float) -> Outcome:
        match handler:
            case {"exec": {"command": command}}:
                return await self._exec(run_id, command, timeout)
            case {"httpGet": request}:
                return await self._http_get(request, container, pod_ip, timeout)
            case {"tcpSocket": where}:
                connection, problem = await self._dial(
                    where.get("host") or pod_ip, _port(where["port"], container), timeout
                )
                if connection:
                    connection.close()
                return connection is not None, problem
            case {"grpc": {"port": port, **rest}}:
                connection, problem = await self._dial(pod_ip, port, timeout)
                if not connection:
                    return False, problem
                return await is_serving(connection, rest.get("service", ""), timeout)
            case {"sleep": {"seconds": seconds}}:
                await asyncio.sleep(seconds)
                return True, ""
        raise ValueError(
            f"this kubelet knows exec, httpGet, tcpSocket, grpc and sleep, and none of them is in {sorted(handler)}"
        )

    async def _exec(self, run_id: str, command: list[str], timeout: float) -> Outcome:
        try:
            answer = await self._runtime.exec_sync(run_id, command, timeout)
        except RuntimeFailure as error:
            if error.code == grpc.StatusCode.DEADLINE_EXCEEDED:
                return False, f'command timed out: "{" ".join(command)}" timed out after {timeout:g}s'
            raise
        return answer.exit_code == 0, (answer.stdout + answer.stderr)[:LONGEST_OUTPUT].decode(errors="replace")

    async def _http_get(self, request: Json, container: Json, pod_ip: str, timeout: float) -> Outcome:
        host, port = request.get("host") or pod_ip, _port(request["port"], container)
        scheme, path = request.get("scheme", "HTTP").lower(), "/" + request.get("path", "/").lstrip("/")
        headers = CIMultiDict((header["name"].title(), header["value"]) for header in request.get("httpHeaders") or [])
        headers.setdefault("User-Agent", "kube-probe/1.37")
        headers.setdefault("Accept", "*/*")
        url = URL(f"{scheme}://{host}:{port}{path}", encoded=True)
        try:
            async with asyncio.timeout(timeout):
                status, body = await self._follow(url, headers)
        except TimeoutError:
            return False, f'Get "{url}": no answer within {timeout:g}s'
        except (aiohttp.ClientError, OSError) as error:
            return False, f'Get "{url}": {reason(error)}'
        if 200 <= status < 400:
            return True, body
        return False, f"HTTP probe failed with statuscode: {status}"

    async def _follow(self, url: URL, headers: CIMultiDict[str]) -> tuple[int, str]:
        """Ask, and go where a redirect leads on the same host; one that leads elsewhere is an answer (as
        pkg/probe/http/http.go). Returns status and body."""
        for _ in range(MOST_REDIRECTS):
            async with self._session.get(url, headers=headers, allow_redirects=False) as response:
                target = url.join(URL(response.headers.get("Location", "")))
                if response.status not in REDIRECTS or target == url or target.host != url.host:
                    return response.status, (await response.content.read(LONGEST_OUTPUT)).decode(errors="replace")
                url = target
        raise aiohttp.ClientError(f"stopped after {MOST_REDIRECTS} redirects")

    async def _dial(self, host: str, port: int, timeout: float) -> tuple[socket.socket | None, str]:
        """A connection, or why there is none."""
        try:
            async with asyncio.timeout(timeout):
                return await self._dialer.dial(host, port), ""
        except TimeoutError:
            return None, f"dial tcp {host}:{port}: i/o timeout"
        except OSError as error:
            return None, f"dial tcp {host}:{port}: {reason(error)}"


def _port(port: int | str, container: Json) -> int:
    """A port may be given by the name it has in the container's spec."""
    if isinstance(port, int) or port.isdigit():
        return int(port)
    for known in container.get("ports") or []:
        if known.get("name") == port:
            return known["containerPort"]
    raise ValueError(f"container {container['name']} has no port named {port}")
