"""CEL policies do the same as the webhooks beside them: same questions, same answers."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from k8sext.admission import AdmissionRequest, Denied
from k8sext.admission.examples.defaults import pod_defaults
from k8sext.admission.examples.reports import known_cities
from k8sext.cluster import ClusterError
from k8sext.kube.objects import Json
from tests.admission.conftest import MANIFESTS, Lesson
from tests.admission.reviews import admission, report

pytestmark = pytest.mark.cluster


@pytest.fixture
def policies(lesson: Lesson, eventually: Callable[..., None]) -> Iterator[Lesson]:
    files = [f"-f={MANIFESTS / name}" for name in ("validating-policy.yaml", "mutating-policy.yaml")]
    lesson.kubectl("label", "namespace", lesson.namespace, "k8s.packt.com/policies=on")
    lesson.kubectl("apply", *files)
    eventually(lambda: _denied(lesson, "Nowhere", 1) and "team" in _pod(lesson, {"name": "a"})["metadata"]["labels"])
    yield lesson
    lesson.kubectl("delete", *files)


def _denied(lesson: Lesson, city: str, days: int) -> str:
    try:
        lesson.create(city, days, "trial", "--dry-run=server")
    except ClusterError as error:
        return str(error)
    return ""


def _pod(lesson: Lesson, *containers: Json, **labels: str) -> Json:
    wanted = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "p", "labels": {"app": "x", **labels}},
        "spec": {"containers": [{"image": "localhost/x:1", **container} for container in containers]},
    }
    found = lesson.kubectl("create", "-f", "-", "--dry-run=server", "-o", "json", input=json.dumps(wanted))
    return json.loads(found)


def test_the_validating_policy_refuses_what_the_webhook_refuses_in_the_same_words(policies: Lesson) -> None:
    for city, days in (("Paris", 1), ("Atlantis", 1), ("Rome", 14)):
        said = _denied(policies, city, days)
        try:
            known_cities(report(city, days), AdmissionRequest.of(admission(object=report(city, days))))
        except Denied as denied:
            assert denied.message in said
        else:
            assert not said


def test_the_warning_policy_warns_of_what_the_webhook_warns_of(policies: Lesson) -> None:
    assert "9 days: the older half of it is seldom read" in policies.create("Paris", 9, "nine", "--dry-run=server")
    assert "Warning" not in policies.create("Paris", 7, "seven", "--dry-run=server")


def test_the_mutating_policy_fills_in_what_the_webhook_fills_in(policies: Lesson) -> None:
    containers: list[Json] = [
        {"name": "a", "resources": {"requests": {"cpu": "2"}}},
        {"name": "b"},
        {"name": "c", "resources": {"requests": {"cpu": "1", "memory": "1Gi"}}},
    ]
    for labels in ({}, {"team": "ours"}):
        by_policy = _pod(policies, *containers, **labels)
        by_webhook: Json = {
            "metadata": {"labels": dict(labels)},
            "spec": {"containers": json.loads(json.dumps(containers))},
        }
        pod_defaults(by_webhook, AdmissionRequest.of(admission(object={}, namespace=policies.namespace)))
        assert by_policy["metadata"]["labels"]["team"] == by_webhook["metadata"]["labels"]["team"]
        assert [c["resources"] for c in by_policy["spec"]["containers"]] == [
            c["resources"] for c in by_webhook["spec"]["containers"]
        ]


def test_the_policies_hold_only_where_they_are_asked_for(policies: Lesson) -> None:
    policies.kubectl("label", "namespace", policies.namespace, "k8s.packt.com/policies-")
    assert not _denied(policies, "Atlantis", 1)


def test_the_manifests_name_the_cities_that_the_webhook_knows() -> None:
    from k8sext.admission.examples.reports import CITIES

    text = Path(MANIFESTS / "validating-policy.yaml").read_text()
    assert str(list(CITIES)) in text
