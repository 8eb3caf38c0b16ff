"""Reviews as the API server sends them, for tests."""

from __future__ import annotations

from typing import Any

from k8sext.kube.objects import Json


def admission(
    operation: str = "CREATE", object: Json | None = None, old: Json | None = None, uid: str = "u-1", **more: Any
) -> Json:
    """An AdmissionReview about a weather report."""
    request = {
        "uid": uid,
        "kind": {"group": "k8s.packt.com", "version": "v1", "kind": "WeatherReport"},
        "resource": {"group": "k8s.packt.com", "version": "v1", "resource": "weatherreports"},
        "name": "daily",
        "namespace": "lesson",
        "operation": operation,
        "userInfo": {"username": "anna", "groups": ["class"]},
        "object": object,
        "oldObject": old,
        "dryRun": False,
        **more,
    }
    return {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": request}


def report(city: str = "Paris", days: int = 1, **metadata: Any) -> Json:
    """A WeatherReport."""
    return {
        "apiVersion": "k8s.packt.com/v1",
        "kind": "WeatherReport",
        "metadata": {"name": "daily", "namespace": "lesson", **metadata},
        "spec": {"city": city, "days": days},
    }


def images(*names: str, **spec: Any) -> Json:
    """An ImageReview."""
    containers = [{"image": name} for name in names]
    return {
        "apiVersion": "imagepolicy.k8s.io/v1alpha1",
        "kind": "ImageReview",
        "spec": {"containers": containers, "namespace": "lesson", **spec},
    }


def token(text: str) -> Json:
    """A TokenReview."""
    return {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": {"token": text}}


def access(verb: str = "create", namespace: str = "library", resource: str = "pods", **spec: Any) -> Json:
    """A SubjectAccessReview."""
    asked = {"verb": verb, "namespace": namespace, "resource": resource}
    return {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SubjectAccessReview",
        "spec": {"user": "anna", "groups": ["class"], "resourceAttributes": asked, **spec},
    }
