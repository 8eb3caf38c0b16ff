"""From question to answer, without a network: what each kind of function may say, and that a mistake is never a yes."""

from __future__ import annotations

import asyncio
import base64
import datetime
import json
from typing import Any

import jsonpatch
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from k8sext.admission import (
    AccessRequest,
    AdmissionRequest,
    Allowed,
    BadReview,
    Denied,
    ImageRequest,
    User,
    authenticator,
    authorizer,
    image_policy,
    mutating,
    validating,
)
from k8sext.admission.engine import CALL_KEY, answer
from k8sext.admission.functions import Webhook
from k8sext.kube.objects import Json
from tests.admission.reviews import access, admission, images, report, token


@validating("weatherreports.k8s.packt.com")
def known(report: Json, request: AdmissionRequest) -> None:
    if report["spec"]["city"] == "Atlantis":
        raise Denied("nobody lives in Atlantis", code=422, reason="Invalid")
    request.warn("it may\nrain")
    request.audit("city", report["spec"]["city"])


@mutating("weatherreports.k8s.packt.com")
def labelled(report: Json, _request: AdmissionRequest) -> None:
    report["metadata"].setdefault("labels", {})["a/b~c"] = report["spec"]["city"]


@image_policy
def images_seen(request: ImageRequest) -> None:
    if "bad" in request.images:
        raise Denied("bad")


@authenticator
def somebody(token: str) -> User | None:
    return User("anna", ["class"], uid="7", extra={"seat": ["3"]}) if token == "right" else None


@authorizer
def gate(request: AccessRequest) -> Allowed | None:
    if request.verb == "delete":
        raise Denied("nothing is deleted here")
    return Allowed("come in") if request.verb == "get" else None


async def test_a_validating_function_that_returns_allows_with_warnings_and_notes() -> None:
    found = (await answer(known, admission(object=report()))).body["response"]
    assert found == {
        "uid": "u-1",
        "allowed": True,
        "warnings": ["it may rain"],
        "auditAnnotations": {"call": "u-1", "city": "Paris"},
    }


async def test_a_function_that_raises_denied_refuses_with_its_own_words() -> None:
    found = (await answer(known, admission(object=report("Atlantis")))).body["response"]
    assert (found["allowed"], found["status"]) == (
        False,
        {"code": 422, "reason": "Invalid", "message": "nobody lives in Atlantis"},
    )


async def test_for_delete_the_function_gets_the_object_that_is_to_be_deleted() -> None:
    found = await answer(known, admission("DELETE", None, report("Atlantis")))
    assert found.outcome == "denied"


async def test_a_mutating_function_changes_a_copy_and_the_patch_is_the_difference() -> None:
    before = report()
    review = admission(object=before)
    response = (await answer(labelled, review)).body["response"]
    patch = json.loads(base64.b64decode(response["patch"]))
    assert before == report(), "the question itself was changed"
    assert response["patchType"] == "JSONPatch"
    assert jsonpatch.apply_patch(before, patch) == report(labels={"a/b~c": "Paris"})


async def test_what_a_mutating_function_does_to_the_request_it_was_shown_does_not_spoil_the_patch() -> None:
    @mutating("weatherreports.k8s.packt.com")
    def careless(found: Json, request: AdmissionRequest) -> None:
        found["spec"]["days"] = 5
        assert request.object is not None
        request.object["spec"]["days"] = 5

    response = (await answer(careless, admission(object=report()))).body["response"]
    patch = json.loads(base64.b64decode(response["patch"]))
    assert jsonpatch.apply_patch(report(), patch)["spec"]["days"] == 5


async def test_a_mutating_function_with_nothing_to_do_sends_no_patch() -> None:
    response = (await answer(labelled, admission(object=report(labels={"a/b~c": "Paris"})))).body["response"]
    assert response["allowed"] and "patch" not in response


async def test_an_object_that_is_to_be_deleted_gets_no_patch() -> None:
    response = (await answer(labelled, admission("DELETE", None, report()))).body["response"]
    assert response["allowed"] and "patch" not in response


async def test_true_and_one_are_different_in_a_patch() -> None:
    @mutating("pods")
    def truth(pod: Json, _request: AdmissionRequest) -> None:
        pod["spec"]["days"] = True

    response = (await answer(truth, admission(object=report(days=1)))).body["response"]
    assert json.loads(base64.b64decode(response["patch"])) == [{"op": "replace", "path": "/spec/days", "value": True}]


async def test_functions_may_be_async() -> None:
    @validating("pods")
    async def patient(_pod: Json, _request: AdmissionRequest) -> None:
        await asyncio.sleep(0)
        raise Denied("thought about it")

    assert (await answer(patient, admission(object=report()))).outcome == "denied"


@pytest.mark.parametrize("returned", [False, True, "no", {"allowed": False}])
async def test_a_function_that_returns_something_instead_of_raising_denied_has_crashed(returned: object) -> None:
    for webhook, review in _returning(returned):
        with pytest.raises(TypeError, match="returned"):
            await answer(webhook, review)


def _returning(value: Any) -> list[tuple[Webhook, Json]]:
    def function(*_: Any) -> Any:
        return value

    return [
        (validating("pods")(function), admission(object=report())),
        (mutating("pods")(function), admission(object=report())),
        (image_policy(function), images("x")),
        (authenticator(function), token("x")),
        (authorizer(function), access()),
    ]


@pytest.mark.parametrize("value", [datetime.date(2026, 1, 1), {1, 2}, float("nan"), b"bytes"])
async def test_what_json_cannot_say_never_gets_into_a_patch(value: object) -> None:
    @mutating("pods")
    def careless(pod: Json, _request: AdmissionRequest) -> None:
        pod["spec"]["when"] = value

    with pytest.raises((TypeError, ValueError)):
        await answer(careless, admission(object=report()))


async def test_an_image_policy_allows_or_gives_its_reason() -> None:
    assert (await answer(images_seen, images("good"))).body["status"] == {"allowed": True}
    assert (await answer(images_seen, images("good", "bad"))).body["status"] == {"allowed": False, "reason": "bad"}


async def test_an_authenticator_names_the_user_and_leaves_the_number_of_its_call() -> None:
    status = (await answer(somebody, token("right"), call="c-9")).body["status"]
    assert status["user"] == {
        "username": "anna",
        "uid": "7",
        "groups": ["class"],
        "extra": {"seat": ["3"], CALL_KEY: ["c-9"]},
    }
    assert (await answer(somebody, token("wrong"))).body["status"] == {"authenticated": False}


@pytest.mark.parametrize(
    ("verb", "status"),
    [
        ("get", {"allowed": True, "reason": "come in"}),
        ("delete", {"allowed": False, "denied": True, "reason": "nothing is deleted here"}),
        ("create", {"allowed": False}),
    ],
)
async def test_an_authorizer_allows_denies_or_leaves_it_to_the_next(verb: str, status: Json) -> None:
    assert (await answer(gate, access(verb))).body["status"] == status


async def test_an_authorizer_is_asked_about_urls_that_are_no_resources_too() -> None:
    review = access()
    review["spec"] = {"user": "anna", "nonResourceAttributes": {"path": "/version", "verb": "get"}}
    found = await answer(gate, review)
    assert (found.outcome, found.subject) == ("allowed", "get /version")


ALL = [
    (known, admission(object=report())),
    (labelled, admission(object=report())),
    (images_seen, images("x")),
    (somebody, token("x")),
    (gate, access()),
]


@pytest.mark.parametrize(("webhook", "review"), ALL, ids=lambda part: getattr(part, "name", ""))
async def test_a_review_of_another_kind_or_version_is_refused_by_name(webhook: Webhook, review: Json) -> None:
    for change in ({"kind": "Pod"}, {"apiVersion": "admission.k8s.io/v1beta1"}, {"apiVersion": None}, {"kind": 7}):
        with pytest.raises(BadReview, match="this address answers"):
            await answer(webhook, review | change)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"uid": None}, "the field uid is missing"),
        ({"uid": ""}, "uid is empty"),
        ({"operation": "PATCH"}, "is none of CREATE"),
        ({"object": []}, "the field object must be a JSON object, not list"),
        ({"userInfo": "me"}, "the field userInfo must be a JSON object, not str"),
        ({"userInfo": {"groups": [1]}}, "must hold texts only"),
        ({"dryRun": "yes"}, "the field dryRun must be a boolean"),
    ],
)
async def test_a_malformed_admission_review_is_refused_with_the_field_that_is_wrong(change: Json, message: str) -> None:
    with pytest.raises(BadReview, match=message):
        await answer(known, admission(**{"object": report(), **change}))


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3),
    max_leaves=12,
)
FIELDS = (
    "uid",
    "operation",
    "object",
    "oldObject",
    "userInfo",
    "kind",
    "resource",
    "options",
    "dryRun",
    "name",
    "subResource",
)


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(range(len(ALL))), ANYTHING, st.sampled_from(FIELDS), ANYTHING)
def test_whatever_arrives_is_answered_or_refused_but_never_crashes(
    which: int, whole: Any, field: str, value: Any
) -> None:
    webhook, review = ALL[which]
    if webhook.kind in ("validating", "mutating"):
        webhook = (validating if webhook.kind == "validating" else mutating)("pods", name="nothing")(
            lambda _object, _request: None
        )
    part = "request" if "request" in review else "spec"
    for body in (whole, review | {part: whole}, review | {part: review[part] | {field: value}}):
        try:
            found = asyncio.run(answer(webhook, body))
        except BadReview as error:
            assert str(error)
        else:
            json.dumps(found.body)
