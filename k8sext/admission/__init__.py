"""Access control from the outside: plain Python functions that the API server asks before it goes on.

| Kubernetes | here |
|---|---|
| validating, mutating admission webhook | `functions.validating`, `functions.mutating`; `engine.answer` |
| authentication, authorization webhook | `functions.authenticator`, `functions.authorizer` |
| ImagePolicyWebhook | `functions.image_policy` |
| AdmissionReview, TokenReview, SubjectAccessReview, ImageReview; JSON Patch | `review`; `patch.difference` |
| Validating-, MutatingWebhookConfiguration | `registration.Registration`; from a notebook: `serving.serve` |
| flags of kube-apiserver: AuthorizationConfiguration and others | `apiserver_flags.api_server_options` |
| webhooks behind a Service, caBundle, certificate rotation | `deployment.manifests`, `in_cluster.run` |
| audit log, stages of a request | `audit.AuditLog`, `trace.trace_of` |
| initializers (1.7 to 1.13) | `initializers`: what came before webhooks, re-created |

Read in this order: `review` (the questions), `functions` (the decorators), `engine` and `patch` (from question to
answer), `server` and `tls` (HTTPS), `registration` (how the API server learns of a webhook), `serving` (all of it from
a notebook), `apiserver_flags`, `deployment` and `in_cluster` (all of it in a pod), `trace` (one request's way, from the
audit log), and the `examples`.

Left out, because it costs more lines than it teaches: AdmissionReview v1beta1, gone since Kubernetes 1.22;
authentication by OpenID Connect (the API server does that itself); metrics of the webhooks (the API server counts and
times every call: apiserver_admission_webhook_admission_duration_seconds).
"""

from __future__ import annotations

from k8sext.admission.functions import (
    AdmissionWebhook,
    Allowed,
    User,
    Webhook,
    authenticator,
    authorizer,
    image_policy,
    mutating,
    validating,
)
from k8sext.admission.review import AccessRequest, AdmissionRequest, BadReview, Denied, ImageRequest
from k8sext.admission.serving import Serving, serve
from k8sext.kube.objects import Json

__all__ = [
    "AccessRequest",
    "AdmissionRequest",
    "AdmissionWebhook",
    "Allowed",
    "BadReview",
    "Denied",
    "ImageRequest",
    "Json",
    "Serving",
    "User",
    "Webhook",
    "authenticator",
    "authorizer",
    "image_policy",
    "mutating",
    "serve",
    "validating",
]
