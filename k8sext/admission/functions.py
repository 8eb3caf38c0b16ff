"""Plain Python functions as webhooks: five decorators, one for each question of the API server.

    @validating("weatherreports.k8s.packt.com")
    def short_reports(report, request):
        if report["spec"]["days"] > 14:
            raise Denied("a report covers 14 days at most")

A decorated function stays callable, so a test needs no server. Resources are written as kubectl writes them: `pods`,
`deployments.apps`, `pods/exec`. A function runs beside others: in a thread, or if it is `async` in the loop of the
server, which it must not hold up. When `timeout` is over, nobody waits for it any more.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypedDict, Unpack

from k8sext.admission.review import AccessRequest, AdmissionRequest, ImageRequest
from k8sext.kube.objects import Json

_LABEL = "[a-z](?:[a-z0-9-]*[a-z0-9])?"
_RESOURCE = re.compile(rf"({_LABEL}|\*)(?:\.([a-z0-9](?:[a-z0-9.-]*[a-z0-9])?))?(/(?:{_LABEL}|\*))?")
"""Plural and subresource are DNS-1035 labels or `*`, the group is a DNS-1123 subdomain (apimachinery's validation)."""

Kind = Literal["validating", "mutating", "image_policy", "authenticator", "authorizer"]
Operation = Literal["CREATE", "UPDATE", "DELETE", "CONNECT", "*"]

DOMAIN = "k8s.packt.com"
EXEMPT_NAMESPACES = ("kube-system", "kube-public", "kube-node-lease")
"""Where the cluster lives itself: no webhook of ours is ever asked there, so none can lock the cluster up."""
LONGEST_TIMEOUT = 30
"""Seconds: what the API accepts as timeoutSeconds of a registered webhook is 1 to 30."""


@dataclass(frozen=True)
class User:
    """What an authenticator found out about the bearer of a token."""

    name: str
    groups: Sequence[str] = ()
    uid: str = ""
    extra: Mapping[str, Sequence[str]] = field(default_factory=dict)


@dataclass(frozen=True)
class Allowed:
    """The answer of an authorizer that knows: yes. (No: raise Denied. Let the next authorizer decide: return None.)"""

    reason: str = ""


Check = Callable[[Json, AdmissionRequest], Awaitable[None] | None]
ImageCheck = Callable[[ImageRequest], Awaitable[None] | None]
Identify = Callable[[str], User | Awaitable[User | None] | None]
Authorize = Callable[[AccessRequest], Allowed | Awaitable[Allowed | None] | None]


@dataclass(frozen=True, kw_only=True, eq=False)
class Webhook:
    """A function, and the question it answers."""

    function: Callable[..., Any]
    kind: Kind
    name: str
    timeout: int = 5
    """Seconds after which nobody waits for the function any more."""

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", self.name):
            raise ValueError(f"{self.name!r} cannot be a webhook's name: use small letters, digits and dashes")

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        """Call the function itself, as a test does."""
        return self.function(*arguments, **named)

    @property
    def path(self) -> str:
        """Where a server answers for it."""
        return f"/{self.kind.replace('_', '-')}/{self.name}"


@dataclass(frozen=True, kw_only=True, eq=False)
class AdmissionWebhook(Webhook):
    """A validating or mutating webhook: what it wants to be asked about, and what holds when it does not answer.

    Source: https://kubernetes.io/docs/reference/access-authn-authz/extensible-admission-controllers/
    """

    rules: tuple[Json, ...]
    namespaces: Sequence[str] = ()
    object_labels: Mapping[str, str] = field(default_factory=dict)
    match_conditions: Mapping[str, str] = field(default_factory=dict)
    failure_policy: Literal["Fail", "Ignore"] = "Fail"
    side_effects: Literal["None", "NoneOnDryRun"] = "None"
    timeout: int = 2
    reinvocation: Literal["Never", "IfNeeded"] = "Never"

    def __post_init__(self) -> None:
        super().__post_init__()
        if isinstance(self.namespaces, str):
            raise TypeError(f"namespaces is a list: write [{self.namespaces!r}]")
        if not 1 <= self.timeout <= LONGEST_TIMEOUT:
            raise ValueError(
                f"timeout is {self.timeout}: give 1 to {LONGEST_TIMEOUT} seconds, "
                "because every matching request waits for it"
            )

    @property
    def full_name(self) -> str:
        """Its name in the cluster: of the webhook, and of the configuration that holds it."""
        return f"{self.name}.{DOMAIN}"


class Options(TypedDict, total=False):
    """What `validating` and `mutating` take by name, beside `on`."""

    name: str
    """Default: the function's name, with dashes."""
    namespaces: Sequence[str]
    """Only there. Default: everywhere but in the namespaces of the cluster itself."""
    object_labels: Mapping[str, str]
    """Only objects that carry these labels."""
    match_conditions: Mapping[str, str]
    """Name to CEL expression: only where all of them are true. The API server decides that, without a call."""
    failure_policy: Literal["Fail", "Ignore"]
    """What counts when there is no answer. Default: Fail, the request is refused."""
    side_effects: Literal["None", "NoneOnDryRun"]
    timeout: int
    """Seconds, 1 to 30 as the API has it; default 2, where the API's own is 10: every matching request waits for it."""


class MutatingOptions(Options, total=False):
    """What `mutating` takes by name, beside `on`."""

    reinvocation: Literal["Never", "IfNeeded"]
    """IfNeeded: ask again when a later webhook changed the object. The function must then find its own work done."""


def validating(
    *resources: str, on: Sequence[Operation] = ("CREATE", "UPDATE"), **options: Unpack[Options]
) -> Callable[[Check], AdmissionWebhook]:
    """Ask `function(object, request)` before a change: it raises Denied, or returns None and the change may go on.

    For DELETE the object is the one to be deleted, for CONNECT the options. Raises ValueError for what the API would
    refuse.
    """
    rules = _rules(resources, on)
    return lambda function: AdmissionWebhook(
        **{"function": function, "kind": "validating", "name": _name(function), "rules": rules, **options}
    )


def mutating(
    *resources: str, on: Sequence[Operation] = ("CREATE", "UPDATE"), **options: Unpack[MutatingOptions]
) -> Callable[[Check], AdmissionWebhook]:
    """Hand `function(object, request)` a copy of the object to change; the difference is sent as a JSON patch.

    Raises ValueError for what the API would refuse.
    """
    rules = _rules(resources, on)
    return lambda function: AdmissionWebhook(
        **{"function": function, "kind": "mutating", "name": _name(function), "rules": rules, **options}
    )


def image_policy(function: ImageCheck) -> Webhook:
    """Ask `function(request)` before a pod runs images: it raises Denied or returns None."""
    return Webhook(function=function, kind="image_policy", name=_name(function))


def authenticator(function: Identify) -> Webhook:
    """Ask `function(token)` whose bearer token this is: it returns a User, or None for a token it does not know."""
    return Webhook(function=function, kind="authenticator", name=_name(function))


def authorizer(function: Authorize) -> Webhook:
    """Ask `function(request)` whether a user may: it returns Allowed, raises Denied, or returns None for no opinion."""
    return Webhook(function=function, kind="authorizer", name=_name(function))


def _rules(resources: Sequence[str], on: Sequence[Operation]) -> tuple[Json, ...]:
    if not resources or not all(isinstance(resource, str) for resource in resources):
        raise ValueError('name the resources it is asked about, as in @validating("pods", "deployments.apps")')
    unknown = [operation for operation in on if operation not in ("CREATE", "UPDATE", "DELETE", "CONNECT", "*")]
    if unknown or not on or isinstance(on, str):
        raise ValueError(f"on is {on!r}: list some of CREATE, UPDATE, DELETE and CONNECT; reads are never admitted")
    return tuple(_rule(resource, on) for resource in resources)


def _rule(resource: str, on: Sequence[Operation]) -> Json:
    """`deployments.apps/scale` as a rule: group apps, resource deployments/scale; `*` and `*/*` are everything."""
    match = _RESOURCE.fullmatch(resource)
    if match is None:
        raise ValueError(
            f"{resource!r} is no resource: write it as kubectl does, as in pods, deployments.apps or pods/exec"
        )
    plural, group, subresource = match.groups()
    return {
        "apiGroups": [group or ("*" if plural == "*" else "")],
        "apiVersions": ["*"],
        "resources": [plural + (subresource or "")],
        "operations": list(on),
        "scope": "*",
    }


def check_names(webhooks: Iterable[Webhook]) -> None:
    """Raise ValueError for two webhooks of one name: the API server could only ask one of them."""
    seen: set[str] = set()
    for webhook in webhooks:
        if webhook.path in seen:
            raise ValueError(f"two webhooks are called {webhook.name}: give one of the functions another name")
        seen.add(webhook.path)


def _name(function: Callable[..., Any]) -> str:
    """The name of a function, of the one within a partial, or of the class of an object that can be called."""
    while isinstance(function, functools.partial):
        function = function.func
    name: str = getattr(function, "__name__", type(function).__name__)
    return name.strip("_").replace("_", "-").lower()
