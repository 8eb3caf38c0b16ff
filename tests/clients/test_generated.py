"""Clients generated from the live server: every group, then one in use."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from k8sext import cluster as clusters
from k8sext.cli.generate import app
from k8sext.clients import generate as generator
from k8sext.clients.generate import openapi
from k8sext.clients.kubectl import Kubectl
from k8sext.clients.runtime import Change, Kind, Listed, connect
from k8sext.kube.request import ApiError
from k8sext.resources import weather_report_crd
from tests.clients.conftest import pod
from tests.support.eventually import eventually

CHECKED = ("apps_v1", "batch_v1", "k8s_packt_com_v1")


@pytest.fixture(scope="module")
def shell(cluster: clusters.Cluster) -> Iterator[Kubectl]:
    """kubectl of the cluster, which has weather reports too."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in clusters.environment(cluster).items():
            patch.setenv(name, value)
        cluster.kubectl("apply", "-f", "-", input=json.dumps(weather_report_crd()))
        cluster.kubectl("wait", "--for=condition=Established", "crd/weatherreports.k8s.packt.com")
        kubectl = Kubectl()
        eventually(lambda: "k8s.packt.com" in openapi.groups(kubectl))
        eventually(lambda: openapi.from_cluster(kubectl, "k8s.packt.com").schemas)
        yield kubectl


@pytest.fixture(scope="module")
def packages(shell: Kubectl, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Path]]:
    """A package for every version of every group of the server, importable."""
    folder = tmp_path_factory.mktemp("packages")
    found: dict[str, Path] = {}
    with pytest.MonkeyPatch.context() as patch:
        for group, versions in openapi.groups(shell).items():
            for version in versions:
                out = folder / f"{group or 'core'}-{version}"
                paths = generator.generate(openapi.from_cluster(shell, group, version), out)
                package = next(path.split("/")[0] for path in paths if path.endswith("py.typed"))
                found[package] = out
                patch.syspath_prepend(out)
        yield found
    for name in [name for name in sys.modules if name.split(".")[0] in found]:
        del sys.modules[name]


@pytest.mark.slow
def test_every_group_of_the_server_round_trips_its_real_objects(
    packages: dict[str, Path], shell: Kubectl, namespace: str
):
    assert {"core_v1", "apps_v1", "batch_v1", "apiextensions_k8s_io_v1", "k8s_packt_com_v1"} <= set(packages)
    seen = 0
    for package in packages:
        client = importlib.import_module(f"{package}.client")
        for kind in [value for value in vars(client).values() if isinstance(value, Kind)]:
            if not hasattr(getattr(client, f"{kind.kind}Client"), "list"):
                continue
            for item in json.loads(shell.run("get", "--raw", kind.resource.collection()))["items"] or ():
                back = kind.read(item).to_dict()
                whole = {"apiVersion": kind.resource.api_version, "kind": kind.kind} | item
                assert json.dumps(back, sort_keys=True) == json.dumps(whole, sort_keys=True), kind
                seen += 1
    assert seen > 200


def test_the_packages_pass_pyright_strict(packages: dict[str, Path], tmp_path: Path):
    root = Path(__file__).parents[2]
    settings = {
        "include": [str(packages[name]) for name in CHECKED],
        "extraPaths": [str(root)],
        "typeCheckingMode": "strict",
        "pythonVersion": "3.11",
    }
    (tmp_path / "pyrightconfig.json").write_text(json.dumps(settings))
    command = [sys.executable, "-m", "pyright", "--pythonpath", sys.executable, "--project", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stdout
    assert "0 errors, 0 warnings" in done.stdout


def test_the_same_document_gives_the_same_bytes(shell: Kubectl):
    document = openapi.from_cluster(shell, "apps")
    shuffled = openapi.Document("apps", "v1", document.paths, dict(reversed(list(document.schemas.items()))))
    assert generator.files(document) == generator.files(shuffled)


def test_a_package_can_be_installed(packages: dict[str, Path], tmp_path: Path):
    pip = [sys.executable, "-m", "pip", "install"]
    if find_spec("pip") is None:  # an environment that uv made
        pip = ["uv", "pip", "install", "--python", sys.executable]
    options = ["--quiet", "--no-deps", "--no-build-isolation", "--target", str(tmp_path)]
    done = subprocess.run([*pip, *options, str(packages["k8s_packt_com_v1"])], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "k8s_packt_com_v1" / "py.typed").is_file()


def test_generating_again_replaces_the_package(shell: Kubectl, tmp_path: Path):
    done = None
    for _ in range(2):
        done = CliRunner().invoke(
            app, ["client", "--from-cluster", "--group", "k8s.packt.com", "--out", str(tmp_path / "out")]
        )
        assert done.exit_code == 0, done.stderr
    assert done is not None
    assert done.stdout.startswith("Wrote a client for k8s.packt.com/v1: 5 files in ")
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("--group", "nothing.example.com"), "The server has no group nothing.example.com: choose one of core, "),
        (("--group", "apps", "--version", "v7"), "The group apps has no version v7: choose one of v1."),
        (("--group", "apps", "--context", "nowhere"), 'There is no context "nowhere"'),
    ],
)
def test_what_is_not_there_is_one_sentence(shell: Kubectl, tmp_path: Path, arguments: tuple[str, ...], expected: str):
    done = CliRunner().invoke(app, ["client", "--from-cluster", *arguments, "--out", str(tmp_path / "out")])
    assert done.exit_code == 1
    assert done.stderr.startswith(f"Error: {expected}")
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "out").exists()


@pytest.fixture
def reports(packages: dict[str, Path], namespace: str) -> Iterator[Any]:
    """The generated client for weather reports in the namespace of these tests."""
    package = importlib.import_module("k8s_packt_com_v1")
    with connect() as connection:
        found = package.K8sPacktComV1Client(connection).weatherreports(namespace)
        yield found
        found.delete_collection()


def report(name: str, city: str = "Oslo", days: int = 1) -> Any:
    models = importlib.import_module("k8s_packt_com_v1").models
    return models.WeatherReport(
        metadata=models.ObjectMeta(name=name), spec=models.WeatherReportSpec(city=city, days=days)
    )


def test_objects_are_created_read_replaced_and_deleted(reports: Any):
    made = reports.create(report("one", days=2))
    assert (made.spec.city, made.spec.days, made.metadata.generation) == ("Oslo", 2, 1)
    made.spec.days = 3
    assert reports.update(made).spec.days == 3
    with pytest.raises(ApiError, match="modified") as stale:
        reports.update(made)
    assert stale.value.code == 409
    reports.delete("one")
    with pytest.raises(ApiError) as gone:
        reports.get("one")
    assert gone.value.code == 404


def test_all_four_kinds_of_patch_change_an_object(reports: Any):
    reports.create(report("one"))
    assert reports.patch("one", {"spec": {"days": 2}}).spec.days == 2
    assert reports.patch("one", [{"op": "replace", "path": "/spec/days", "value": 3}], "json").spec.days == 3
    whole = report("one", days=4)
    with pytest.raises(ApiError) as conflict:
        reports.apply(whole, "tests")
    assert conflict.value.code == 409
    assert reports.apply(whole, "tests", force=True).spec.days == 4
    with pytest.raises(ApiError) as unsupported:
        reports.patch("one", {"spec": {"days": 5}}, "strategic")
    assert unsupported.value.code == 415


def test_a_strategic_patch_merges_lists_by_their_keys(packages: dict[str, Path], namespace: str):
    core = importlib.import_module("core_v1")
    with connect() as connection:
        pods = core.CoreV1Client(connection).pods(namespace)
        made = pods.create(core.models.Pod.from_dict(pod("patched", "sleep 9")))
        assert made.kind == "Pod"
        body = {"spec": {"containers": [{"name": "main", "image": "localhost/other:1"}]}}
        patched = pods.patch("patched", body, "strategic")
        assert patched.spec.containers[0].image == "localhost/other:1"
        assert patched.spec.containers[0].command == ["sh", "-c", "sleep 9"]
        pods.delete("patched")


def test_the_status_has_a_door_of_its_own(reports: Any):
    reports.create(report("one"))
    assert reports.patch("one", {"status": {"state": "Ready"}}).status is None
    assert reports.patch_status("one", {"status": {"state": "Ready"}}).status.state == "Ready"
    item = reports.get("one")
    item.status.state, item.spec.days = "Failed", 9
    stored = reports.update_status(item)
    assert (stored.status.state, stored.spec.days) == ("Failed", 1)


def test_replicas_are_changed_through_scale(packages: dict[str, Path], namespace: str):
    apps = importlib.import_module("apps_v1")
    container = {"name": "main", "image": "localhost/none:1"}
    template = {
        "metadata": {"labels": {"app": "scaled"}},
        "spec": {"containers": [container], "schedulerName": "nobody"},
    }
    spec = {"replicas": 0, "selector": {"matchLabels": {"app": "scaled"}}, "template": template}
    with connect() as connection:
        deployments = apps.AppsV1Client(connection).deployments(namespace)
        deployments.create(apps.models.Deployment.from_dict({"metadata": {"name": "scaled"}, "spec": spec}))
        assert deployments.scale("scaled", 2).spec.replicas == 2
        assert deployments.get_scale("scaled").spec.replicas == 2
        assert deployments.get("scaled").spec.replicas == 2
        deployments.delete("scaled")


def test_a_watch_tells_what_there_is_and_then_what_changes(reports: Any):
    reports.create(report("one"))
    stream = reports.watch()
    first = next(stream)
    assert isinstance(first, Listed)
    assert [item.metadata.name for item in first.items] == ["one"]
    reports.create(report("two", city="Bergen"))
    second = next(stream)
    assert isinstance(second, Change)
    assert (second.type, second.object.spec.city) == ("ADDED", "Bergen")
    stream.close()


def test_an_informer_keeps_a_copy_and_tells_of_changes(reports: Any, eventually):
    reports.create(report("one"))
    informer, heard = reports.informer(), threading.Event()
    informer.on_change(lambda change, item: heard.set() if (change, item.metadata.name) == ("ADDED", "two") else None)
    with informer as lister:
        assert lister.get("one", reports.namespace).spec.city == "Oslo"
        reports.create(report("two"))
        assert heard.wait(20)
        assert sorted(item.metadata.name for item in lister.list(reports.namespace)) == ["one", "two"]
        reports.delete("one")
        eventually(lambda: lister.get("one", reports.namespace) is None)


def test_long_lists_come_in_pages(reports: Any, monkeypatch: pytest.MonkeyPatch):
    from k8sext.clients.runtime import verbs

    monkeypatch.setattr(verbs, "PAGE", 2)
    for number in range(5):
        reports.create(report(f"r{number}"))
    assert [item.metadata.name for item in reports.list()] == [f"r{number}" for number in range(5)]
    assert len(reports.list(fields="spec.city=Oslo")) == 5


def test_one_object_of_a_namespaced_kind_needs_a_namespace(packages: dict[str, Path]):
    package = importlib.import_module("k8s_packt_com_v1")
    with connect() as connection, pytest.raises(ValueError, match=r"write weatherreports\('NAMESPACE'\)"):
        package.K8sPacktComV1Client(connection).weatherreports().get("one")
