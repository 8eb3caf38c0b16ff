"""What the API server asks a webhook, decoded: one class a question. What makes no sense is refused with one sentence.

AdmissionReview, TokenReview, SubjectAccessReview and ImageReview share one shape: an object with apiVersion, kind and a
question in it (`request` or `spec`), sent by POST; the answer is the same kind of object with the answer in it
(`response` or `status`). Source:
https://kubernetes.io/docs/reference/access-authn-authz/extensible-admission-controllers/#request
"""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass, field
from typing import Any, Self, TypeVar

from k8sext.kube.objects import Json

T = TypeVar("T")

MAX_WARNING = 256
"""Characters of one warning; the API server cuts off what is longer, and all of them at 4096."""


class BadReview(Exception):
    """The body is not the question it should be; the message says why."""


class Denied(Exception):
    """Raised by a function to refuse. The client sees `message` with the HTTP status `code`."""

    def __init__(self, message: str, code: int = 403, reason: str = "Forbidden") -> None:
        super().__init__(message)
        self.message, self.code, self.reason = message, code, reason


@dataclass
class AdmissionRequest:
    """One question of the API server before it stores an object: `operation` by `user` on `resource`."""

    uid: str
    operation: str
    group: str
    version: str
    resource: str
    subresource: str
    kind: str
    name: str
    namespace: str
    user: str
    groups: list[str]
    user_info: Json
    object: Json | None
    """The object as it would be stored; for CONNECT the options (of exec, say); None for DELETE."""
    old_object: Json | None
    """The object as it stands in the store; None for CREATE and CONNECT."""
    options: Json
    dry_run: bool
    """The client only wants to know: nothing may be changed anywhere else because of this request."""
    warnings: list[str] = field(default_factory=list)
    annotations: dict[str, str] = field(default_factory=dict)

    @property
    def subject(self) -> Json:
        """The object that the question is about: the new one, or for DELETE the old one."""
        return self.object if self.object is not None else self.old_object or {}

    def warn(self, text: str) -> None:
        """Let the request pass with a warning, which kubectl prints in yellow.

        The API server throws a warning with control characters away: here they become spaces.
        """
        plain = "".join(" " if unicodedata.category(sign) == "Cc" else sign for sign in text)
        self.warnings.append(" ".join(plain.split())[:MAX_WARNING])

    def audit(self, key: str, value: str) -> None:
        """Leave a note in the audit log, as `<name of the webhook>/<key>`."""
        self.annotations[key] = value

    @classmethod
    def of(cls, review: Json) -> Self:
        """Decode an AdmissionReview (admission.k8s.io/v1). Raises BadReview."""
        request = _question(review, "admission.k8s.io/v1", "AdmissionReview", "request")
        resource, kind = _get(request, "resource", dict, {}), _get(request, "kind", dict, {})
        user = _get(request, "userInfo", dict, {})
        found = cls(
            uid=_get(request, "uid", str),
            operation=_get(request, "operation", str),
            group=_get(resource, "group", str, ""),
            version=_get(resource, "version", str, ""),
            resource=_get(resource, "resource", str, ""),
            subresource=_get(request, "subResource", str, ""),
            kind=_get(kind, "kind", str, ""),
            name=_get(request, "name", str, ""),
            namespace=_get(request, "namespace", str, ""),
            user=_get(user, "username", str, ""),
            groups=_texts(user, "groups"),
            user_info=user,
            object=_get(request, "object", dict, None),
            old_object=_get(request, "oldObject", dict, None),
            options=_get(request, "options", dict, {}),
            dry_run=_get(request, "dryRun", bool, False),
        )
        if not found.uid:
            raise BadReview("request.uid is empty, so no answer can be told from another")
        if found.operation not in ("CREATE", "UPDATE", "DELETE", "CONNECT"):
            raise BadReview(f"request.operation {found.operation[:40]!r} is none of CREATE, UPDATE, DELETE, CONNECT")
        return found


@dataclass
class ImageRequest:
    """May these images run? Asked when a pod is created or its images change."""

    images: list[str]
    namespace: str
    annotations: dict[str, str]
    """Only those of the pod's annotations whose key fits *.image-policy.k8s.io/*."""

    @classmethod
    def of(cls, review: Json) -> Self:
        """Decode an ImageReview (imagepolicy.k8s.io/v1alpha1). Raises BadReview."""
        spec = _question(review, "imagepolicy.k8s.io/v1alpha1", "ImageReview", "spec")
        containers = _get(spec, "containers", list, [])
        if not all(isinstance(container, dict) for container in containers):
            raise BadReview("spec.containers holds something that is no container")
        images = [_get(container, "image", str, "") for container in containers]
        return cls(images, _get(spec, "namespace", str, ""), _get(spec, "annotations", dict, {}))


@dataclass
class TokenRequest:
    """Who is it that shows this bearer token?"""

    token: str
    audiences: list[str]

    @classmethod
    def of(cls, review: Json) -> Self:
        """Decode a TokenReview (authentication.k8s.io/v1). Raises BadReview."""
        spec = _question(review, "authentication.k8s.io/v1", "TokenReview", "spec")
        return cls(_get(spec, "token", str), _texts(spec, "audiences"))


@dataclass
class AccessRequest:
    """May this user do that? For a resource, or (`path`) for a URL that is none, such as /version."""

    user: str
    groups: list[str]
    extra: dict[str, list[str]]
    verb: str
    namespace: str = ""
    group: str = ""
    resource: str = ""
    subresource: str = ""
    name: str = ""
    path: str = ""

    @classmethod
    def of(cls, review: Json) -> Self:
        """Decode a SubjectAccessReview (authorization.k8s.io/v1). Raises BadReview."""
        spec = _question(review, "authorization.k8s.io/v1", "SubjectAccessReview", "spec")
        extra = _get(spec, "extra", dict, {})
        resource = _get(spec, "resourceAttributes", dict, None)
        plain = _get(spec, "nonResourceAttributes", dict, None)
        if (resource is None) == (plain is None):
            raise BadReview("spec must hold one of resourceAttributes and nonResourceAttributes")
        asked = resource if resource is not None else plain or {}
        return cls(
            user=_get(spec, "user", str, ""),
            groups=_texts(spec, "groups"),
            extra={key: _texts(extra, key) for key in extra},
            verb=_get(asked, "verb", str, ""),
            **{
                key: _get(asked, key, str, "")
                for key in ("namespace", "group", "resource", "subresource", "name", "path")
            },
        )


def _question(review: object, version: str, kind: str, part: str) -> Json:
    if not isinstance(review, dict):
        raise BadReview(f"the body must be a JSON object, a {kind}")
    found = (review.get("apiVersion"), review.get("kind"))
    if found != (version, kind):
        raise BadReview(f"this address answers {kind} of {version} only, not {found[1]!s:.60} of {found[0]!s:.60}")
    return _get(review, part, dict)


_NEEDED: Any = object()


def _get(where: Json, key: str, type_: type[T], default: Any = _NEEDED) -> Any:
    """The value of a field, checked; absent and null mean the default, where there is one."""
    value = where.get(key)
    if value is None:
        if default is _NEEDED:
            raise BadReview(f"the field {key} is missing")
        return default
    if not isinstance(value, type_):
        raise BadReview(f"the field {key} must be a {_WORDS[type_]}, not {type(value).__name__}")
    return value


_WORDS: dict[type, str] = {str: "text", dict: "JSON object", list: "list", bool: "boolean"}


def _texts(where: Json, key: str) -> list[str]:
    found = _get(where, key, list, [])
    if not all(isinstance(text, str) for text in found):
        raise BadReview(f"the field {key} must hold texts only")
    return found
