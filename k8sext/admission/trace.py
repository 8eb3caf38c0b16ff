"""One request's way through the API server, stage by stage, from its audit event and its webhook calls.

authentication and authorisation belong to the chain of handlers that every request passes (DefaultBuildHandlerChain in
k8s.io/apiserver); decoding, mutating admission, schema, validating admission and etcd follow in the handler of the
resource (endpoints/handlers/create.go). A webhook's call is tied to its request by a number that the webhook put into
its answer and that the audit log repeats; nothing is guessed from the clock but how long a stage took.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from k8sext.admission.audit import seconds
from k8sext.admission.engine import CALL_KEY
from k8sext.admission.functions import DOMAIN
from k8sext.admission.server import Call
from k8sext.kube.objects import Json

STAGES = ("authentication", "authorisation", "decoding", "mutating", "schema", "validating", "etcd")
State = Literal["passed", "stopped", "not reached", "not needed"]
WRITES = ("create", "update", "patch", "delete", "deletecollection")
LATENCY = "apiserver.latency.k8s.io"
LATENCY_OF = {
    "authentication": "authentication",
    "authorisation": "authorization",
    "mutating": "mutating-webhook",
    "validating": "validating-webhook",
    "etcd": "etcd",
}
"""The stages that the API server times, as it calls them in the audit log, on requests of 500 ms and more."""
CREDENTIAL = "authentication.kubernetes.io/credential-id"


@dataclass
class Stage:
    """What happened at one stage, how we know, how long it took, and the webhook calls made there."""

    name: str
    state: State
    evidence: str
    milliseconds: float | None = None
    """What the API server measured (from 500 ms on); else what our webhooks needed; None where none was called."""
    calls: list[Call] = field(default_factory=list)
    at_most: float | None = None
    """Milliseconds between the calls before and after it: a bound for a stage that nobody measures."""


@dataclass
class Trace:
    """One request: what it was, its stages, what the client was told and after how long."""

    request: str
    audit_id: str
    stages: list[Stage]
    code: int
    message: str
    milliseconds: float

    @property
    def stopped_at(self) -> str:
        """The stage that refused the request; the empty text when none did."""
        return next((stage.name for stage in self.stages if stage.state == "stopped"), "")


def trace_of(event: Json, calls: Sequence[Call]) -> Trace:
    """Put the trace of one request together from its audit event and the calls that webhooks saw."""
    answer = event.get("responseStatus") or {}
    code, message = answer.get("code", 0), answer.get("message", "")
    found = _calls_of(event, calls)
    stopped = _stopped_at(event, code, message, found) if code >= 400 else ""
    stages = []
    for name in STAGES:
        if stopped in STAGES and STAGES.index(name) > STAGES.index(stopped):
            stages.append(Stage(name, "not reached", ""))
        else:
            mine = found.get(name, [])
            state, evidence = _STAGE[name](event, mine)
            if name == stopped:
                state, evidence = "stopped", message or _reason(event)
            stages.append(Stage(name, state, evidence, _milliseconds(name, event, mine), mine))
    _bound(stages, seconds(event["stageTimestamp"]))
    took = seconds(event["stageTimestamp"]) - seconds(event["requestReceivedTimestamp"])
    return Trace(_described(event), event["auditID"], stages, code, message, took * 1000)


def _bound(stages: list[Stage], end: float) -> None:
    """The schema is checked between the last mutating and the first validating call, and what is left is etcd's."""
    by_name = {stage.name: stage for stage in stages}
    for name, before, after in (("schema", ("mutating",), "validating"), ("etcd", ("mutating", "validating"), "")):
        ended = [call.began + call.seconds for stage in before for call in by_name[stage].calls]
        begins = [call.began for call in by_name[after].calls] if after else [end]
        if ended and begins and by_name[name].state in ("passed", "stopped"):
            by_name[name].at_most = max(0.0, min(begins) - max(ended)) * 1000


def _milliseconds(stage: str, event: Json, calls: Sequence[Call]) -> float | None:
    notes = event.get("annotations") or {}
    if measured := notes.get(f"{LATENCY}/{LATENCY_OF.get(stage)}"):
        return _go_duration(measured)
    return sum(call.seconds for call in calls) * 1000 if calls else None


def _go_duration(text: str) -> float:
    """A duration as Go prints it, such as 1.5s or 310.2µs, in milliseconds."""
    units = {"h": 3.6e6, "m": 6e4, "s": 1e3, "ms": 1.0, "µs": 1e-3, "ns": 1e-6}
    return sum(float(number) * units[unit] for number, unit in re.findall(r"([\d.]+)(h|ms|µs|ns|m|s)", text))


def _described(event: Json) -> str:
    reference = event.get("objectRef") or {}
    what = "/".join(part for part in (reference.get("resource", ""), reference.get("subresource", "")) if part)
    named = reference.get("name") or ((event.get("requestObject") or {}).get("metadata") or {}).get("name", "")
    where = "/".join(part for part in (reference.get("namespace", ""), named) if part)
    return f"{event['verb']} {what or event['requestURI']} {where}".strip()


def _calls_of(event: Json, calls: Sequence[Call]) -> dict[str, list[Call]]:
    """The calls made for this request, by stage. Each is known by its number."""
    notes = event.get("annotations") or {}
    numbers = {value for key, value in notes.items() if key.endswith(f".{DOMAIN}/call")}
    token = _extra(event, CALL_KEY)
    end = seconds(event["stageTimestamp"])
    found: dict[str, list[Call]] = {}
    for call in calls:
        if call.kind == "authenticator" and (
            call.call == token or (_is_during(call, event) and _is_refused(call, event))
        ):
            found.setdefault("authentication", []).append(call)
        elif call.kind == "authorizer" and call.call == token and _is_asked(call, event) and call.began <= end:
            # A token's number stands for several requests; the last same question before the end was this one's.
            found["authorisation"] = [call]
        elif call.kind in ("mutating", "validating") and call.call in numbers:
            found.setdefault(call.kind, []).append(call)
        elif call.kind == "image_policy" and _is_during(call, event) and call.subject == _images(event):
            found.setdefault("validating", []).append(call)
    return found


def _is_during(call: Call, event: Json) -> bool:
    return seconds(event["requestReceivedTimestamp"]) <= call.began <= seconds(event["stageTimestamp"])


def _is_refused(call: Call, event: Json) -> bool:
    """A token that nobody knows leads to a user without a name, so only the time ties this call to its request."""
    return call.outcome == "unknown" and not event["user"].get("username")


def _is_asked(call: Call, event: Json) -> bool:
    return _is_during(call, event) and call.subject.split(" ")[0] == event["verb"]


def _images(event: Json) -> str:
    """The images that the plugin asks about, in its order: ephemeral containers come by a subresource, alone."""
    spec: Json = (event.get("requestObject") or {}).get("spec") or {}
    subresource = event.get("objectRef", {}).get("subresource", "")
    kinds = ("containers", "initContainers") if not subresource else ("ephemeralContainers",)
    return ", ".join(container.get("image", "") for kind in kinds for container in spec.get(kind) or ())


def _extra(event: Json, key: str) -> str:
    return ((event["user"].get("extra") or {}).get(key) or [""])[0]


def _stopped_at(event: Json, code: int, message: str, calls: dict[str, list[Call]]) -> str:
    """Which stage said no: it signs its refusals in words of its own.

    An authorizer that fails leaves a reason ("internal error") and no decision, and what comes before it
    (impersonation, priority and fairness) leaves neither: whatever was not allowed did not pass authorisation.
    """
    notes = event.get("annotations") or {}
    if code == 401:
        return "authentication"
    if notes.get("authorization.k8s.io/decision") != "allow":
        return "authorisation"
    if match := re.search(r'(?:admission|calling) webhook "([^"]+)"', message):
        mutated = any(match[1] in note for key, note in notes.items() if key.startswith("mutation.webhook"))
        denied = any(f"{call.webhook}.{DOMAIN}" == match[1] for call in calls.get("mutating", ()))
        return "mutating" if mutated or denied else "validating"
    if "MutatingAdmissionPolicy" in message:
        return "mutating"
    if "ValidatingAdmissionPolicy" in message or "image policy webhook" in message or "denied request" in message:
        return "validating"
    if code in (400, 415):
        return "decoding"
    if code == 422:
        return "schema"
    if code == 403:
        return "validating"
    return "etcd"


def _reason(event: Json) -> str:
    return (event.get("annotations") or {}).get("authorization.k8s.io/reason", "")


def _authentication(event: Json, calls: list[Call]) -> tuple[State, str]:
    user = event["user"].get("username", "")
    impersonated = (event.get("impersonatedUser") or {}).get("username", "")
    acts = f", who acts as {impersonated}" if impersonated else ""
    if calls:
        return "passed", f"{user}, says the webhook {calls[0].webhook}{acts}"
    credential = _extra(event, CREDENTIAL)
    return "passed", f"{user}, by {'a client certificate' if credential.startswith('X509') else 'a token'}{acts}"


def _authorisation(event: Json, calls: list[Call]) -> tuple[State, str]:
    asked = f"{calls[0].webhook}: {calls[0].outcome}; " if calls else ""
    super_user = "system:masters" in event["user"].get("groups", ())
    reason = _reason(event) or ("system:masters may do everything" if super_user else "allowed")
    return "passed", asked + re.sub(r"^RBAC: allowed by ", "RBAC: ", reason)


def _mutating(event: Json, calls: list[Call]) -> tuple[State, str]:
    if event["verb"] not in (*WRITES, "connect"):
        return "not needed", "reads are never admitted"
    return _admitted(calls)


def _validating(event: Json, calls: list[Call]) -> tuple[State, str]:
    return _mutating(event, calls)


def _admitted(calls: list[Call]) -> tuple[State, str]:
    said = [f"{call.webhook}: {call.outcome}" + (f" ({call.detail})" if call.detail else "") for call in calls]
    return "passed", "; ".join(said) or "no webhook asked to be called"


def _body(event: Json, _calls: list[Call]) -> tuple[State, str]:
    """Decoding and the schema leave no note; that a later stage was reached is all that the log knows of them."""
    if event["verb"] not in ("create", "update", "patch"):
        return "not needed", "no object is sent"
    return "passed", "no complaint"


def _etcd(event: Json, _calls: list[Call]) -> tuple[State, str]:
    if event["verb"] not in WRITES:
        return "passed", "read"
    if "dryRun" in event["requestURI"]:
        return "not needed", "a dry run is not stored"
    stored = ((event.get("responseObject") or {}).get("metadata") or {}).get("resourceVersion")
    return "passed", f"stored as resource version {stored}" if stored else "stored"


_STAGE = {
    "authentication": _authentication,
    "authorisation": _authorisation,
    "decoding": _body,
    "mutating": _mutating,
    "schema": _body,
    "validating": _validating,
    "etcd": _etcd,
}
