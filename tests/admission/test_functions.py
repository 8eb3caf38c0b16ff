"""The decorators: what they make of a function, and what they refuse with a sentence."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import pytest

from k8sext.admission import AdmissionRequest, mutating, validating
from k8sext.admission.deployment import manifests
from k8sext.admission.functions import check_names
from k8sext.admission.registration import configuration
from k8sext.kube.objects import Json


def nothing(_object: Json, _request: AdmissionRequest) -> None:
    pass


@pytest.mark.parametrize(
    ("resource", "groups", "resources"),
    [
        ("pods", [""], ["pods"]),
        ("pods/exec", [""], ["pods/exec"]),
        ("deployments.apps", ["apps"], ["deployments"]),
        ("deployments.apps/scale", ["apps"], ["deployments/scale"]),
        ("weatherreports.k8s.packt.com/status", ["k8s.packt.com"], ["weatherreports/status"]),
        ("pods/*", [""], ["pods/*"]),
        ("l2advertisements.metallb.io", ["metallb.io"], ["l2advertisements"]),
        ("s3-buckets.k8s.example/status", ["k8s.example"], ["s3-buckets/status"]),
        ("*", ["*"], ["*"]),
        ("*/*", ["*"], ["*/*"]),
        ("*.apps", ["apps"], ["*"]),
        ("*.apps/scale", ["apps"], ["*/scale"]),
    ],
)
def test_a_resource_is_written_as_kubectl_writes_it(resource: str, groups: list[str], resources: list[str]) -> None:
    rule = validating(resource)(nothing).rules[0]
    assert (rule["apiGroups"], rule["resources"]) == (groups, resources)


class Guard:
    def __call__(self, _object: Json, _request: AdmissionRequest) -> None:
        pass


@pytest.mark.parametrize(
    ("function", "name"),
    [
        (functools.partial(nothing), "nothing"),
        (functools.partial(functools.partial(nothing)), "nothing"),
        (Guard(), "guard"),
        (functools.partial(Guard()), "guard"),
        (Guard().__call__, "call"),
    ],
)
def test_whatever_can_be_called_has_a_name(function: Callable[..., None], name: str) -> None:
    assert validating("pods")(function).name == name


def test_a_decorated_function_can_still_be_called() -> None:
    @mutating("pods")
    def mark(pod: Json, _request: AdmissionRequest) -> None:
        pod["marked"] = True

    pod: Json = {}
    mark(pod, None)
    assert pod == {"marked": True}
    assert (mark.name, mark.path, mark.full_name) == ("mark", "/mutating/mark", "mark.k8s.packt.com")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: validating()(nothing), "name the resources"),
        (lambda: validating(nothing)(nothing), "name the resources"),  # type: ignore[arg-type]
        (lambda: validating("Pods")(nothing), "is no resource"),
        (lambda: validating("2pods")(nothing), "is no resource"),
        (lambda: validating("pods-")(nothing), "is no resource"),
        (lambda: validating("pods.")(nothing), "is no resource"),
        (lambda: validating("pods/a/b")(nothing), "is no resource"),
        (lambda: validating("pods", on=["GET"])(nothing), "reads are never admitted"),  # type: ignore[list-item]
        (lambda: validating("pods", on="CREATE")(nothing), "list some of"),  # type: ignore[arg-type]
        (lambda: validating("pods", timeout=31)(nothing), "give 1 to 30 seconds"),
        (lambda: mutating("pods", timeout=0)(nothing), "give 1 to 30 seconds"),
        (lambda: validating("pods", name="No Name")(nothing), "cannot be a webhook's name"),
        (lambda: validating("pods", namespaces="lesson")(nothing), r"write \['lesson'\]"),
    ],
)
def test_what_the_api_would_refuse_is_refused_at_once_with_a_sentence(make: Callable[[], Any], message: str) -> None:
    with pytest.raises((ValueError, TypeError), match=message):
        make()


def test_the_configuration_says_all_that_the_decorator_said() -> None:
    webhook = mutating(
        "pods",
        on=["CREATE"],
        object_labels={"app": "web"},
        match_conditions={"people": "!request.userInfo.username.startsWith('system:')"},
        failure_policy="Ignore",
        side_effects="NoneOnDryRun",
        timeout=3,
        reinvocation="IfNeeded",
    )(nothing)
    found = configuration(webhook, {"url": "https://127.0.0.1/x"})
    entry = found["webhooks"][0]
    assert found["kind"] == "MutatingWebhookConfiguration"
    assert entry["objectSelector"] == {"matchLabels": {"app": "web"}}
    assert entry["matchConditions"] == [
        {"name": "people", "expression": "!request.userInfo.username.startsWith('system:')"}
    ]
    keys = ("failurePolicy", "sideEffects", "timeoutSeconds", "reinvocationPolicy", "admissionReviewVersions")
    assert [entry[key] for key in keys] == ["Ignore", "NoneOnDryRun", 3, "IfNeeded", ["v1"]]


def test_no_webhook_is_asked_about_the_namespaces_of_the_cluster_itself() -> None:
    found = configuration(validating("pods")(nothing), {}, exempt=["own"])["webhooks"][0]["namespaceSelector"]
    assert found["matchExpressions"] == [
        {
            "key": "kubernetes.io/metadata.name",
            "operator": "NotIn",
            "values": ["kube-system", "kube-public", "kube-node-lease", "own"],
        }
    ]
    named = configuration(validating("pods", namespaces=["lesson"])(nothing), {})["webhooks"][0]["namespaceSelector"]
    assert named["matchExpressions"][0]["operator"] == "In"


def test_two_webhooks_of_one_name_are_refused_wherever_they_meet() -> None:
    one, other = validating("pods", name="check")(nothing), validating("services", name="check")(nothing)
    with pytest.raises(ValueError, match="two webhooks are called check"):
        check_names([one, other])
    with pytest.raises(ValueError, match="two webhooks are called check"):
        manifests("module", [one, other], "hooks", "lesson")
    check_names([one, mutating("pods", name="check")(nothing)])
