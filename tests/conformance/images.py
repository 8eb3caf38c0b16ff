"""The images that critest asks for by name, remade from this machine's programs: each does what the cases look at, and
no more."""

from __future__ import annotations

import shutil
from pathlib import Path

from tests.conformance import busybox
from tests.conformance.registry import Registry

REGISTRIES = ("gcr.io", "registry.k8s.io", "k8s.gcr.io")
STAGING, E2E = "k8s-staging-cri-tools", "e2e-test-images"
LOOKED_FOR = ("pgrep", "ipcs")
"""What the busybox of Debian does not have, and that of Docker does."""
USERS = {
    "user-uid": "1002",
    "user-username": "www-data",
    "user-uid-group": "1003:1004",
    "user-username-group": "www-data:1004",
    "predefined-group": "1000",
}
NGINX = """#!/bin/sh
echo $$ > /var/run/nginx.pid
trap 'kill $!' TERM
httpd -f -p $PORT -h /www & wait
"""
"""As nginx, a master process with its number in a file, and a worker that serves."""
EFFECTIVE = """
while read -r name real effective rest; do
  if [ "$name" = Uid: ]; then echo "Effective uid: $effective"; fi
done < /proc/self/status
"""


def fill(registry: Registry, box: str) -> None:
    """Put all of them into a registry."""
    missing: dict[str, bytes] = {}
    for found in filter(None, map(shutil.which, LOOKED_FOR)):
        missing |= busybox.program(found)
    base = [busybox.base(box), busybox.tar(missing)]

    def add(name: str, mark: str = "", **config: object) -> None:
        """Add an image of its own, or where there is a mark, one that differs by it alone."""
        layers = [*base, busybox.tar({mark: b""})] if mark else base
        registry.add(name, layers, {"Env": ["PATH=/bin:/usr/bin"], "Cmd": ["sh"]} | config)

    add(f"{E2E}/busybox:1.29-2")
    for name in ("test-image-1", "test-image-2", "test-image-3", "test-image-latest"):
        add(f"{STAGING}/{name}:latest", mark=name)
    for tag in ("test", "all"):
        add(f"{STAGING}/test-image-tag:{tag}", mark=tag)
    for tag in ("1", "2", "3"):
        add(f"{STAGING}/test-image-tags:{tag}", mark="same-image")
    for name, user in USERS.items():
        add(f"{STAGING}/test-image-{name}:latest", mark=name, User=user)
    add("pause:3.9", mark="pause", Cmd=["tail", "-f", "/dev/null"])
    add(f"{E2E}/httpd:2.4.39-4", mark="httpd", Cmd=["sh", "-c", "echo httpd; exec httpd -f -p 80 -h /www"])
    _nginx(registry, base, f"{E2E}/nginx:1.14-2", 80)
    for machine in ("amd64", "arm64"):
        _nginx(registry, base, f"{STAGING}/hostnet-nginx-{machine}:latest", 12003)
    _setuid(registry)


def _nginx(registry: Registry, base: list[bytes], name: str, port: int) -> None:
    files = {"bin/nginx": NGINX.encode(), "var/run/": b""}
    config = {"Env": ["PATH=/bin", f"PORT={port}"], "Cmd": ["nginx", "master process"]}
    registry.add(name, [*base, busybox.tar(files)], config)


def _setuid(registry: Registry) -> None:
    """A program with root's s-bit that tells its effective user: a shell, told to keep it, and to start no other
    program."""
    shell = str(Path("/bin/sh").resolve())
    files = busybox.program(shell)
    config = {"Cmd": [shell, "-p", "-c", EFFECTIVE]}
    registry.add(f"{E2E}/nonewprivs:1.3", [busybox.tar(files, setuid=shell.lstrip("/"))], config)
