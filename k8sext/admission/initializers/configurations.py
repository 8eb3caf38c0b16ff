"""The API server's side of configurations and types: which InitializerConfigurations there are, where a type's objects stand."""

from __future__ import annotations

from typing import TYPE_CHECKING

from k8sext.admission.initializers.model import GROUP, Resource
from k8sext.admission.review import Denied, Json
from k8sext.kube.request import ApiError, Unreachable, request

if TYPE_CHECKING:
    from kubernetes.aio.client import ApiClient

PATH = f"/apis/{GROUP}/v1alpha1/initializerconfigurations"
SWITCHED_OFF = (403, 404)


async def configurations(client: ApiClient) -> list[Json]:
    """All configurations there are, as the API server's cache has them: some milliseconds old, where 1.9 looked once a second.

    (A read without resourceVersion=0 would be exact, and wait up to 0.1 s for the proof of it, at every creation.)
    Without the type, or without the right to read it, initializers are switched off: none. Raises Denied when they cannot
    be read, so that nothing is created which should have been initialized.
    """
    try:
        return (await request(client, "GET", PATH, query={"resourceVersion": "0"}, timeout=3))["items"] or []
    except ApiError as error:
        if error.code in SWITCHED_OFF:
            return []
        reason = str(error)
    except Unreachable as error:
        reason = str(error)
    message = f"Unable to refresh the initializer configuration: {reason}"
    raise Denied(message, code=500, reason="LoadingConfiguration")


async def locate(client: ApiClient, resource: str) -> Resource:
    """The resource that kubectl calls so ("pods", "deployments.apps"), in the version the server prefers. Raises ApiError."""
    plural, _, group = resource.partition(".")
    if not group:
        return Resource("", "v1", plural)
    found = await request(client, "GET", f"/apis/{group}")
    return Resource(group, found["preferredVersion"]["version"], plural)


def collection(resource: Resource, namespace: str = "") -> str:
    """The path of all objects of a resource, or of those in one namespace."""
    root = f"/apis/{resource.group}/{resource.version}" if resource.group else f"/api/{resource.version}"
    return f"{root}/namespaces/{namespace}/{resource.plural}" if namespace else f"{root}/{resource.plural}"
