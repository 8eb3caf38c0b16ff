"""Where the programs come from: this machine, the cache, a mirror that the test serves, the Go modules; and what may go
wrong."""

from __future__ import annotations

import functools
import hashlib
import io
import os
import re
import shutil
import signal
import subprocess
import sys
import tarfile
import threading
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from k8sext.cluster import programs
from k8sext.cluster.errors import ClusterError
from k8sext.cluster.programs import build, installed
from k8sext.cluster.programs.progress import LineProgress
from k8sext.cluster.providers.kind import program as kind
from k8sext.versions import ETCD, KUBERNETES

CLOSED = "http://127.0.0.1:9"  # the discard port: nobody listens


def program(name: str, version: str) -> bytes:
    """A script that answers for its version as the real program does."""
    words = {"etcd": f"etcd Version: {version.lstrip('v')}", "kubectl": f"Client Version: {version}"}
    return f"#!/bin/sh\necho '{words.get(name, f'Kubernetes {version}')}'\n".encode()


class Mirror:
    """A folder laid out as the official releases, served on loopback."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.asked = folder, []
        architecture = programs.architecture()
        for name in programs.CLUSTER_PROGRAMS:
            if name != "etcd":
                self.add(f"{KUBERNETES}/bin/linux/{architecture}/{name}", program(name, KUBERNETES))
        archive = io.BytesIO()
        stem = f"etcd-{ETCD}-linux-{architecture}"
        with tarfile.open(fileobj=archive, mode="w:gz") as tar:
            member = tarfile.TarInfo(f"{stem}/etcd")
            member.size = len(content := program("etcd", ETCD))
            tar.addfile(member, io.BytesIO(content))
        self.add(f"{ETCD}/{stem}.tar.gz", archive.getvalue(), sums="SHA256SUMS")

    def add(self, path: str, content: bytes, sums: str | None = None) -> None:
        file = self.folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
        digest = hashlib.sha256(content).hexdigest()
        if sums:
            (file.parent / sums).write_text(f"{'0' * 64}  another-file\n{digest}  {file.name}\n")
        else:
            Path(f"{file}.sha256").write_text(digest)

    def file(self, name: str) -> Path:
        return next(path for path in self.folder.rglob(f"{name}*") if path.suffix in ("", ".gz"))


@pytest.fixture
def mirror(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Mirror]:
    served = Mirror(tmp_path / "mirror")

    class Handler(SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:
            served.asked.append(self.path)

    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=served.folder))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setenv("K8SEXT_KUBERNETES_MIRROR", address)
    monkeypatch.setenv("K8SEXT_ETCD_MIRROR", address)
    yield served
    server.shutdown()
    server.server_close()


@pytest.fixture(autouse=True)
def _empty_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing on PATH, nothing in the cache, no official address reachable."""
    monkeypatch.setenv("K8SEXT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PATH", "/usr/bin:/bin" if not shutil.which("kubectl", path="/usr/bin:/bin") else str(tmp_path))
    monkeypatch.delenv("KUBEBUILDER_ASSETS", raising=False)
    monkeypatch.setenv("K8SEXT_KUBERNETES_MIRROR", CLOSED)
    monkeypatch.setenv("K8SEXT_ETCD_MIRROR", CLOSED)


def test_downloaded_programs_are_checked_cached_and_used_again(
    mirror: Mirror, capfd: pytest.CaptureFixture[str]
) -> None:
    found = programs.find(progress=LineProgress())
    assert {name: installed.version_of(path) for name, path in found.items()} == {
        name: ETCD if name == "etcd" else KUBERNETES for name in programs.CLUSTER_PROGRAMS
    }
    said = capfd.readouterr().err
    assert "Downloading etcd, kube-apiserver" in said and "done in" in said
    mirror.asked.clear()
    assert programs.find() == found
    assert mirror.asked == []


def test_a_wrong_checksum_is_an_error_and_nothing_stays(mirror: Mirror) -> None:
    mirror.file("kube-scheduler").write_bytes(b"something else")
    with pytest.raises(ClusterError, match="kube-scheduler is not what was published"):
        programs.find()
    assert not list(programs.cache().glob("kube-scheduler*"))
    assert not list(programs.cache().glob("*partial*"))


def test_a_wrong_checksum_is_not_passed_over_by_building(mirror: Mirror, monkeypatch: pytest.MonkeyPatch) -> None:
    mirror.file("etcd-").write_bytes(b"something else")
    monkeypatch.setattr(build, "fetch", lambda *_: pytest.fail("it went on"))
    with pytest.raises(ClusterError, match="do not trust the mirror"):
        programs.find()


def test_a_place_that_cannot_be_reached_is_passed_over_and_said(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", os.environ["PATH"] + ":" + str(Path(sys.executable).parent))
    monkeypatch.setattr(build, "_go", _no_go)
    with pytest.raises(
        ClusterError, match=r"(?s)cannot be had here.*download: .*cannot be reached.*build: no Go.*KUBEBUILDER_ASSETS"
    ):
        programs.find(progress=LineProgress())
    assert "No download: " in capfd.readouterr().err


def _no_go(*_: object) -> None:
    from k8sext.cluster.errors import Unavailable

    raise Unavailable("no Go")


def test_a_mirror_that_lacks_a_file_is_passed_over(mirror: Mirror, monkeypatch: pytest.MonkeyPatch) -> None:
    Path(f"{mirror.file('kubectl')}.sha256").unlink()
    monkeypatch.setattr(build, "_go", _no_go)
    with pytest.raises(ClusterError, match=r"kubectl.sha256 cannot be reached \(HTTP 404\)"):
        programs.find()


@pytest.mark.skipif(not shutil.which("go"), reason="no Go on this machine, so no module fetch to cut off")
def test_go_modules_that_cannot_be_reached_are_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(Path(_go()).parent))
    monkeypatch.setenv("GOPROXY", CLOSED)
    monkeypatch.setenv("GOMODCACHE", str(tmp_path / "modules"))
    with pytest.raises(ClusterError, match="the Go modules cannot be reached"):
        programs.find()
    assert not list(programs.cache().glob("k8sext-build-*"))


@functools.cache
def _go() -> str:
    return shutil.which("go") or ""


_go()  # before the fixtures empty PATH


def test_programs_of_ones_own_come_first_if_their_version_fits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in programs.CLUSTER_PROGRAMS:
        _install(tmp_path / "assets", name, "v3.6.4" if name == "etcd" else KUBERNETES)
    monkeypatch.setenv("KUBEBUILDER_ASSETS", str(tmp_path / "assets"))
    assert {path.parent for path in programs.find().values()} == {tmp_path / "assets"}


@pytest.mark.parametrize(
    ("name", "version"), [("kube-apiserver", "v1.30.1"), ("etcd", "v3.4.16"), ("kubectl", "nonsense")]
)
def test_a_named_program_of_another_version_is_refused(
    name: str, version: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _install(tmp_path / "assets", name, version)
    monkeypatch.setenv("KUBEBUILDER_ASSETS", str(tmp_path / "assets"))
    with pytest.raises(ClusterError, match=rf"{name} is .*the workbook needs .*unset KUBEBUILDER_ASSETS"):
        programs.find()


def test_a_program_on_path_of_another_version_is_passed_over(
    mirror: Mirror, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _install(tmp_path / "path", "kubectl", "v1.30.1")
    _install(tmp_path / "path", "kube-scheduler", KUBERNETES)
    monkeypatch.setenv("PATH", f"{tmp_path / 'path'}:/usr/bin:/bin")
    found = programs.find()
    assert found["kubectl"].parent == programs.cache()
    assert found["kube-scheduler"].parent == tmp_path / "path"


def _install(folder: Path, name: str, version: str) -> None:
    folder.mkdir(exist_ok=True)
    (folder / name).write_bytes(program(name, version))
    (folder / name).chmod(0o755)


FIND = "from k8sext.cluster import programs; programs.find()"


def test_two_calls_at_once_download_once(mirror: Mirror) -> None:
    calls = [subprocess.Popen([sys.executable, "-c", FIND], stderr=subprocess.DEVNULL) for _ in range(3)]
    assert [call.wait() for call in calls] == [0, 0, 0]
    assert sum(re.search("/kube-apiserver$", path) is not None for path in mirror.asked) == 1


def test_what_a_killed_fetch_left_is_swept_away(mirror: Mirror) -> None:
    programs.cache().mkdir(parents=True)
    (programs.cache() / "kubectl.partial").write_text("half a")
    (programs.cache() / "k8sext-build-x1").mkdir()
    programs.find()
    assert sorted(path.name for path in programs.cache().iterdir()) == sorted([*programs.CLUSTER_PROGRAMS, ".lock"])


def test_ctrl_c_during_a_build_stops_the_compilers_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, eventually
) -> None:
    slow_go = tmp_path / "slow" / "go"
    slow_go.parent.mkdir()
    slow_go.write_text(
        f"#!/bin/sh\ncase $1 in env) echo go1.99.0;; list) echo pkg;; build) touch {tmp_path}/building; sleep 1234 & "
        "wait;; esac\n"
    )
    slow_go.chmod(0o755)
    monkeypatch.setenv("PATH", f"{slow_go.parent}:/usr/bin:/bin")
    command = [sys.executable, "-c", FIND.replace("find(", "find(['etcd'], ")]
    call = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    eventually((tmp_path / "building").exists)
    call.send_signal(signal.SIGINT)
    assert call.wait(90) != 0
    assert [path.name for path in programs.cache().iterdir()] == [".lock"]
    assert subprocess.run(["pgrep", "-f", "sleep 1234"], capture_output=True).returncode == 1


@pytest.mark.parametrize(
    ("mount", "sentence"),
    [("size=64k", "The disk that holds .* is full"), ("size=1m,ro", "cannot be written .*K8SEXT_CACHE")],
)
def test_a_full_and_a_read_only_cache_are_one_sentence(
    mount: str, sentence: str, mirror: Mirror, tmp_path: Path
) -> None:
    mirror.add(f"{KUBERNETES}/bin/linux/{programs.architecture()}/kube-apiserver", os.urandom(300_000))
    (tmp_path / "cache").mkdir()
    script = (
        f"mount -t tmpfs -o {mount} tmpfs {tmp_path}/cache && exec {sys.executable} -m k8sext up --name full --data "
        f"{tmp_path}/data"
    )
    namespace = ["/usr/bin/unshare", "--mount", *([] if os.geteuid() == 0 else ["--user", "--map-root-user"])]
    if subprocess.run([*namespace, "/bin/true"], capture_output=True).returncode != 0:
        pytest.skip("this user may not mount anything, so no disk can be made full")
    done = subprocess.run(
        [*namespace, "/bin/sh", "-c", script],
        capture_output=True,
        text=True,
        env={**os.environ, "PATH": "/usr/bin:/bin:/sbin"},
    )
    assert done.returncode == 1
    assert re.search(sentence, done.stderr) and "Traceback" not in done.stderr, done.stderr


def test_the_go_module_builds_the_version_that_the_workbook_says() -> None:
    text = (build.HERE / "gomod" / "go.mod").read_text()
    assert f"k8s.io/kubernetes {KUBERNETES}\n" in text and f"go.etcd.io/etcd/server/v3 {ETCD}\n" in text
    staging = set(re.findall(r"^\t(k8s\.io/\S+) => \1 v0\.(\S+)$", text, re.MULTILINE))
    assert {version for _, version in staging} == {KUBERNETES.removeprefix("v1.")}
    assert len(staging) > 25


@pytest.mark.parametrize("broken", [False, True])
def test_kind_comes_from_its_mirror_if_it_is_what_was_published(
    mirror: Mirror, monkeypatch: pytest.MonkeyPatch, broken: bool
) -> None:
    file = f"{kind.KIND}/kind-linux-{programs.architecture()}"
    mirror.add(file, (script := f"#!/bin/sh\necho kind {kind.KIND}\n".encode()), sums=f"{Path(file).name}.sha256sum")
    monkeypatch.setenv("K8SEXT_KIND_MIRROR", os.environ["K8SEXT_KUBERNETES_MIRROR"])
    monkeypatch.setenv("K8SEXT_PROGRAMS", "download")
    if broken:
        (mirror.folder / file).write_bytes(script + b"# and more\n")
        with pytest.raises(ClusterError, match="is not what was published"):
            kind.find(LineProgress())
    else:
        assert kind.version_of(kind.find(LineProgress())) == kind.KIND
    assert not [*programs.cache_folder().rglob("*.partial*")]
