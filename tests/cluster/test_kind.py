"""The provider kind where Docker, or kind itself, is not as it should be: said in one sentence each, by programs that
only pretend."""

from __future__ import annotations

import json
import socket
from pathlib import Path

import pytest

from k8sext import cluster as clusters
from k8sext.cluster.docker import bridge_address
from k8sext.cluster.errors import ClusterError
from k8sext.cluster.node_specs import defaults
from k8sext.cluster.paths import layout
from k8sext.cluster.programs.progress import Progress
from k8sext.cluster.providers.kind import config, machine, program
from k8sext.kube import certificates as x509
from tools.image_requirements import LOCK, PINNED, image_requirements

ROOT = Path(__file__).parents[2]
DOCKERFILE = ROOT / "Dockerfile"

PRETENDER = """#!/bin/sh
name=$(basename "$0")-$1
echo "$(basename "$0") $*" >> "$PRETENDED/calls"
[ -f "$PRETENDED/$name.fails" ] && { cat "$PRETENDED/$name.fails" >&2; exit 1; }
cat "$PRETENDED/$name" 2>/dev/null
exit 0
"""


class Pretended:
    """What the pretended programs say, by program and first argument; all succeed with no words unless told
    otherwise."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name in ("docker", "kind", "kubectl"):
            (folder / name).write_text(PRETENDER)
            (folder / name).chmod(0o755)
        self.says("docker", "info", "8000000000")
        self.says("kind", "version", f"kind {program.KIND} go1.26.6 linux/amd64")

    def says(self, name: str, argument: str, words: str) -> None:
        (self.folder / f"{name}-{argument}").write_text(words + "\n")

    def fails(self, name: str, argument: str, words: str) -> None:
        (self.folder / f"{name}-{argument}.fails").write_text(words + "\n")

    def has_containers(self, *names: str) -> None:
        self.says("docker", "ps", "\n".join(f"id-{name}" for name in names))
        state = {"Running": True, "Pid": 1}
        config = {"Labels": {}, "Image": "node"}
        found = [{"Name": f"/{name}", "State": state, "Config": config} for name in names]
        self.says("docker", "inspect", json.dumps(found))

    @property
    def calls(self) -> list[str]:
        calls = self.folder / "calls"
        return calls.read_text().splitlines() if calls.exists() else []


@pytest.fixture
def pretended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Pretended:
    folder = tmp_path / "programs"
    folder.mkdir()
    monkeypatch.setenv("PRETENDED", str(folder))
    for name in ("K8SEXT_KIND_NODE_IMAGE", "K8SEXT_IMAGE_BASE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
    monkeypatch.setenv("K8SEXT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(
        "k8sext.cluster.providers.kind.programs.beside", lambda progress: {"kubectl": folder / "kubectl"}
    )
    return Pretended(folder)


def refusal(tmp_path: Path, **options: object) -> str:
    """The one sentence with which `up` refuses; a try leaves no folder behind."""
    folder = tmp_path / "cluster"
    with pytest.raises(ClusterError) as error:
        clusters.up("class", folder, provider="kind", **options)  # pyright: ignore[reportArgumentType]
    assert not (folder / "cluster.json").exists()
    return str(error.value)


def test_without_docker_it_says_where_to_get_it(
    pretended: Pretended, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "needs Docker, and there is no command docker on PATH: install it" in refusal(tmp_path)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (
            "Cannot connect to the Docker daemon at unix:///var/run/docker.sock. Is the docker daemon running?",
            "Docker is not running: start it",
        ),
        (
            "permission denied while trying to connect to the Docker daemon socket at unix:///var/run/docker.sock",
            "Docker runs, but you may not use it: add yourself to its group",
        ),
        ("something new", "`docker info` failed: something new"),
    ],
)
def test_a_docker_that_does_not_answer_is_explained(
    pretended: Pretended, tmp_path: Path, words: str, sentence: str
) -> None:
    pretended.fails("docker", "info", words)
    assert sentence in refusal(tmp_path)


def test_too_little_memory_is_said_before_anything_is_made(pretended: Pretended, tmp_path: Path) -> None:
    pretended.says("docker", "info", "1500000000")
    assert "Docker has 1.5 GB of memory and a cluster of three nodes needs 2.5 GB" in refusal(tmp_path)
    assert not [call for call in pretended.calls if call.startswith("kind")]


def test_an_old_kind_on_path_is_refused_by_its_version(pretended: Pretended, tmp_path: Path) -> None:
    pretended.says("kind", "version", "kind v0.20.0 go1.20.4 linux/amd64")
    assert "kind is v0.20.0, and the workbook needs kind v0.33.0 or newer" in refusal(tmp_path)


def test_a_taken_port_is_said_before_anything_is_made(pretended: Pretended, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert f"Port {port} of 127.0.0.1 is taken" in refusal(tmp_path, port=port)
    assert "kind create" not in str(pretended.calls)


def test_fake_nodes_are_for_the_embedded_cluster(pretended: Pretended, tmp_path: Path) -> None:
    assert "Only an embedded cluster has fake nodes" in refusal(tmp_path, fake_nodes=3)


def test_a_cluster_of_the_name_that_is_not_ours_is_left_alone(pretended: Pretended, tmp_path: Path) -> None:
    pretended.has_containers("class-control-plane")
    sentence = refusal(tmp_path)
    assert "half made or made by somebody else (class-control-plane)" in sentence
    assert "kind delete cluster --name class" in sentence
    assert "docker rm" not in str(pretended.calls)


def test_a_node_image_that_cannot_be_had_is_named(pretended: Pretended, tmp_path: Path) -> None:
    pretended.fails("docker", "image", "no such image")
    pretended.fails("docker", "pull", "Error response from daemon: Get https://registry: no such host")
    assert "The node image kindest/node:" in (sentence := refusal(tmp_path))
    assert "K8SEXT_KIND_NODE_IMAGE" in sentence


def test_when_kind_fails_its_complaint_is_shown_and_nothing_is_left(pretended: Pretended, tmp_path: Path) -> None:
    pretended.fails("kind", "create", "ERROR: failed to create cluster: could not find a log line")
    assert "kind could not make the cluster: ERROR: failed to create cluster: could not find" in refusal(tmp_path)
    assert not (tmp_path / "cluster").exists()


def test_what_a_killed_start_left_is_removed_by_the_next_one(pretended: Pretended, tmp_path: Path) -> None:
    folder = tmp_path / "cluster"
    folder.mkdir()
    (folder / ".k8sext-cluster").write_text("ours")
    pretended.has_containers("class-control-plane")
    pretended.fails("kind", "create", "ERROR: this pretender makes none")
    refusal(tmp_path)
    assert "docker rm --force --volumes class-control-plane" in pretended.calls


def test_down_removes_the_containers_and_every_file(pretended: Pretended, tmp_path: Path) -> None:
    where = layout("class", tmp_path / "cluster")
    where.data.mkdir()
    where.marker.write_text("ours")
    where.config.write_text(
        json.dumps({"provider": "kind", "ports": {}, "programs": {}, "server": "", "version": "v1.37.0"})
    )
    pretended.has_containers("class-control-plane", "class-worker")
    assert clusters.down(where)
    assert "docker rm --force --volumes class-control-plane class-worker" in pretended.calls
    assert not where.data.exists()


def test_a_cluster_is_not_started_with_another_provider_than_its_own(pretended: Pretended, tmp_path: Path) -> None:
    folder = tmp_path / "cluster"
    folder.mkdir()
    (folder / "cluster.json").write_text(json.dumps({"ports": {}, "programs": {}, "server": "", "version": "v1.37.2"}))
    with pytest.raises(ClusterError, match="of the provider embedded, not kind: stop it first"):
        clusters.up("class", folder, provider="kind")


def test_pods_reach_the_notebook_at_the_bridge_of_kinds_network(pretended: Pretended) -> None:
    ranges = [{"Subnet": "fc00:f853::/64"}, {"Subnet": "172.18.0.0/16"}]
    pretended.says("docker", "network", json.dumps([{"IPAM": {"Config": ranges}}]))
    assert bridge_address() == "172.18.0.1"
    ranges[1]["Gateway"] = "172.18.0.254"
    pretended.says("docker", "network", json.dumps([{"IPAM": {"Config": ranges}}]))
    assert bridge_address() == "172.18.0.254"


def test_the_nodes_are_planned_as_in_the_embedded_cluster() -> None:
    import yaml

    mounts = {spec.name: {"/there": Path("/here")} for spec in defaults()}
    planned = yaml.safe_load(config.cluster(26443, mounts))["nodes"]
    assert planned[2]["extraMounts"] == [{"hostPath": "/here", "containerPath": "/there", "readOnly": True}]
    assert [node["labels"] for node in planned] == [spec.labels for spec in defaults()]
    assert [node["role"] for node in planned] == ["control-plane", "worker", "worker"]
    patches = [yaml.safe_load(node["kubeadmConfigPatches"][0]) for node in planned]
    assert [patch["nodeRegistration"]["name"] for patch in patches] == [spec.name for spec in defaults()]
    assert config.container("class", "k8sext-worker2") == "class-worker2"
    assert config.container("class", "worker2") == "class.worker2"


def test_a_node_counts_the_processors_and_memory_of_its_capacity(tmp_path: Path) -> None:
    seen = machine.files(tmp_path, {"cpu": "4", "memory": "8Gi", "pods": "110"})
    assert len(list(seen["/sys/devices/system/cpu"].glob("cpu[0-9]"))) == 4
    assert (seen["/sys/devices/system/cpu"] / "online").read_text() == "0-3\n"
    assert list(seen["/sys/devices/system/node"].iterdir()) == []
    assert seen["/proc/meminfo"].read_text().startswith("MemTotal: 8388608 kB\n")


@pytest.mark.parametrize(
    "capacity", [{"cpu": "500m", "memory": "8Gi"}, {"cpu": "4", "memory": "8GB"}, {"cpu": "4", "memory": "1k"}]
)
def test_a_capacity_that_a_node_of_kind_cannot_show_is_refused(tmp_path: Path, capacity: dict[str, str]) -> None:
    with pytest.raises(ClusterError, match="node of kind"):
        machine.files(tmp_path, capacity)


def test_the_kubeconfig_has_the_names_of_the_embedded_cluster() -> None:
    ca = x509.authority("ca")
    made = x509.kubeconfig("kind-class", "https://127.0.0.1:1", ca, pair := x509.issue(ca, "admin"))
    assert config.renamed(made, "class") == x509.kubeconfig("class", "https://127.0.0.1:1", ca, pair)


def test_the_image_holds_what_the_lock_pins_and_no_more() -> None:
    assert PINNED.read_text() == image_requirements(LOCK.read_text()), "run `make lock`"
    names = [line.partition("==")[0] for line in PINNED.read_text().splitlines() if "==" in line]
    assert {"kopf", "pydantic-core", "yarl"} <= set(names)
    assert not {"jupyterlab", "ipykernel", "pytest"} & set(names)


def test_docker_is_given_every_file_that_the_image_is_built_from() -> None:
    copied = [
        words[1] for line in DOCKERFILE.read_text().splitlines() if (words := line.split()) and words[0] == "COPY"
    ]
    let_through = [line[1:] for line in (ROOT / ".dockerignore").read_text().split() if line.startswith("!")]
    assert copied
    assert set(copied) <= set(let_through)
    assert all((ROOT / name).exists() for name in copied)


def test_a_kind_that_is_not_here_and_cannot_be_fetched_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("K8SEXT_CACHE", str(tmp_path))
    monkeypatch.setenv("K8SEXT_PROGRAMS", "download")
    monkeypatch.setenv("K8SEXT_KIND_MIRROR", "http://127.0.0.1:9")
    with pytest.raises(ClusterError, match=r"(?s)kind v0\.33\.0 cannot be had here.*cannot be reached.*Install it"):
        program.find(Progress())
    assert not list(tmp_path.rglob("kind*.partial"))
