"""From a question to an answer: decode the review, call the function, encode what it said. No network here.

A function that does anything but what its decorator promises is a crash, never a yes: a validating function that
returns False meant to refuse. A function that is not async is called in a thread, as it may wait for something or work
for long, and the loop that answers all others must not. Nothing can stop it there: who no longer waits for it leaves it
to itself.
"""

from __future__ import annotations

import base64
import inspect
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import anyio.to_thread

from k8sext.admission.functions import DOMAIN, Allowed, User, Webhook
from k8sext.admission.patch import difference
from k8sext.admission.review import AccessRequest, AdmissionRequest, Denied, ImageRequest, TokenRequest
from k8sext.kube.objects import Json

T = TypeVar("T")

CALL_KEY = f"{DOMAIN}/call"
"""Under this key the answer of an authenticator carries the number of the call into audit log and later questions."""


@dataclass
class Answer:
    """What goes back to the API server, and the same in a word and a sentence for the one who looks on."""

    body: Json
    outcome: str
    """allowed, denied, changed, known, unknown, no opinion"""
    detail: str = ""
    subject: str = ""
    """What was asked about, for the record of calls."""
    user: str = ""
    call: str = ""
    """What ties this call to one request in the audit log."""


async def answer(webhook: Webhook, review: Any, call: str = "") -> Answer:
    """Answer one decoded review with one webhook. call identifies this call where the review has no uid of its own.

    Raises BadReview for a question that makes no sense, and whatever the function raises beside Denied.
    """
    return await _ENGINES[webhook.kind](webhook, review, call)


async def _validating(webhook: Webhook, review: Any, _call: str) -> Answer:
    request = AdmissionRequest.of(review)
    try:
        await _call_for_nothing(webhook, request.subject, request)
    except Denied as denied:
        return _admission_answer(request, denied)
    return _admission_answer(request)


async def _mutating(webhook: Webhook, review: Any, _call: str) -> Answer:
    """The function works on a copy of its own; what it changed there is the patch (RFC 6902)."""
    request = AdmissionRequest.of(review)
    before = json.dumps(request.subject)
    copy = json.loads(before)
    try:
        await _call_for_nothing(webhook, copy, request)
    except Denied as denied:
        return _admission_answer(request, denied)
    return _admission_answer(request, patch=await _in_thread(_patch, request.object is None, before, copy))


def _patch(is_deletion: bool, before: str, changed: Json) -> list[Json]:
    # Only what JSON can say may go into the object: a date or a set raises here.
    after = json.dumps(changed, allow_nan=False)
    return [] if before == after or is_deletion else difference(json.loads(before), json.loads(after))


def _admission_answer(
    request: AdmissionRequest, denied: Denied | None = None, patch: list[Json] | None = None
) -> Answer:
    response: Json = {"uid": request.uid, "allowed": denied is None}
    outcome, detail = "allowed", ""
    if denied:
        response["status"] = {"code": denied.code, "reason": denied.reason, "message": denied.message}
        outcome, detail = "denied", denied.message
    elif patch:
        response |= {"patchType": "JSONPatch", "patch": base64.b64encode(json.dumps(patch).encode()).decode()}
        outcome, detail = "changed", ", ".join(f"{step['op']} {step['path']}" for step in patch)
    if request.warnings:
        response["warnings"] = request.warnings
    # The uid names this one call; in the audit log it says which request the call was made for.
    response["auditAnnotations"] = {"call": request.uid, **request.annotations}
    body = {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": response}
    what = "/".join(part for part in (request.resource, request.subresource) if part)
    where = "/".join(part for part in (request.namespace, request.name) if part)
    subject = f"{request.operation} {what} {where}".rstrip()
    return Answer(body, outcome, detail, subject, request.user, request.uid)


async def _image_policy(webhook: Webhook, review: Any, call: str) -> Answer:
    request = ImageRequest.of(review)
    status: Json = {"allowed": True}
    try:
        await _call_for_nothing(webhook, request)
    except Denied as denied:
        status = {"allowed": False, "reason": denied.message}
    body = {"apiVersion": "imagepolicy.k8s.io/v1alpha1", "kind": "ImageReview", "status": status}
    outcome = "allowed" if status["allowed"] else "denied"
    return Answer(body, outcome, status.get("reason", ""), ", ".join(request.images), call=call)


async def _authenticator(webhook: Webhook, review: Any, call: str) -> Answer:
    request = TokenRequest.of(review)
    user = await _call(webhook, request.token)
    status: Json = {"authenticated": False}
    if isinstance(user, User):
        extra = {key: list(values) for key, values in user.extra.items()} | {CALL_KEY: [call]}
        known = {"username": user.name, "uid": user.uid, "groups": list(user.groups), "extra": extra}
        status = {"authenticated": True, "user": known}
        if request.audiences:
            status["audiences"] = request.audiences
    elif user is not None:
        raise TypeError(f"{webhook.name} returned {user!r}: an authenticator returns a User, or None for a stranger")
    body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "status": status}
    name = user.name if user else ""
    return Answer(body, "known" if user else "unknown", ", ".join(user.groups) if user else "", "a token", name, call)


async def _authorizer(webhook: Webhook, review: Any, call: str) -> Answer:
    request = AccessRequest.of(review)
    status: Json = {"allowed": False}
    outcome = "no opinion"
    try:
        found = await _call(webhook, request)
        if isinstance(found, Allowed):
            status, outcome = {"allowed": True, "reason": found.reason}, "allowed"
        elif found is not None:
            raise TypeError(f"{webhook.name} returned {found!r}: an authorizer returns Allowed, or None for no opinion")
    except Denied as denied:
        # "denied" is final; without it the next authorizer would be asked.
        status, outcome = {"allowed": False, "denied": True, "reason": denied.message}, "denied"
    body = {"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "status": status}
    what = request.path or "/".join(part for part in (request.resource, request.subresource) if part)
    subject = f"{request.verb} {what} {'/'.join(part for part in (request.namespace, request.name) if part)}".rstrip()
    tied = request.extra.get(CALL_KEY) or [call]
    return Answer(body, outcome, status.get("reason", ""), subject, request.user, tied[0])


async def _call(webhook: Webhook, *arguments: Any) -> Any:
    if inspect.iscoroutinefunction(webhook.function):
        return await webhook.function(*arguments)
    found = await _in_thread(webhook.function, *arguments)
    return await found if inspect.isawaitable(found) else found


async def _in_thread(function: Callable[..., T], *arguments: Any) -> T:
    """Call a function in a thread, one of forty at most (anyio's limit); cancelled, it is no longer waited for."""
    return await anyio.to_thread.run_sync(function, *arguments, abandon_on_cancel=True)


async def _call_for_nothing(webhook: Webhook, *arguments: Any) -> None:
    found = await _call(webhook, *arguments)
    if found is not None:
        raise TypeError(
            f"{webhook.name} returned {found!r}: raise Denied to refuse, return None to let the request go on"
        )


_ENGINES = {
    "validating": _validating,
    "mutating": _mutating,
    "image_policy": _image_policy,
    "authenticator": _authenticator,
    "authorizer": _authorizer,
}
