"""What pods refer to: ConfigMaps, Secrets, service account tokens, RuntimeClasses, Services.

The node authorizer lets a kubelet read only what pods on its node name, and learns of a new pod a moment after the
kubelet may have; so a refusal is tried again a few times before it counts.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from k8sext.kube.objects import Json, key_of
from k8sext.kube.request import ApiError, Query, request
from k8sext.kube.resource import SERVICE_ACCOUNTS, Resource
from k8sext.kube.watch import Changed, Listed, list_and_watch

if TYPE_CHECKING:
    from kubernetes.aio.client import ApiClient

RUNTIME_CLASSES = Resource("node.k8s.io", "v1", "runtimeclasses", namespaced=False)
SERVICES = Resource("", "v1", "services")
FRESH_SECONDS = 1.0
"""Fifty pods that start at once share one read of a ConfigMap; a later start sees the newest."""
REFUSALS = 8


@dataclass(frozen=True)
class Token:
    """A service account token and when to fetch the next one."""

    text: str
    renew_at: float


class References:
    """What the pods of one node refer to, as this node may read it."""

    def __init__(self, client: ApiClient) -> None:
        self._client = client
        self._reads: dict[tuple[str, str, str], tuple[float, asyncio.Task[Json | None]]] = {}
        self._tokens: dict[tuple[str, ...], Token] = {}
        self._services: dict[str, Json] = {}
        self._services_known = asyncio.Event()

    async def get(self, kind: str, namespace: str, name: str) -> Json | None:
        """A ConfigMap or Secret (`kind` is "configmaps" or "secrets"), None if there is none."""
        now = time.monotonic()
        key = (kind, namespace, name)
        self._reads = {known: read for known, read in self._reads.items() if now - read[0] < FRESH_SECONDS}
        if key not in self._reads:
            path = Resource("", "v1", kind).path(name, namespace)
            self._reads[key] = (now, asyncio.create_task(self.read(path)))
        return await asyncio.shield(self._reads[key][1])

    async def token(self, pod: Json, audience: str, seconds: int) -> Token:
        """A token of the pod's service account, bound to the pod, by TokenRequest; a new one when 80 % of its time
        is over."""
        metadata = pod["metadata"]
        key = (metadata["uid"], audience, str(seconds))
        known = self._tokens.get(key)
        if known is None or time.time() >= known.renew_at:
            account = pod["spec"].get("serviceAccountName") or "default"
            bound = {"apiVersion": "v1", "kind": "Pod", "name": metadata["name"], "uid": metadata["uid"]}
            spec = {"audiences": [audience] if audience else [], "expirationSeconds": seconds, "boundObjectRef": bound}
            path = SERVICE_ACCOUNTS.path(account, metadata["namespace"], "token")
            body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec}
            answer = await self._patiently("POST", path, body)
            expires = datetime.fromisoformat(answer["status"]["expirationTimestamp"]).timestamp()
            lifetime = min(expires - time.time(), 24 * 3600)
            known = self._tokens[key] = Token(answer["status"]["token"], time.time() + 0.8 * lifetime)
        return known

    def forget(self, pod_uid: str) -> None:
        """The pod is gone and its tokens with it."""
        self._tokens = {key: token for key, token in self._tokens.items() if key[0] != pod_uid}

    async def runtime_handler(self, pod: Json) -> str:
        """The handler that the pod's RuntimeClass names, "" for the runtime's default. Raises ApiError if the class
        is missing."""
        name = pod["spec"].get("runtimeClassName")
        if not name:
            return ""
        return (await self._patiently("GET", RUNTIME_CLASSES.path(name)))["handler"]

    async def services(self) -> list[Json]:
        """All Services, as the watch knows them."""
        await self._services_known.wait()
        return list(self._services.values())

    async def watch_services(self) -> None:
        """Keep the Services up to date; runs until cancelled."""
        async for event in list_and_watch(self._client, SERVICES.collection()):
            match event:
                case Listed(items):
                    self._services = {key_of(item): item for item in items}
                    self._services_known.set()
                case Changed("DELETED", item):
                    self._services.pop(key_of(item), None)
                case Changed(_, item):
                    self._services[key_of(item)] = item

    async def read(self, path: str, query: Query | None = None) -> Json | None:
        """Whatever stands at a path now, None if nothing does. Raises ApiError, Unreachable."""
        try:
            return await self._patiently("GET", path, query=query)
        except ApiError as error:
            if error.code == 404:
                return None
            raise

    async def create(self, path: str, body: Json) -> Json:
        """Make an object for a pod. Raises ApiError, Unreachable."""
        return await self._patiently("POST", path, body)

    async def _patiently(self, method: str, path: str, body: Json | None = None, query: Query | None = None) -> Json:
        for attempt in range(REFUSALS):
            try:
                return await request(self._client, method, path, body, query=query)
            except ApiError as error:
                if error.code != 403 or attempt == REFUSALS - 1:
                    raise
                await asyncio.sleep(0.02 * 2**attempt)
        raise AssertionError("unreachable")
