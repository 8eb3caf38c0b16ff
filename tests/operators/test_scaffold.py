"""`k8sext new operator`: what it writes runs as it is, for any kind."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from k8sext.cluster import Cluster
from k8sext.operators.commands import new
from k8sext.operators.scaffold import project

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
    ],
)
def test_names_that_kubernetes_would_refuse_are_refused(
    tmp_path: Path, name: str, api_version: str, kind: str, sentence: str
) -> None:
    code, output = run(name, f"--api-version={api_version}", f"--kind={kind}", f"--folder={tmp_path}")
    assert code == 2 and sentence in output and "Traceback" not in output
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    home = write(tmp_path, "mine", "a.b/v1", "Box")
    (home / "handler.py").write_text("my work")
    code, output = run("mine", "--api-version=a.b/v1", "--kind=Box", f"--folder={tmp_path}")
    assert code == 2 and "there already" in output and (home / "handler.py").read_text() == "my work"


def test_plurals_follow_english() -> None:
    found = [project("x", "a.b/v1", kind).plural for kind in ("Day", "City", "Gateway", "Class", "Batch")]
    assert found == ["days", "cities", "gateways", "classes", "batches"]


@pytest.mark.cluster
def test_a_new_operator_runs_on_the_cluster_with_the_rights_it_asks_for(
    cluster: Cluster, tmp_path: Path, eventually
) -> None:
    home = write(tmp_path, "box-operator", "boxes.example/v1", "Box")
    namespace = ["-n", "scaffold"]
    cluster.kubectl("create", "namespace", "scaffold")
    cluster.kubectl("apply", "-f", str(home / "crd.yaml"))
    cluster.kubectl("wait", "--for=condition=Established", "crd/boxes.boxes.example")
    code = [f"--from-file={home / name}" for name in ("kinds.py", "handler.py")]
    cluster.kubectl("create", "configmap", "box-operator", *namespace, *code)
    cluster.kubectl("apply", *namespace, "-f", str(home / "operator.yaml"), "-f", str(home / "cr.yaml"))
    answer = ["get", "box", "example", *namespace, "-o", "jsonpath={.status.answer}"]
    try:
        eventually(lambda: cluster.kubectl(*answer) == "Who are you? I am box-operator.", within=180)
    except BaseException:
        print(cluster.kubectl("logs", *namespace, "-l", "name=box-operator"))
        raise
    assert "forbidden" not in cluster.kubectl("logs", *namespace, "-l", "name=box-operator").lower()
    cluster.kubectl("delete", "namespace", "scaffold", "--wait=false")
    cluster.kubectl("delete", "crd", "boxes.boxes.example", "--wait=false")
