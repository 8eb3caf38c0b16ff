"""Objects and configurations, as short as tests want to write them."""

from __future__ import annotations

from typing import Any

from k8sext.admission.initializers.model import Initializers, write
from k8sext.kube.objects import Json

FAILURE = {"status": "Failure", "message": "no", "code": 403, "reason": "Forbidden"}


def pod(*pending: str, result: Json | None = None, **metadata: Any) -> Json:
    """A pod, with these initializers if any are named."""
    found = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "web", **metadata}, "spec": {"containers": []}}
    if pending or result:
        write(found, Initializers(pending, result))
    return found


def of(kind: str, **spec: Any) -> Json:
    """An object of a kind with a specification."""
    return {"kind": kind, "metadata": {"name": "web"}, "spec": spec}


def configuration(name: str, *initializers: tuple[str, list[Json]]) -> Json:
    """An InitializerConfiguration; each initializer with its rules."""
    entries = [{"name": initializer, "rules": rules} for initializer, rules in initializers]
    return {
        "apiVersion": "initializers.k8s.packt.com/v1alpha1",
        "kind": "InitializerConfiguration",
        "metadata": {"name": name},
        "initializers": entries,
    }


def rule(resources: list[str], groups: list[str] | None = None, versions: list[str] | None = None) -> Json:
    """A rule for resources, of the core group unless another is named."""
    return {"apiGroups": groups or [""], "apiVersions": versions or ["v1"], "resources": resources}
