"""Webhooks in the cluster, as manifests: a Deployment of two replicas behind a Service, with the least rights that do.

The pods make their own certificate and keep it in a Secret; see k8sext.admission.in_cluster. So they may read and write
that one Secret and the caBundle of their own configurations, and nothing else.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from k8sext import __version__
from k8sext.admission.functions import AdmissionWebhook, check_names
from k8sext.admission.registration import GROUP, RESOURCES, configuration
from k8sext.kube.objects import Json

IMAGE = f"localhost/k8sext:{__version__}"
PORT = 8443
CODE_DIR = "/webhooks"


def secret_name(service: str) -> str:
    """The Secret that holds the certificate of the webhooks behind this Service."""
    return f"{service}-certificate"


def manifests(
    target: str, webhooks: Sequence[AdmissionWebhook], name: str, namespace: str, image: str = IMAGE, replicas: int = 2
) -> list[Json]:
    """All objects that run these webhooks as the Service `name`, in the order in which they are applied.

    target is a module of the image, or a Python file, which then travels in a ConfigMap. The configurations come last,
    so that nothing waits for webhooks that are not there yet.
    """
    check_names(webhooks)
    meta = {"name": name, "namespace": namespace, "labels": {"app.kubernetes.io/name": name}}
    code, volumes, mounts = [], [], []
    if target.endswith(".py"):
        file = Path(target)
        code = [{"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": {file.name: file.read_text()}}]
        volumes = [{"name": "code", "configMap": {"name": name}}]
        mounts = [{"name": "code", "mountPath": CODE_DIR, "readOnly": True}]
        target = f"{CODE_DIR}/{file.name}"
    return [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}},
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": meta},
        *_rights(webhooks, meta),
        # Empty: the first replica fills it. To create Secrets is a right that cannot be given for one name.
        {"apiVersion": "v1", "kind": "Secret", "metadata": meta | {"name": secret_name(name)}, "type": "Opaque"},
        *code,
        _deployment(target, meta, image, replicas, volumes, mounts),
        _service(meta),
        *[_configuration(webhook, meta) for webhook in webhooks],
    ]


def _rights(webhooks: Sequence[AdmissionWebhook], meta: Json) -> list[Json]:
    rbac = "rbac.authorization.k8s.io"
    name, namespace = meta["name"], meta["namespace"]
    cluster_wide = {"name": f"{namespace}:{name}", "labels": meta["labels"]}
    secret = _rule("", "secrets", secret_name(name), "get", "update")
    own = [_rule(GROUP, RESOURCES[webhook.kind].plural, webhook.full_name, "get", "patch") for webhook in webhooks]
    subjects = [{"kind": "ServiceAccount", "name": name, "namespace": namespace}]

    def of(kind: str, metadata: Json, **rest: Any) -> Json:
        return {"apiVersion": f"{rbac}/v1", "kind": kind, "metadata": metadata, **rest}

    def role(kind: str, role_name: str) -> Json:
        return {"apiGroup": rbac, "kind": kind, "name": role_name}

    return [
        of("Role", meta, rules=[secret]),
        of("RoleBinding", meta, roleRef=role("Role", name), subjects=subjects),
        of("ClusterRole", cluster_wide, rules=own),
        of("ClusterRoleBinding", cluster_wide, roleRef=role("ClusterRole", cluster_wide["name"]), subjects=subjects),
    ]


def _rule(group: str, resource: str, name: str, *verbs: str) -> Json:
    return {"apiGroups": [group], "resources": [resource], "resourceNames": [name], "verbs": list(verbs)}


def _deployment(target: str, meta: Json, image: str, replicas: int, volumes: list[Json], mounts: list[Json]) -> Json:
    labels = meta["labels"]
    container: Json = {
        "name": "webhooks",
        "image": image,
        "command": ["python", "-m", "k8sext.admission", "run", target, f"--service={meta['name']}", f"--port={PORT}"],
        "ports": [{"name": "https", "containerPort": PORT}],
        "readinessProbe": _probe("/readyz", 1),
        "livenessProbe": _probe("/healthz", 10),
        "resources": {"requests": {"cpu": "100m", "memory": "96Mi"}},
    }
    pod: Json = {"serviceAccountName": meta["name"], "containers": [container]}
    if volumes:
        container["volumeMounts"], pod["volumes"] = mounts, volumes
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": meta,
        "spec": {
            "replicas": replicas,
            # A rollout adds a pod before it takes one away: there is always somebody to answer.
            "strategy": {"rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}},
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": pod},
        },
    }


def _probe(path: str, period: int) -> Json:
    return {"httpGet": {"scheme": "HTTPS", "port": "https", "path": path}, "periodSeconds": period}


def _service(meta: Json) -> Json:
    ports = [{"name": "https", "port": 443, "targetPort": "https"}]
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": meta,
        "spec": {"selector": meta["labels"], "ports": ports},
    }


def _configuration(webhook: AdmissionWebhook, meta: Json) -> Json:
    """Without a caBundle, which the pods fill in; and never asked about the namespace the webhook itself runs in."""
    service = {"name": meta["name"], "namespace": meta["namespace"], "path": webhook.path, "port": 443}
    found = configuration(webhook, {"service": service}, exempt=[meta["namespace"]])
    found["metadata"]["labels"] = meta["labels"]
    return found
