"""A private API server without controllers, on which nodes are what tests write and pods run nowhere."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest
from kubernetes.aio.client import ApiClient

from k8sext.cluster import PrivateApiServer, private_api_server
from k8sext.kube.connect import from_kubeconfig
from k8sext.kube.objects import Json
from k8sext.kube.request import request
from tests.support.eventually import eventually_async

# nothing marks nodes as not ready, and pods need no service account
FLAGS = ("--disable-admission-plugins=ServiceAccount,TaintNodesByCondition",)
NOW = {"gracePeriodSeconds": 0}


@pytest.fixture(scope="session")
def server(programs: object) -> Iterator[PrivateApiServer]:
    with private_api_server(FLAGS) as found:
        yield found


class Api:
    """Short words for the requests that tests make."""

    def __init__(self, client: ApiClient) -> None:
        self.client = client

    async def create(self, *items: Json) -> None:
        """Create nodes and pods."""
        await asyncio.gather(*map(self._create, items))

    async def _create(self, item: Json) -> None:
        path = "/api/v1/nodes"
        if item["kind"] == "Pod":
            path = f"/api/v1/namespaces/{item['metadata']['namespace']}/pods"
        kept = {key: value for key, value in item["metadata"].items() if key not in ("uid", "resourceVersion")}
        await request(self.client, "POST", path, item | {"metadata": kept})

    async def pod(self, name: str) -> Json:
        return await request(self.client, "GET", f"/api/v1/namespaces/default/pods/{name}")

    async def pods(self) -> list[Json]:
        return (await request(self.client, "GET", "/api/v1/namespaces/default/pods"))["items"]

    async def events(self, reason: str) -> list[str]:
        """The messages of the events with this reason."""
        query = {"fieldSelector": f"reason={reason}"}
        found = await request(self.client, "GET", "/api/v1/namespaces/default/events", query=query)
        return [item["message"] for item in found["items"]]

    async def delete(self, name: str, kind: str = "pods") -> None:
        prefix = "/api/v1/nodes" if kind == "nodes" else "/api/v1/namespaces/default/pods"
        await request(self.client, "DELETE", f"{prefix}/{name}", NOW)

    async def patch(self, path: str, body: Json) -> None:
        await request(self.client, "PATCH", f"/api/v1/{path}", body, content_type="application/merge-patch+json")

    async def clear(self) -> None:
        for kind in ("namespaces/default/pods", "namespaces/default/events", "nodes"):
            await request(self.client, "DELETE", f"/api/v1/{kind}", NOW)

    async def bound(self, *names: str) -> dict[str, str]:
        """Wait until these pods are bound; return the nodes by pod."""

        async def look() -> dict[str, str]:
            places = {item["metadata"]["name"]: item["spec"].get("nodeName", "") for item in await self.pods()}
            assert all(places.get(name) for name in names), places
            return {name: places[name] for name in names}

        return await eventually_async(look)

    async def pending(self, name: str) -> str:
        """Wait until a pod is said to be unschedulable; return the message."""

        async def look() -> str:
            conditions = (await self.pod(name))["status"].get("conditions") or ()
            return next(
                (condition["message"] for condition in conditions if condition.get("reason") == "Unschedulable"), ""
            )

        return await eventually_async(look)


@pytest.fixture
async def api(server: PrivateApiServer) -> AsyncIterator[Api]:
    client = await from_kubeconfig(server.kubeconfig)
    found = Api(client)
    await found.clear()
    yield found
    await found.clear()
    await client.close()
