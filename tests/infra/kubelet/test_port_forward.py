"""`kubectl port-forward`, over WebSockets and over SPDY alone: the real kubectl."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import socket
import subprocess
import threading
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from queue import Empty, SimpleQueue
from typing import Any

import pytest

from tests.infra.kubelet.conftest import Namespace
from tests.support.eventually import eventually

pytestmark = pytest.mark.cluster

ADDRESS = 'os.environ.get("K8SEXT_BIND_ADDRESS", "0.0.0.0")'
WEB = f"""
import http.server, os
class Web(http.server.SimpleHTTPRequestHandler):
    def do_POST(self):
        os._exit(1)
http.server.ThreadingHTTPServer(({ADDRESS}, 8080), Web).serve_forever()
"""
# says how much it heard, and its hash, when the other side has ended; then as much of its own
TALK = f"""
import hashlib, os, socketserver
class Talk(socketserver.StreamRequestHandler):
    def handle(self):
        heard, hash = 0, hashlib.sha256()
        while chunk := self.rfile.read1(1 << 16):
            heard, hash = heard + len(chunk), hash.update(chunk) or hash
        self.wfile.write(f"{{heard}} {{hash.hexdigest()}}\\n".encode())
        block = b"x" * (1 << 16)
        for _ in range(heard // len(block)):
            self.wfile.write(block)
class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = daemon_threads = True
Server(({ADDRESS}, 8081), Talk).serve_forever()
"""


def program(namespace: Namespace, name: str, code: str, port: int, **spec: Any) -> None:
    """A pod that runs a Python program and is ready when its port is open."""
    ready = {"tcpSocket": {"port": port}, "periodSeconds": 1}
    container = {"command": ["python", "-u", "-c", code], "readinessProbe": ready}
    container["ports"] = [{"containerPort": port, "name": "main"}]
    namespace.pod(name, container=container, **spec)
    namespace.until(lambda: namespace.condition(name, "Ready") == "True")


class Forward:
    """A running `kubectl port-forward`: `ports` of this machine, and what it says on stderr."""

    def __init__(self, namespace: Namespace, *args: str, **environment: str) -> None:
        command = [*namespace.command, "port-forward", *args]
        self.process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ | environment
        )
        self.said: list[str] = []
        self._printed: SimpleQueue[str] = SimpleQueue()
        for stream, take in ((self.process.stdout, self._printed.put), (self.process.stderr, self.said.append)):
            assert stream is not None
            threading.Thread(target=lambda stream=stream, take=take: [take(line) for line in stream]).start()

    def port(self) -> int:
        """The port of this machine that kubectl names next."""
        while True:
            try:
                line = self._printed.get(timeout=60)
            except Empty:
                pytest.fail(f"kubectl names no port; it said {self.said}")
            if found := re.match(r"Forwarding from 127\.0\.0\.1:(\d+)", line):
                return int(found[1])


@contextmanager
def forward(namespace: Namespace, *args: str, **environment: str) -> Iterator[Forward]:
    running = Forward(namespace, *args, **environment)
    try:
        yield running
    finally:
        running.process.terminate()
        running.process.wait()


def get(port: int) -> int:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=60) as answer:
        answer.read()
        return answer.status


def talk(port: int, size: int) -> int:
    """Send so many bytes to a pod that runs TALK; what it says of them must be true. Returns how many come back."""
    data = os.urandom(size)
    with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
        connection.sendall(data)
        connection.shutdown(socket.SHUT_WR)
        answer = bytearray()
        while chunk := connection.recv(1 << 16):
            answer += chunk
    first, _, rest = bytes(answer).partition(b"\n")
    assert first.decode() == f"{len(data)} {hashlib.sha256(data).hexdigest()}"
    return len(rest)


@pytest.mark.parametrize("websockets", ["true", "false"])
def test_a_pod_a_service_and_a_deployment_are_reached(namespace: Namespace, websockets: str) -> None:
    program(namespace, "web", WEB, 8080)
    namespace.kubectl("expose", "pod", "web", "--port=80", "--target-port=main")
    for target, far in (("pod/web", "main"), ("web", "8080"), ("service/web", "80")):
        with forward(namespace, target, f":{far}", KUBECTL_PORT_FORWARD_WEBSOCKETS=websockets) as running:
            port = running.port()
            with ThreadPoolExecutor(10) as pool:
                assert set(pool.map(get, [port] * 30)) == {200}
            assert running.process.poll() is None and running.said == []


@pytest.mark.parametrize("websockets", ["true", "false"])
def test_a_hundred_megabytes_go_both_ways_and_each_direction_ends_by_itself(
    namespace: Namespace, websockets: str
) -> None:
    program(namespace, "talk", TALK, 8081)
    with forward(namespace, "talk", ":8081", KUBECTL_PORT_FORWARD_WEBSOCKETS=websockets) as running:
        assert talk(running.port(), 100 << 20) == 100 << 20


def test_a_port_that_nobody_serves_is_said_to_refuse(namespace: Namespace) -> None:
    program(namespace, "web", WEB, 8080)
    with forward(namespace, "web", ":9", ":8080") as running:
        closed = running.port()
        with socket.create_connection(("127.0.0.1", closed), timeout=60) as connection:
            assert connection.recv(100) == b""
        eventually(lambda: "error forwarding port 9 to pod" in "".join(running.said))
        eventually(lambda: "onnection refused" in "".join(running.said))


def test_a_container_that_starts_again_underneath_is_reached_again(namespace: Namespace) -> None:
    program(namespace, "web", WEB, 8080)
    with forward(namespace, "web", ":8080") as running:
        port = running.port()
        assert get(port) == 200
        with contextlib.suppress(OSError):  # no answer: it ends there
            urllib.request.urlopen(f"http://127.0.0.1:{port}/", data=b"end", timeout=60)
    namespace.until(lambda: namespace.status("web")["restartCount"] > 0)
    namespace.until(lambda: namespace.condition("web", "Ready") == "True")
    with forward(namespace, "web", ":8080") as running:
        assert get(running.port()) == 200


def test_a_pod_that_is_gone_ends_the_command(namespace: Namespace) -> None:
    program(namespace, "web", WEB, 8080)
    with forward(namespace, "web", ":8080") as running:
        port = running.port()
        assert get(port) == 200
        namespace.kubectl("delete", "pod", "web")

        def ended() -> bool:
            with contextlib.suppress(OSError):
                socket.create_connection(("127.0.0.1", port), timeout=5).close()
            return running.process.poll() is not None

        eventually(ended)
        assert "lost connection to pod" in "".join(running.said) or "error forwarding port" in "".join(running.said)
