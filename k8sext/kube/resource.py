"""Where objects stand in the API: the only place that puts a URL's path together.

A path made from unchecked text is dangerous. With an empty name, "delete this object" becomes "delete the collection";
a name such as "odd?x" or "../other" reaches another object than the one it says. So each part of a path is checked and
quoted here.

    /api/v1                 /namespaces/shop    /pods           /web    /log
    /apis/apps/v1           /namespaces/shop    /deployments    /web    /status
    group and version       namespace           plural          name    subresource

Source: https://kubernetes.io/docs/reference/using-api/api-concepts/#resource-uris
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import quote

if TYPE_CHECKING:
    from kubernetes.aio.client import ApiClient


@dataclass(frozen=True)
class Resource:
    """A type of object, as URLs name it. The core group's name is empty."""

    group: str
    version: str
    plural: str
    namespaced: bool = True

    def __str__(self) -> str:
        """As kubectl writes it: "pods", "deployments.apps"."""
        return f"{self.plural}.{self.group}" if self.group else self.plural

    @property
    def api_version(self) -> str:
        """Group and version, as objects name them: "v1", "apps/v1"."""
        return f"{self.group}/{self.version}" if self.group else self.version

    def collection(self, namespace: str = "") -> str:
        """Return the path of all objects in a namespace, or, without one, of all that there are.

        Raises ValueError for a namespace that cannot be one.
        """
        if namespace and not self.namespaced:
            raise ValueError(f"{self} belong to no namespace")
        inside = f"/namespaces/{_segment(namespace, 'namespace')}" if namespace else ""
        return f"{group_path(self.group, self.version)}{inside}/{_segment(self.plural, 'resource')}"

    def path(self, name: str, namespace: str = "", subresource: str = "") -> str:
        """Return the path of one object, or of a part of it ("status", "proxy/metrics").

        Raises ValueError for a name that cannot be one, and when a namespace is missing.
        """
        if self.namespaced and not namespace:
            raise ValueError(f"{self} {name!r} needs a namespace")
        parts = [
            _segment(name, "name"),
            *(_segment(part, "subresource") for part in subresource.split("/") if subresource),
        ]
        return "/".join([self.collection(namespace), *parts])


def group_path(group: str, version: str = "") -> str:
    """Return the path of a version of a group, or of the group. Raises ValueError for a name that cannot be one."""
    parts = ["/apis", _segment(group, "group")] if group else ["/api"]
    return "/".join([*parts, *([_segment(version, "version")] if version else [])])


def split(path: str) -> tuple[str, str, list[str]] | None:
    """Return group, version and what stands behind them in a path; None for one that names no version of a group."""
    match path.strip("/").split("/"):
        case ["api", version, *rest]:
            return "", version, rest
        case ["apis", group, version, *rest]:
            return group, version, rest
        case _:
            return None


def _segment(text: str, what: str) -> str:
    """Return one part of a path, quoted. The server decodes a path before it splits it, so "/" cannot be quoted.

    Source of the rule: IsValidPathSegmentName in k8s.io/apimachinery/pkg/api/validation/path.
    """
    if not text:
        raise ValueError(f"the {what} may not be empty")
    if text in (".", "..") or "/" in text or "%" in text:
        raise ValueError(f"{text!r} cannot be a {what}: it may not be '.' or '..', nor have '/' or '%' in it")
    return quote(text, safe=":")


async def discover(client: ApiClient, name: str, *, timeout: float = 30) -> Resource:
    """Return the resource that kubectl calls so ("pods", "deployments.apps"), in the version that the server prefers.

    Raises ApiError (code 404 when the server has no such resource), Unreachable, and ValueError.
    """
    from k8sext.kube.request import ApiError, request  # here: who only wants paths does without an HTTP client

    plural, _, group = name.partition(".")
    version = "v1"
    if group:
        version = (await request(client, "GET", group_path(group), timeout=timeout))["preferredVersion"]["version"]
    listed = await request(client, "GET", group_path(group, version), timeout=timeout)
    found = next((entry for entry in listed["resources"] if entry["name"] == plural), None)
    if found is None:
        raise ApiError(404, "NotFound", f"the server has no resource {name}")
    return Resource(group, version, plural, found["namespaced"])


CONFIG_MAPS = Resource("", "v1", "configmaps")
EVENTS = Resource("", "v1", "events")
NAMESPACES = Resource("", "v1", "namespaces", namespaced=False)
NODES = Resource("", "v1", "nodes", namespaced=False)
PERSISTENT_VOLUMES = Resource("", "v1", "persistentvolumes", namespaced=False)
PERSISTENT_VOLUME_CLAIMS = Resource("", "v1", "persistentvolumeclaims")
PODS = Resource("", "v1", "pods")
SECRETS = Resource("", "v1", "secrets")
SERVICE_ACCOUNTS = Resource("", "v1", "serviceaccounts")
DEPLOYMENTS = Resource("apps", "v1", "deployments")
LEASES = Resource("coordination.k8s.io", "v1", "leases")
