"""A cluster's life, by the commands that a learner types: up, status, kubeconfig, logs, down, and what may happen in
between."""

from __future__ import annotations

import json
import os
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest import mock

import psutil
import pytest

from k8sext import cluster as clusters
from k8sext.cluster.errors import ClusterError
from k8sext.cluster.paths import layout, write_json
from k8sext.cluster.providers import embedded
from k8sext.cluster.providers.embedded import supervisor
from k8sext.versions import ETCD, KUBERNETES

pytestmark = [pytest.mark.cluster, pytest.mark.usefixtures("programs")]


def k8sext(*arguments: str, check: bool = True, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the real command line."""
    done = subprocess.run(
        [sys.executable, "-m", "k8sext", *arguments], capture_output=True, text=True, env={**os.environ, **environment}
    )
    assert not check or done.returncode == 0, done.stderr
    return done


def processes_of(folder: Path) -> list[psutil.Process]:
    """Every process whose command line names a folder."""
    return [p for p in psutil.process_iter(["cmdline"]) if any(str(folder) in part for part in p.info["cmdline"] or [])]


@contextmanager
def in_place_of(program: str, script: str, folder: Path) -> Iterator[None]:
    """Let `up` take a shell script for one of the programs."""
    prepare, file = embedded._prepare, folder / "script"
    file.write_text(f"#!/bin/sh\n{script}\n")
    file.chmod(0o755)
    with mock.patch.object(
        embedded, "_prepare", lambda where, found, *rest: prepare(where, {**found, program: file}, *rest)
    ):
        yield


@pytest.fixture
def data(tmp_path: Path):
    """A folder for one cluster, which is stopped whatever the test did."""
    folder = tmp_path / "cluster"
    yield folder
    clusters.down(layout("one", folder))
    assert processes_of(folder) == []


def test_a_cluster_comes_up_is_reused_and_leaves_nothing(data: Path) -> None:
    where = ["--name", "one", "--data", str(data)]
    assert "is up at https://127.0.0.1:" in k8sext("up", *where).stdout
    Path(k8sext("kubeconfig", *where).stdout.strip()).unlink()
    assert "is up already" in k8sext("up", *where).stdout

    kubeconfig = Path(k8sext("kubeconfig", *where).stdout.strip())
    assert stat.S_IMODE(kubeconfig.stat().st_mode) == 0o600
    assert all(stat.S_IMODE(key.stat().st_mode) == 0o600 for key in (data / "pki").glob("*.key"))
    found = clusters.up("one", data)
    versions = json.loads(found.kubectl("version", "-o", "json"))
    assert versions["clientVersion"]["gitVersion"] == versions["serverVersion"]["gitVersion"] == KUBERNETES

    status = json.loads(k8sext("status", *where, "-o", "json").stdout)
    assert status["phase"] == "ready"
    by_name = {component["name"]: component for component in status["components"]}
    assert by_name["etcd"]["version"] == ETCD and by_name["kube-apiserver"]["version"] == KUBERNETES
    assert {component["health"] for component in status["components"]} == {"ok"}
    listening = [c for p in processes_of(data) for c in p.net_connections() if c.status == psutil.CONN_LISTEN]
    assert listening and all(c.laddr.ip.startswith("127.") for c in listening), "loopback only"
    table = k8sext("status", *where).stdout
    assert "kube-scheduler" in table and "MB" in table
    assert "Serving securely" in k8sext("logs", "kube-apiserver", *where).stdout

    assert {file.name for file in data.iterdir()} <= {*found.layout.entries}, "`down` removes what `up` made"
    assert "is down" in k8sext("down", *where).stdout
    assert processes_of(data) == [] and not data.exists() and not layout("one", data).sockets.exists()
    assert "There is no cluster one" in k8sext("down", *where).stdout
    assert k8sext("status", *where, check=False).returncode == 3


def test_a_component_that_dies_is_started_again(data: Path, eventually) -> None:
    found = clusters.up("one", data)
    before = {c["name"]: c["pid"] for c in found.status()["components"]}
    for name in ("kube-controller-manager", "etcd"):
        os.kill(before[name], signal.SIGKILL)

    def restarted() -> bool:
        now = {c["name"]: c for c in found.status()["components"]}
        return all(now[n]["restarts"] == 1 and now[n]["health"] == "ok" for n in ("etcd", "kube-controller-manager"))

    eventually(restarted, within=180)
    eventually(lambda: found.status()["components"][1]["health"] == "ok", within=180)
    found.kubectl("create", "namespace", "after-the-fall")
    found.kubectl("wait", "--for=create", "serviceaccount/default", "-n", "after-the-fall", "--timeout=180s")


def test_after_sigkill_of_the_supervisor_nothing_runs_on_and_up_recovers_the_data(data: Path, eventually) -> None:
    found = clusters.up("one", data)
    found.kubectl("create", "configmap", "kept", "--from-literal=a=b")
    os.kill(found.status()["pid"], signal.SIGKILL)
    gone = k8sext("node", "rm", "k8sext-worker2", "--name", "one", "--data", str(data), check=False)
    assert gone.returncode == 1 and "The cluster one is down" in gone.stderr
    eventually(
        lambda: not [p for p in processes_of(data) if "k8sext.infra.cri.shim" not in " ".join(p.info["cmdline"])]
    )
    assert found.status()["phase"] == "down"
    again = clusters.up("one", data)
    assert again.started_here
    assert again.kubectl("get", "configmap", "kept", "-o", "jsonpath={.data.a}") == "b"


@pytest.mark.slow
def test_stale_state_of_a_machine_that_was_switched_off_is_no_running_cluster(data: Path) -> None:
    where = layout("one", data)
    data.mkdir()
    where.marker.touch()
    where.supervisor_lock.touch()
    # After a reboot the process id belongs to somebody else: here, to this test.
    write_json(where.state, {"phase": "ready", "pid": os.getpid(), "components": {}})
    assert clusters.status(where)["phase"] == "down"
    assert clusters.up("one", data).started_here
    assert psutil.pid_exists(os.getpid())


def test_two_calls_at_once_start_one_cluster(data: Path) -> None:
    command = [sys.executable, "-m", "k8sext", "up", "--name", "one", "--data", str(data)]
    calls = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    said = sorted(call.communicate()[0].splitlines()[0].split(" is up ")[1][:7] for call in calls)
    assert said == ["already", "already", "at http"]
    assert len([p for p in processes_of(data) if Path(p.info["cmdline"][0]).name == "kube-apiserver"]) == 1


def test_ctrl_c_during_the_start_leaves_nothing(data: Path, eventually) -> None:
    command = [sys.executable, "-m", "k8sext", "up", "--name", "one", "--data", str(data)]
    call = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    eventually(lambda: [p for p in processes_of(data) if "etcd" in p.info["cmdline"][0]])
    call.send_signal(signal.SIGINT)
    assert "Traceback" not in call.communicate()[1]
    assert call.returncode == 130
    assert processes_of(data) == []
    assert clusters.up("one", data).started_here


@pytest.mark.slow
def test_an_etcd_that_ended_while_it_made_its_files_begins_anew(data: Path, tmp_path: Path) -> None:
    where = layout("one", data)
    half = where.etcd / "member" / "wal" / "0000000000000000-0000000000000000.wal"
    script = f"mkdir -p {half.parent}; echo half a record > {half}; exit 7"
    with in_place_of("etcd", script, tmp_path), pytest.raises(ClusterError, match="etcd ended with code 7"):
        clusters.up("one", data)
    assert half.exists()
    clusters.up("one", data).kubectl("create", "namespace", "kept")
    embedded._stop(where)
    assert "kept" in clusters.up("one", data).kubectl("get", "namespaces", "-o", "name"), "what is finished stays"


@pytest.mark.slow
def test_clusters_live_side_by_side(data: Path, tmp_path: Path) -> None:
    one = clusters.up("one", data)
    with clusters.up("two", tmp_path / "two") as two:
        assert one.server != two.server
        two.kubectl("create", "namespace", "only-in-two")
        assert "only-in-two" not in one.kubectl("get", "namespaces", "-o", "name")
    assert one.status()["phase"] == "ready"


def test_a_taken_port_is_one_sentence(data: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = k8sext("up", "--name", "one", "--data", str(data), "--port", str(port), check=False)
    assert done.returncode == 1
    assert f"Port {port} of 127.0.0.1 is taken" in done.stderr and "Traceback" not in done.stderr


@pytest.mark.slow
def test_another_port_of_a_running_cluster_is_refused(data: Path) -> None:
    clusters.up("one", data)
    with pytest.raises(ClusterError, match="stop it first with `k8sext down --name one`"):
        clusters.up("one", data, port=1)


def test_a_program_that_does_not_start_is_said_with_its_last_words(data: Path, tmp_path: Path) -> None:
    said = r"(?s)kube-scheduler ended with code 7 .*no luck today"
    with in_place_of("kube-scheduler", "echo no luck today; exit 7", tmp_path), pytest.raises(ClusterError, match=said):
        clusters.up("one", data)
    assert not supervisor.is_running(layout("one", data))


def test_a_folder_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    done = k8sext("up", "--name", "one", "--data", str(tmp_path / "file" / "deep"), check=False)
    assert done.returncode == 1 and "cannot be written" in done.stderr and "--data" in done.stderr


@pytest.mark.slow
def test_down_leaves_foreign_files_in_a_folder_of_the_learners_own(data: Path) -> None:
    clusters.up("one", data)
    (data / "thesis.txt").write_text("mine")
    clusters.down(layout("one", data))
    assert [file.name for file in data.iterdir()] == ["thesis.txt"]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["up", "--name", "Über Cluster"], "cannot be a cluster's name"),
        (["down", "--name", ""], "cannot be a cluster's name"),
        (["up", "--data", ""], "'' cannot be a cluster's folder"),
        (["down", "--data", ""], "'' cannot be a cluster's folder"),
        (["up", "--data", "/proc/k8sext"], "/proc/k8sext cannot be written"),
        (["up", "--data", "~nobody-of-this-name"], "names a user who is not here"),
        (["up", "--data", "caf\udce9"], "characters that are no UTF-8"),
        (["up", "--provider", "cloud"], "There is no provider 'cloud'"),
        (["kubeconfig", "--name", "nobody"], "There is no cluster nobody"),
        (["logs", "etcd", "--name", "nobody"], "There is no cluster nobody"),
    ],
)
def test_bad_input_is_one_sentence_and_exit_code_1(arguments: list[str], sentence: str) -> None:
    done = k8sext(*arguments, check=False)
    assert done.returncode == 1 and sentence in done.stderr and "Traceback" not in done.stderr


def test_wrong_usage_is_exit_code_2() -> None:
    assert k8sext("upp", check=False).returncode == 2


@pytest.mark.slow
def test_a_socket_folder_made_by_somebody_else_is_refused(data: Path, tmp_path: Path) -> None:
    where = layout("one", data)
    where.sockets.symlink_to(tmp_path)
    try:
        with pytest.raises(ClusterError, match="belongs to somebody else"):
            clusters.up("one", data)
    finally:
        where.sockets.unlink()
    assert clusters.up("one", data).started_here


def test_down_never_removes_what_is_no_clusters(tmp_path: Path) -> None:
    for name in ("logs", "pki", "etcd", "nodes"):
        (tmp_path / "mine" / name).mkdir(parents=True)
    (tmp_path / "mine" / "kubeconfig").write_text("mine")
    assert "There is no cluster" in k8sext("down", "--data", str(tmp_path / "mine")).stdout
    assert len(list((tmp_path / "mine").iterdir())) == 5
    done = k8sext("up", "--data", str(tmp_path / "mine"), check=False)
    assert done.returncode == 1 and "name an empty or a new folder with --data" in done.stderr


def test_a_name_given_in_a_notebook_of_another_cluster_means_that_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("K8SEXT_CLUSTER", "main")
    monkeypatch.setenv("K8SEXT_DATA", str(tmp_path / "main"))
    assert layout().data == layout("main").data == tmp_path / "main"
    assert layout("class-2").data != tmp_path / "main"


@pytest.mark.slow
def test_down_finds_the_supervisor_also_when_the_state_was_damaged(data: Path) -> None:
    found = clusters.up("one", data)
    found.layout.state.write_text("{")
    assert clusters.status(found.layout)["components"] == []
    assert clusters.down(found.layout)
    assert processes_of(data) == [] and not data.exists()


@pytest.mark.slow
def test_a_damaged_configuration_is_one_sentence_and_down_still_works(data: Path) -> None:
    found = clusters.up("one", data)
    found.layout.config.write_text("{")
    for command in (["up"], ["status"], ["kubeconfig"], ["node", "stop", "k8sext-worker"]):
        done = k8sext(*command, "--name", "one", "--data", str(data), check=False)
        assert done.returncode == 1 and "is damaged: remove the cluster with `k8sext down`" in done.stderr, done.stderr
    assert clusters.down(found.layout)


@pytest.mark.slow
def test_a_proxy_in_the_environment_is_not_asked_for_loopback(data: Path) -> None:
    dead = dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"), "http://127.0.0.1:9")
    k8sext("up", "--name", "one", "--data", str(data), **dead)
    assert k8sext("status", "--name", "one", "--data", str(data), **dead).returncode == 0


@pytest.mark.slow
def test_sigterm_during_the_start_leaves_nothing(data: Path, eventually) -> None:
    call = subprocess.Popen(
        [sys.executable, "-m", "k8sext", "up", "--name", "one", "--data", str(data)], stderr=subprocess.PIPE
    )
    eventually(lambda: [p for p in processes_of(data) if "etcd" in p.info["cmdline"][0]])
    call.terminate()
    call.communicate()
    assert call.returncode == 130 and processes_of(data) == []
