"""`k8sext new operator`: what it writes runs as it is, for any kind."""

from __future__ import annotations

import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from k8sext.cli.new import new
from k8sext.cluster import Cluster, ClusterError
from k8sext.operators.scaffold import project
from tests.conftest import until_served
from tests.support.namespace import make_namespace

FILES = [
    "Dockerfile",
    "README.md",
    "cr.yaml",
    "crd.yaml",
    "handler.py",
    "kinds.py",
    "operator.yaml",
    "test_operator.py",
]


def run(*words: str) -> tuple[int, str]:
    done = CliRunner().invoke(new, ["operator", *words], env={"COLUMNS": "300", "TERM": "dumb"})
    return done.exit_code, done.output


def write(folder: Path, name: str, api_version: str, kind: str) -> Path:
    code, output = run(name, f"--api-version={api_version}", f"--kind={kind}", f"--folder={folder}")
    assert code == 0, output
    return folder / name


@pytest.mark.slow
@pytest.mark.parametrize(
    ("api_version", "kind", "plural"),
    [
        ("k8s.packt.com/v1", "WeatherReport", "weatherreports"),
        ("a.b/v1beta2", "Policy", "policies"),
        ("x.io/v2", "Box", "boxes"),
    ],
)
def test_a_new_project_is_whole_and_its_tests_pass(tmp_path: Path, api_version: str, kind: str, plural: str) -> None:
    home = write(tmp_path, "my-operator", api_version, kind)
    assert sorted(file.name for file in home.iterdir()) == FILES
    crd = yaml.safe_load((home / "crd.yaml").read_text())
    assert crd["metadata"]["name"] == f"{plural}.{api_version.partition('/')[0]}"
    assert crd["spec"]["names"]["kind"] == kind
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"], cwd=home, capture_output=True, text=True
    )
    assert done.returncode == 0 and "3 passed" in done.stdout, done.stdout


@pytest.mark.parametrize(
    ("name", "api_version", "kind", "sentence"),
    [
        ("My_Operator", "a.b/v1", "Box", "no name for an operator"),
        ("my-operator", "v1", "Box", "write GROUP/VERSION"),
        ("my-operator", "a.b/1", "Box", "write GROUP/VERSION"),
        ("my-operator", "a.b/v1", "box", "begins with a capital"),
        ("my-operator", "a.b/v1", "Spec", "is no kind"),
        ("my-operator", "a.b/v1", "None", "is no kind"),
        ("my-operator", "a.b/v1", "True", "is no kind"),
        ("my-operator", "a.b/v1", "GROUP", "is no kind"),
        ("my-operator", "a.b/v1", "COLUMNS", "is no kind"),
        ("my-operator", "things.k8s.io/v1", "Box", "belongs to the Kubernetes project"),
        ("my-operator", "kubernetes.io/v1", "Box", "belongs to the Kubernetes project"),
    ],
)
def test_names_that_kubernetes_would_refuse_are_refused(
    tmp_path: Path, name: str, api_version: str, kind: str, sentence: str
) -> None:
    code, output = run(name, f"--api-version={api_version}", f"--kind={kind}", f"--folder={tmp_path}")
    assert code == 2 and sentence in output and "Traceback" not in output
    assert list(tmp_path.iterdir()) == []


def test_a_project_that_could_not_be_written_whole_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("k8sext.operators.scaffold.runpy.run_path", full)
        assert run("mine", "--api-version=a.b/v1", "--kind=Box", f"--folder={tmp_path}")[0] != 0
    assert list(tmp_path.iterdir()) == []
    write(tmp_path, "mine", "a.b/v1", "Box")


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    home = write(tmp_path, "mine", "a.b/v1", "Box")
    (home / "handler.py").write_text("my work")
    code, output = run("mine", "--api-version=a.b/v1", "--kind=Box", f"--folder={tmp_path}")
    assert code == 2 and "there already" in output and (home / "handler.py").read_text() == "my work"


def test_plurals_follow_english() -> None:
    found = [project("x", "a.b/v1", kind).plural for kind in ("Day", "City", "Gateway", "Class", "Batch")]
    assert found == ["days", "cities", "gateways", "classes", "batches"]


@pytest.mark.cluster
def test_a_new_operator_runs_on_the_cluster_whenever_its_kind_is_defined_with_the_rights_it_asks_for(
    cluster: Cluster, tmp_path: Path, eventually
) -> None:
    home = write(tmp_path, "box-operator", "boxes.example/v1", "Box")
    namespace = ["-n", "scaffold"]
    operator = (home / "operator.yaml").read_text().replace("namespace: default", "namespace: scaffold")
    answer = ["get", "box", "example", *namespace, "-o", "jsonpath={.status.answer}"]
    code = [f"--from-file={home / name}" for name in ("kinds.py", "handler.py")]

    def define_and_ask() -> None:
        cluster.kubectl("apply", "-f", str(home / "crd.yaml"))
        cluster.kubectl("wait", "--for=condition=Established", "crd/boxes.boxes.example")
        until_served(cluster, "apis/boxes.example/v1/boxes")
        cluster.kubectl("apply", *namespace, "-f", str(home / "cr.yaml"))
        eventually(lambda: cluster.kubectl(*answer) == "Who are you? I am box-operator.")

    def log() -> str:
        return cluster.kubectl("logs", *namespace, "-l", "name=box-operator", "--tail=-1")

    make_namespace(cluster, "scaffold")
    try:
        cluster.kubectl("create", "configmap", "box-operator", *namespace, *code)
        cluster.kubectl("apply", *namespace, "-f", "-", input=operator)
        eventually(lambda: "Unresolved resources" in log(), not_yet=ClusterError)  # it runs; its kind is not there yet
        define_and_ask()
        cluster.kubectl("delete", "crd", "boxes.boxes.example")
        define_and_ask()
        assert "forbidden" not in log().lower() and "permission" not in log().lower()
    except BaseException:
        with suppress(ClusterError):
            print(log())
        raise
    finally:
        cluster.kubectl("delete", "-f", "-", *namespace, "--wait=false", "--ignore-not-found", input=operator)
        cluster.kubectl("delete", "namespace", "scaffold", "--wait=false")
        cluster.kubectl("delete", "crd", "boxes.boxes.example", "--wait=false", "--ignore-not-found")


def test_names_that_yaml_takes_for_something_else_stay_names(tmp_path: Path) -> None:
    for name, group, kind in (("on", "1.5", "Y"), ("null", "a.b", "No"), ("yes", "a.b", "N")):
        home = write(tmp_path, name, f"{group}/v1", kind)
        for document in yaml.safe_load_all((home / "operator.yaml").read_text()):
            assert document["metadata"]["name"] == name
        assert yaml.safe_load((home / "cr.yaml").read_text())["kind"] == kind
        assert f"kind: '{kind}'" in (home / "crd.yaml").read_text()
