"""The script of the weekly run, on a mirror with the official layout that holds this machine's own programs."""

from __future__ import annotations

import functools
import hashlib
import os
import subprocess
import sys
import tarfile
import threading
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from k8sext.cluster.programs import architecture
from k8sext.cluster.providers.kind import program as kind
from k8sext.versions import ETCD, KUBERNETES

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
KIND = f"#!/bin/sh\necho kind {kind.KIND} go1.26 linux\n".encode()


@pytest.fixture
def mirror(programs: dict[str, Path], tmp_path: Path) -> Iterator[tuple[Path, str]]:
    """Its folder and its address."""
    for name, path in programs.items():
        folder = tmp_path / (ETCD if name == "etcd" else f"{KUBERNETES}/bin/linux/{architecture()}")
        folder.mkdir(parents=True, exist_ok=True)
        if name == "etcd":
            archive = folder / f"etcd-{ETCD}-linux-{architecture()}.tar.gz"
            with tarfile.open(archive, "w:gz", compresslevel=1) as tar:
                tar.add(path.resolve(), f"etcd-{ETCD}-linux-{architecture()}/etcd")
            (folder / "SHA256SUMS").write_text(f"{_digest(archive)}  {archive.name}\n")
        else:
            (folder / name).symlink_to(path.resolve())
            (folder / f"{name}.sha256").write_text(_digest(path))
    kinds = tmp_path / kind.KIND
    kinds.mkdir()
    (kinds / f"kind-linux-{architecture()}").write_bytes(KIND)
    (kinds / f"kind-linux-{architecture()}.sha256sum").write_text(hashlib.sha256(KIND).hexdigest())

    class Handler(SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=tmp_path))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield tmp_path, f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def _digest(file: Path) -> str:
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def download(address: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tests.download", "--mirror", address]
    environment = {**os.environ, "NO_PROXY": "127.0.0.1"}
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)


@pytest.mark.cluster
def test_a_cluster_starts_with_the_programs_that_were_downloaded(mirror: tuple[Path, str]) -> None:
    done = download(mirror[1])
    assert done.returncode == 0, done.stderr
    assert f"kube-apiserver {KUBERNETES}\n" in done.stdout and f"kind {kind.KIND}\n" in done.stdout
    assert "A cluster started with them and ran a pod." in done.stdout


def test_what_is_not_there_is_said_and_nothing_else_takes_its_place(mirror: tuple[Path, str]) -> None:
    next(mirror[0].rglob("kube-scheduler.sha256")).unlink()
    done = download(mirror[1])
    assert done.returncode == 1
    assert "kube-scheduler.sha256 cannot be reached (HTTP 404)" in done.stderr and "started with" not in done.stdout
