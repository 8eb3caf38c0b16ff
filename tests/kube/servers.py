"""Throwaway API servers that tests restart and whose history they take away."""

from __future__ import annotations

import contextlib
import ssl
import subprocess
from base64 import b64encode
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp
import psutil
from kubernetes.aio.client import ApiClient

from k8sext.cluster import PrivateApiServer
from k8sext.cluster.ports import is_free
from k8sext.kube.request import ApiError, Unreachable, request
from tests.support.eventually import eventually, eventually_async


async def compact(server: PrivateApiServer) -> None:
    """Let etcd forget every version but the present one, through its JSON gateway."""
    pki = server.folder / "pki"
    tls = ssl.create_default_context(cafile=str(pki / "ca.crt"))
    tls.load_cert_chain(pki / "etcd.crt", pki / "etcd.key")
    command = _process(server, "etcd").cmdline()
    url = next(word.partition("=")[2] for word in command if word.startswith("--listen-client-urls"))
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=tls)) as session:
        async with session.post(f"{url}/v3/kv/range", json={"key": b64encode(b"x").decode()}) as answer:
            revision = (await answer.json())["header"]["revision"]
        async with session.post(f"{url}/v3/kv/compaction", json={"revision": revision, "physical": True}) as answer:
            assert answer.status == 200, await answer.text()


_restarted: list[subprocess.Popen[bytes]] = []


def restart_api_server(server: PrivateApiServer) -> None:
    """Kill the API server and start it again with the same command line. Whoever does this calls `end_restarted` at the
    end."""
    old = _process(server, "kube-apiserver")
    command, cwd = old.cmdline(), old.cwd()
    old.kill()
    if old.pid in (ours := {process.pid: process for process in _restarted}):
        ours[old.pid].wait()
    port = urlsplit(server.server).port
    assert port
    eventually(lambda: is_free(port))  # a thread of it may outlive its first one, which is a zombie by then
    with _log(server).open("w") as log:
        _restarted.append(subprocess.Popen(command, cwd=cwd, stdout=log, stderr=log, start_new_session=True))


def _log(server: PrivateApiServer) -> Path:
    return server.folder / "kube-apiserver-again.log"


def end_restarted() -> None:
    """Kill what `restart_api_server` started."""
    while _restarted:
        process = _restarted.pop()
        process.kill()
        process.wait()


def _process(server: PrivateApiServer, name: str) -> psutil.Process:
    found: list[psutil.Process] = []
    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.Error):  # it may end while it is looked at
            dead = process.status() == psutil.STATUS_ZOMBIE
            if process.name() == name[:15] and not dead and str(server.folder) in str(process.cmdline()):
                found.append(process)
    assert len(found) == 1, found
    return found[0]


async def until_well(server: PrivateApiServer, client: ApiClient, path: str = "/api/v1/namespaces/default") -> None:
    """Wait until an API server that was restarted answers at a path."""

    async def look() -> bool:
        try:
            await request(client, "GET", path, timeout=2)
        except (ApiError, Unreachable) as error:
            raise AssertionError(f"{error}; the end of its log:\n{_log(server).read_text()[-3000:]}") from error
        return True

    await eventually_async(look, every=0.1)
