"""Access control from the outside: plain Python functions that the API server asks before it goes on.

Read in this order: `review` (the questions), `functions` (the decorators), `engine` (from question to answer), `server` and `tls`
(HTTPS), `registration` (how the API server learns of a webhook), `serving` (all of it from a notebook), `flags` (webhooks that need
flags of the API server), `deployment` and `incluster` (all of it in a pod), `journey` (one request's way, from the audit log), and
the `examples`. The room `initializers` within re-creates what came before webhooks.

Left out, because it costs more lines than it teaches: AdmissionReview v1beta1, gone since Kubernetes 1.22; authentication by OpenID
Connect (the API server does that itself); metrics of the webhooks (the API server counts and times every call, see notebook 08).
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
from k8sext.admission.review import AccessRequest, AdmissionRequest, BadReview, Denied, ImageRequest, Json
from k8sext.admission.serving import Serving, serve

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
