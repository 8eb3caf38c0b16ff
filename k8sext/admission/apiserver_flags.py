"""Webhooks that are named when an API server starts: its command line and the files that stand beside it.

Authentication, authorisation and image policy are decided before anybody could register anything, so they are named by
flags. The file of --authorization-config is read again when it changes; the others only when the server starts. The
result fits `k8sext.cluster.private_api_server(flags, files)`, which puts its folder in for {folder}. Sources:
https://kubernetes.io/docs/reference/access-authn-authz/authentication/#webhook-token-authentication,
.../authorization/#using-configuration-file-for-authorization, .../admission-controllers/#imagepolicywebhook,
https://kubernetes.io/docs/tasks/debug/debug-cluster/audit/
"""

from __future__ import annotations

from typing import Any

from k8sext.admission.functions import Webhook
from k8sext.admission.serving import Serving
from k8sext.kube.manifest import to_yaml

NO_CACHE = -1
PROBES = ["/readyz", "/healthz"]


def api_server_options(serving: Serving, image_cache: int = NO_CACHE) -> tuple[list[str], dict[str, str]]:
    """Flags and files for an API server that asks the webhooks of serving which need flags, and writes an audit log.

    image_cache: for how many seconds the API server keeps an image policy's answers; NO_CACHE asks every time.
    Raises ValueError when there are two of one kind.
    """
    flags, files = audit_log()
    if webhook := _only(serving, "authenticator"):
        files["authenticator.kubeconfig"] = serving.kubeconfig(webhook)
        prefix = "--authentication-token-webhook"
        flags += [f"{prefix}-config-file={{folder}}/authenticator.kubeconfig"]
        flags += [f"{prefix}-version=v1", f"{prefix}-cache-ttl=0s"]
    if webhook := _only(serving, "authorizer"):
        files["authorizer.kubeconfig"] = serving.kubeconfig(webhook)
        files["authorization.yaml"] = to_yaml(authorization_configuration())
        flags += ["--authorization-config={folder}/authorization.yaml"]
    if webhook := _only(serving, "image_policy"):
        files["image-policy.kubeconfig"] = serving.kubeconfig(webhook)
        files["admission.yaml"] = to_yaml(image_policy_configuration(image_cache))
        flags += [
            "--enable-admission-plugins=ImagePolicyWebhook",
            "--admission-control-config-file={folder}/admission.yaml",
        ]
    return flags, files


def audit_log() -> tuple[list[str], dict[str, str]]:
    """Write every request of a person into audit.log, whole; of the API server's requests to itself nothing."""
    policy = {
        "apiVersion": "audit.k8s.io/v1",
        "kind": "Policy",
        "omitStages": ["RequestReceived"],
        "rules": [
            {"level": "None", "userGroups": ["system:apiserver"]},
            {"level": "None", "users": ["system:apiserver", "system:anonymous"], "nonResourceURLs": PROBES},
            {"level": "RequestResponse"},
        ],
    }
    flags = ["--audit-policy-file={folder}/audit.yaml", "--audit-log-path={folder}/audit.log"]
    return flags, {"audit.yaml": to_yaml(policy)}


def image_policy_configuration(cache: int = NO_CACHE) -> dict[str, Any]:
    """An AdmissionConfiguration for the plugin ImagePolicyWebhook. TTLs are seconds, retryBackoff is milliseconds."""
    policy = {
        "kubeConfigFile": "{folder}/image-policy.kubeconfig",
        "allowTTL": cache,
        "denyTTL": cache,
        "retryBackoff": 100,
        # What counts when there is no answer.
        "defaultAllow": False,
    }
    return {
        "apiVersion": "apiserver.config.k8s.io/v1",
        "kind": "AdmissionConfiguration",
        "plugins": [{"name": "ImagePolicyWebhook", "configuration": {"imagePolicy": policy}}],
    }


def authorization_configuration() -> dict[str, Any]:
    """An AuthorizationConfiguration that asks the webhook first, so that it can deny what RBAC would allow.

    Members of system:masters are let in before any authorizer is asked, so no mistake here locks the administrator out.
    """
    webhook = {
        "subjectAccessReviewVersion": "v1",
        "matchConditionSubjectAccessReviewVersion": "v1",
        "timeout": "2s",
        "failurePolicy": "Deny",
        "authorizedTTL": "30s",
        "unauthorizedTTL": "30s",
        # Whether it is night must be asked every time.
        "cacheAuthorizedRequests": False,
        "cacheUnauthorizedRequests": False,
        "connectionInfo": {"type": "KubeConfigFile", "kubeConfigFile": "{folder}/authorizer.kubeconfig"},
        "matchConditions": [
            {"expression": "has(request.resourceAttributes)"},
            {"expression": "!request.user.startsWith('system:')"},
        ],
    }
    return {
        "apiVersion": "apiserver.config.k8s.io/v1",
        "kind": "AuthorizationConfiguration",
        "authorizers": [
            {"type": "Webhook", "name": "workbook", "webhook": webhook},
            {"type": "Node", "name": "node"},
            {"type": "RBAC", "name": "rbac"},
        ],
    }


def _only(serving: Serving, kind: str) -> Webhook | None:
    found = [webhook for webhook in serving.webhooks if webhook.kind == kind]
    if len(found) > 1:
        raise ValueError(f"an API server's flags name one {kind}, here are {', '.join(w.name for w in found)}")
    return found[0] if found else None
