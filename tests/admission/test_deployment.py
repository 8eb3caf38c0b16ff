"""The same functions in the cluster: a Deployment behind a Service, with a certificate that the pods make
themselves."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml

from k8sext.admission.__main__ import MISSING, main
from k8sext.admission.command_line import UsageError, found_in
from k8sext.admission.deployment import manifests
from k8sext.admission.functions import AdmissionWebhook
from k8sext.admission.in_cluster import _decoded, _encoded, _new
from k8sext.cluster import ClusterError
from tests.admission.conftest import MANIFESTS, Lesson

REPORTS = "k8sext.admission.examples.reports"
NAME = "report-webhooks"


def test_the_manifest_in_the_repository_is_the_one_that_is_generated(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["manifest", REPORTS, f"--name={NAME}", f"--namespace={NAME}"]) == 0
    assert capsys.readouterr().out == (MANIFESTS / "webhooks.yaml").read_text()


def test_the_pods_may_touch_their_own_secret_and_configurations_and_nothing_else() -> None:
    objects = manifests(REPORTS, found_in(REPORTS, AdmissionWebhook, MISSING), NAME, NAME)
    rules = [rule for item in objects if item["kind"] in ("Role", "ClusterRole") for rule in item["rules"]]
    assert {(tuple(rule["resources"]), tuple(rule["resourceNames"]), tuple(rule["verbs"])) for rule in rules} == {
        (("secrets",), (f"{NAME}-certificate",), ("get", "update")),
        (("mutatingwebhookconfigurations",), ("report-labels.k8s.packt.com",), ("get", "patch")),
        (("validatingwebhookconfigurations",), ("known-cities.k8s.packt.com",), ("get", "patch")),
    }


def test_a_file_travels_in_a_config_map(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text("from k8sext.admission import validating\n@validating('pods')\ndef mine(pod, request):\n    pass\n")
    objects = manifests(str(file), found_in(str(file), AdmissionWebhook, MISSING), "mine", "lesson")
    (code,) = [item for item in objects if item["kind"] == "ConfigMap"]
    (deployment,) = [item for item in objects if item["kind"] == "Deployment"]
    pod = deployment["spec"]["template"]["spec"]
    assert code["data"] == {"mine.py": file.read_text()}
    assert "/webhooks/mine.py" in pod["containers"][0]["command"]
    assert pod["containers"][0]["volumeMounts"][0]["mountPath"] == "/webhooks"


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("no.such.module", "cannot be loaded"),
        ("nowhere/there.py", "there is no file"),
        ("k8sext.admission.tls", "has no webhook to register"),
        ("k8sext.admission.examples.images", "has no webhook to register"),
    ],
)
def test_a_target_without_webhooks_is_refused_with_a_sentence(target: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        found_in(target, AdmissionWebhook, MISSING)


def test_outside_a_pod_it_says_so_without_a_traceback() -> None:
    command = [sys.executable, "-m", "k8sext.admission", "run", REPORTS, "--service=x"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 1 and "does not run in a pod" in done.stderr and "Traceback" not in done.stderr


def test_a_new_certificate_is_trusted_beside_the_former_one_and_no_longer_than_that() -> None:
    first = _new("s", "n", None)
    second = _new("s", "n", first)
    third = _new("s", "n", second)
    assert [c.authorities.count("BEGIN CERTIFICATE") for c in (first, second, third)] == [1, 2, 2]
    assert second.authorities.endswith(first.authorities)
    assert first.authorities not in third.authorities
    assert _decoded({"data": _encoded(third)}) == third


@pytest.mark.parametrize("data", [None, {}, {"tls.crt": "!"}, {"tls.crt": "eA==", "tls.key": "eA==", "ca.crt": "eA=="}])
def test_a_secret_that_holds_no_certificate_counts_as_empty(data: dict[str, str] | None) -> None:
    assert _decoded({"data": data}) is None


@pytest.fixture(scope="module")
def deployed_text() -> str:
    """The manifest, with a pod that looks after its certificate every second."""
    objects = list(yaml.safe_load_all((MANIFESTS / "webhooks.yaml").read_text()))
    for item in objects:
        if item["kind"] == "Deployment":
            item["spec"]["template"]["spec"]["containers"][0]["command"].append("--every=1")
    return yaml.safe_dump_all(objects)


@pytest.fixture
def deployed(lesson: Lesson, deployed_text: str) -> Iterator[Lesson]:
    lesson.kubectl("apply", "--namespace=", "-f", "-", input=deployed_text)
    try:
        lesson.kubectl("rollout", "status", f"deployment/{NAME}", "-n", NAME, "--timeout=180s")
        yield lesson
    finally:
        lesson.kubectl("delete", "--namespace=", "-f", "-", "--wait=false", input=deployed_text)


@pytest.mark.cluster
def test_two_replicas_answer_behind_a_service_and_outlive_rotation_and_the_death_of_one(
    deployed: Lesson, eventually: Callable[..., None]
) -> None:
    _works(deployed)
    _renews_a_certificate_that_was_thrown_away(deployed, eventually)
    _works(deployed)
    pods = deployed.kubectl("get", "pods", "-n", NAME, "-o", "name").split()
    assert len(pods) == 2
    deployed.kubectl("delete", pods[0], "-n", NAME, "--wait=false")
    eventually(lambda: _answers(deployed))
    _works(deployed)
    assert _may(deployed, "get", f"secrets/{NAME}-certificate")
    assert not _may(deployed, "list", "secrets")
    assert not _may(deployed, "delete", "validatingwebhookconfigurations/known-cities.k8s.packt.com")


def _works(lesson: Lesson) -> None:
    lesson.create("Paris", 1, "one")
    assert lesson.kubectl("get", "wr", "-l", "city=Paris", "-o", "name").strip().endswith("/one")
    with pytest.raises(ClusterError, match="no station stands in Atlantis"):
        lesson.create("Atlantis")
    lesson.kubectl("delete", "wr", "one")


def _answers(lesson: Lesson) -> bool:
    try:
        lesson.create("Paris", 1, "trial", "--dry-run=server")
        return True
    except ClusterError:
        return False


def _renews_a_certificate_that_was_thrown_away(lesson: Lesson, eventually: Callable[..., None]) -> None:
    before = _bundle(lesson)
    lesson.kubectl("patch", "secret", f"{NAME}-certificate", "-n", NAME, "--type=merge", '-p={"data":null}')
    eventually(lambda: _bundle(lesson) != before)
    logs = ["logs", "-n", NAME, "-l", f"app.kubernetes.io/name={NAME}", "--tail=-1"]
    shown = lambda: lesson.kubectl(*logs).count("showing a new certificate")  # noqa: E731
    eventually(lambda: _answers(lesson) and shown() == 2, not_yet=ClusterError)


def _bundle(lesson: Lesson) -> str:
    found = lesson.kubectl("get", "validatingwebhookconfiguration", "known-cities.k8s.packt.com", "-o", "json")
    return base64.b64decode(json.loads(found)["webhooks"][0]["clientConfig"]["caBundle"]).decode()


def _may(lesson: Lesson, verb: str, what: str) -> bool:
    try:
        return "yes" in lesson.kubectl(
            "auth", "can-i", verb, what, "-n", NAME, f"--as=system:serviceaccount:{NAME}:{NAME}"
        )
    except ClusterError:
        return False
