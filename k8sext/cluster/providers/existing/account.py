"""The account under which the notebooks work in somebody's cluster, and the policies by which all that it makes is
marked.

The workbook does here what it teaches: a service account, a role for it, and two MutatingAdmissionPolicies
(https://kubernetes.io/docs/reference/access-authn-authz/mutating-admission-policy/). One labels what the account makes.
The other puts $K8SEXT_IMAGE in the place of the workbook's image, whoever makes the pod.
"""

from __future__ import annotations

import base64
import os
import time
from typing import Any

from k8sext import __version__, files
from k8sext.cluster.errors import ClusterError
from k8sext.cluster.paths import Layout
from k8sext.cluster.providers.existing.inventory import HOME
from k8sext.cluster.providers.existing.target import OWNER, Target

ACCOUNT = "learner"
BINDING = f"k8sext-{ACCOUNT}"
USER = f"system:serviceaccount:{HOME}:{ACCOUNT}"
IMAGE = f"localhost/k8sext:{__version__}"
POLICIES = ("owner.k8sext.dev", "image.k8sext.dev")
GROUPS = (
    *("", "apps", "autoscaling", "batch", "policy", "admissionregistration.k8s.io", "apiextensions.k8s.io"),
    *("apiregistration.k8s.io", "certificates.k8s.io", "coordination.k8s.io", "discovery.k8s.io"),
    *("flowcontrol.apiserver.k8s.io", "networking.k8s.io", "node.k8s.io", "rbac.authorization.k8s.io"),
    *("resource.k8s.io", "scheduling.k8s.io", "storage.k8s.io"),
)
"""Kubernetes' own groups. A policy that meets a kind which was added a moment ago refuses it, whatever its
failurePolicy says, until the API server has read that kind's description, once a minute; and objects of our kinds go
with their kinds anyway."""
EFFECT_LIMIT = 60.0


def home(owner: str) -> dict[str, Any]:
    """The namespace for the account and the lock."""
    return _object("v1", "Namespace", HOME, owner)


def objects(owner: str, image: str | None) -> list[dict[str, Any]]:
    """All that gives the account its rights and its label; image stands in for the workbook's, if given."""
    rbac = "rbac.authorization.k8s.io"
    binding = _object(f"{rbac}/v1", "ClusterRoleBinding", BINDING, owner)
    binding["roleRef"] = {"apiGroup": rbac, "kind": "ClusterRole", "name": "cluster-admin"}
    binding["subjects"] = [{"kind": "ServiceAccount", "name": ACCOUNT, "namespace": HOME}]
    account = _object("v1", "ServiceAccount", ACCOUNT, owner, namespace=HOME)
    token = _object("v1", "Secret", ACCOUNT, owner, namespace=HOME)
    token["type"] = "kubernetes.io/service-account-token"
    token["metadata"]["annotations"] = {"kubernetes.io/service-account.name": ACCOUNT}
    policies = _policy(POLICIES[0], owner, _label(owner)) + (_policy(POLICIES[1], owner, _swap(image)) if image else [])
    return [account, binding, token, *policies]


def _object(version: str, kind: str, name: str, owner: str, namespace: str | None = None) -> dict[str, Any]:
    metadata: dict[str, Any] = {"name": name, "labels": {OWNER: owner}}
    if namespace:
        metadata["namespace"] = namespace
    return {"apiVersion": version, "kind": kind, "metadata": metadata}


def _policy(name: str, owner: str, spec: dict[str, Any]) -> list[dict[str, Any]]:
    """A policy and the binding that switches it on. Neither ever stops a request: what they cannot do is left
    undone."""
    version = "admissionregistration.k8s.io/v1"
    policy = _object(version, "MutatingAdmissionPolicy", name, owner)
    policy["spec"] = {"failurePolicy": "Ignore", "reinvocationPolicy": "IfNeeded", **spec}
    binding = _object(version, "MutatingAdmissionPolicyBinding", name, owner)
    return [policy, {**binding, "spec": {"policyName": name}}]


def _rule(groups: list[str], resources: list[str]) -> list[dict[str, Any]]:
    return [{"apiGroups": groups, "apiVersions": ["*"], "resources": resources, "operations": ["CREATE"]}]


def _label(owner: str) -> dict[str, Any]:
    """Put the label on all that the account makes."""
    expression = (
        "has(object.metadata.labels)"
        f' ? [JSONPatch{{op: "add", path: "/metadata/labels/" + jsonpatch.escapeKey("{OWNER}"), value: "{owner}"}}]'
        f' : [JSONPatch{{op: "add", path: "/metadata/labels", value: {{"{OWNER}": "{owner}"}}}}]'
    )
    return {
        "matchConstraints": {"resourceRules": _rule(list(GROUPS), ["*"])},
        "matchConditions": [{"name": "by-the-workbook", "expression": f"request.userInfo.username == '{USER}'"}],
        "mutations": [{"patchType": "JSONPatch", "jsonPatch": {"expression": expression}}],
    }


def _swap(image: str) -> dict[str, Any]:
    """Let the containers that name the workbook's image run another one, which the nodes can pull."""

    def mutation(field: str) -> dict[str, Any]:
        ours = f'object.spec.?{field}.orValue([]).filter(c, c.?image.orValue("") == "{IMAGE}")'
        changed = f'{ours}.map(c, Object.spec.{field}{{name: c.name, image: "{image}"}})'
        expression = f"Object{{spec: Object.spec{{{field}: {changed}}}}}"
        return {"patchType": "ApplyConfiguration", "applyConfiguration": {"expression": expression}}

    return {
        "matchConstraints": {"resourceRules": _rule([""], ["pods"])},
        "mutations": [mutation("containers"), mutation("initContainers")],
    }


def set_up(target: Target, layout: Layout, owner: str) -> Target:
    """Make the account and write its kubeconfig; returns once its work is labelled. Raises ClusterError."""
    target.run("apply", "--filename=-", input=objects(owner, os.environ.get("K8SEXT_IMAGE")))
    where = "--namespace=" + HOME
    target.run("wait", "--for=jsonpath={.data.token}", f"secret/{ACCOUNT}", where, "--timeout=60s", wait="0")
    token = base64.b64decode(target.json("secret", ACCOUNT, where)["data"]["token"]).decode()
    files.replace(layout.kubeconfig, _kubeconfig(layout.name, target.entry(), token), mode=0o600)
    mine = Target(target.kubectl, str(layout.kubeconfig), layout.name, layout.kubectl_cache)
    _wait_for_the_label(mine)
    return mine


def _kubeconfig(name: str, cluster: dict[str, Any], token: str) -> str:
    from k8sext.kube.manifest import to_yaml

    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": name, "cluster": cluster}],
        "users": [{"name": name, "user": {"token": token}}],
        "contexts": [{"name": name, "context": {"cluster": name, "user": name}}],
        "current-context": name,
    }
    return to_yaml(content)


def _wait_for_the_label(mine: Target) -> None:
    """A policy, like a token, works a moment after it was made, when the API server has heard of it."""
    trial = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "trial", "namespace": HOME}}
    deadline, last = time.monotonic() + EFFECT_LIMIT, ""
    while OWNER not in last:
        if time.monotonic() > deadline:
            raise ClusterError(
                f"What the workbook's account makes did not get its label within {EFFECT_LIMIT:.0f} s "
                f"({last.strip()[:200] or 'no answer'})."
            )
        try:
            last = mine.run(
                "create", "--dry-run=server", "--output=jsonpath={.metadata.labels}", "--filename=-", input=trial
            )
        except ClusterError as error:
            last = str(error).replace(OWNER, "the label")
        time.sleep(0.2)
