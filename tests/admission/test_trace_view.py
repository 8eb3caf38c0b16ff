"""How a trace is shown: a picture with a text twin, and a live view, both without a browser."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from k8sext.admission.audit import AuditLog
from k8sext.admission.server import Call
from k8sext.admission.trace import trace_of
from k8sext.notebook.request_trace import TraceView, text_twin, trace_picture

CALLS = [
    Call("students", "authenticator", 1.0, 0.001, "known", "a token", "class-a:anna", "", "t-1"),
    Call("report-labels", "mutating", 2.0, 0.002, "changed", "CREATE", "anna", "add /metadata/labels", "m-1"),
    Call("known-cities", "validating", 3.0, 0.003, "denied", "CREATE", "anna", "no station", "v-1"),
    Call("known-cities", "validating", 3.0, 0.003, "denied", "CREATE", "somebody else", "no station", "v-2"),
]


def event(code: int = 201, message: str = "", **annotations: str) -> dict[str, Any]:
    return {
        "auditID": "a-1",
        "stage": "ResponseComplete",
        "verb": "create",
        "requestURI": "/apis/k8s.packt.com/v1/namespaces/library/weatherreports",
        "user": {"username": "class-a:anna", "groups": [], "extra": {"k8s.packt.com/call": ["t-1"]}},
        "objectRef": {"resource": "weatherreports", "namespace": "library"},
        "requestObject": {"metadata": {"name": "daily"}},
        "responseObject": {"metadata": {"resourceVersion": "77"}},
        "responseStatus": {"code": code, "message": message},
        "requestReceivedTimestamp": "2026-01-01T12:00:00.000000Z",
        "stageTimestamp": "2026-01-01T12:00:00.012000Z",
        "annotations": {
            "authorization.k8s.io/decision": "allow",
            "authorization.k8s.io/reason": "RBAC: allowed by RoleBinding",
            "report-labels.k8s.packt.com/call": "m-1",
            **annotations,
        },
    }


REFUSED = 'admission webhook "known-cities.k8s.packt.com" denied the request: no station'


def test_a_call_belongs_to_the_request_whose_number_it_carries_and_to_no_other() -> None:
    trace = trace_of(event(403, REFUSED, **{"known-cities.k8s.packt.com/call": "v-1"}), CALLS)
    assert [call.call for stage in trace.stages for call in stage.calls] == ["t-1", "m-1", "v-1"]
    assert (trace.stopped_at, round(trace.milliseconds)) == ("validating", 12)


def test_the_text_twin_says_all_that_is_the_same_in_every_run() -> None:
    assert text_twin(trace_of(event(), CALLS)).splitlines() == [
        "create weatherreports library/daily -> 201",
        "  ✓ authentication: passed. class-a:anna, says the webhook students",
        "  ✓ authorisation: passed. RBAC: RoleBinding",
        "  ✓ decoding: passed. no complaint",
        "  ✓ mutating: passed. report-labels: changed (add /metadata/labels)",
        "  ✓ schema: passed. no complaint",
        "  ✓ validating: passed. no webhook asked to be called",
        "  ✓ etcd: passed. stored as resource version ...",
    ]


def test_a_refused_request_shows_where_it_stopped_and_what_was_not_reached() -> None:
    trace = trace_of(event(403, REFUSED, **{"known-cities.k8s.packt.com/call": "v-1"}), CALLS)
    lines = text_twin(trace).splitlines()
    assert lines[-2:] == [f"  ✗ validating: stopped. {REFUSED}", "  · etcd: not reached"]


@pytest.mark.parametrize(
    ("code", "annotations", "message", "stage"),
    [
        (500, {"authorization.k8s.io/reason": "internal error"}, "", "authorisation"),
        (403, {}, 'users "eve" is forbidden: User "anna" cannot impersonate resource "users"', "authorisation"),
        (429, {}, "too many requests, please try again later", "authorisation"),
        (403, {"authorization.k8s.io/decision": "forbid"}, "forbidden", "authorisation"),
        (400, {"authorization.k8s.io/decision": "allow"}, 'strict decoding error: unknown field "dayz"', "decoding"),
        (
            415,
            {"authorization.k8s.io/decision": "allow"},
            "the body of the request was in an unknown format",
            "decoding",
        ),
        (422, {"authorization.k8s.io/decision": "allow"}, "is invalid: spec.days: Invalid value: 15", "schema"),
        (409, {"authorization.k8s.io/decision": "allow"}, '"daily" already exists', "etcd"),
    ],
)
def test_what_was_not_allowed_did_not_pass_authorisation_and_what_cannot_be_read_is_not_admitted(
    code: int, annotations: dict[str, str], message: str, stage: str
) -> None:
    refused = event(code, message) | {"annotations": annotations}
    trace = trace_of(refused, [])
    assert trace.stopped_at == stage
    refusal = message if message else annotations["authorization.k8s.io/reason"]
    assert refusal in text_twin(trace)
    after = trace.stages[[one.name for one in trace.stages].index(stage) + 1 :]
    assert {one.state for one in after} <= {"not reached"}


def test_a_user_who_acts_as_another_is_named_beside_that_one() -> None:
    trace = trace_of(event() | {"impersonatedUser": {"username": "eve"}}, CALLS)
    assert trace.stages[0].evidence == "class-a:anna, says the webhook students, who acts as eve"


def test_the_picture_carries_an_alt_text_and_its_text_twin() -> None:
    data, metadata = trace_picture(trace_of(event(), CALLS))._repr_mimebundle_()
    assert data["image/png"].startswith(b"\x89PNG")
    assert data["text/plain"] == text_twin(trace_of(event(), CALLS))
    assert "reached etcd" in metadata["image/png"]["alt"]


def test_the_live_view_shows_new_requests_that_are_wanted_and_escapes_them(
    tmp_path: Path, eventually: Callable[..., None]
) -> None:
    file = tmp_path / "audit.log"
    file.write_text(json.dumps(event()) + "\n")
    view = TraceView(AuditLog(file), lambda: CALLS, lambda event: event["verb"] == "create", step=0)
    try:
        assert "Waiting for a request" in view.value
        with file.open("a") as log:
            log.write(json.dumps(event() | {"verb": "watch"}) + "\n")
            log.write(json.dumps(event(403, "<script>alert()</script> denied request")) + "\n")
        eventually(lambda: "✗ validating" in view.value)
        assert "<script>" not in view.value and "&lt;script&gt;" in view.value
        assert repr(view) == repr(view) and "0x" not in repr(view)
    finally:
        view.close()
    assert not view._thread.is_alive()
