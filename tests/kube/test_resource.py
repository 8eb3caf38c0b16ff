"""Paths in the API: every part is checked and quoted, and what a server has is discovered in one way."""

from __future__ import annotations

import pytest
from aiohttp import web
from kubernetes.aio.client import ApiClient

from k8sext.kube.request import ApiError, request
from k8sext.kube.resource import DEPLOYMENTS, NODES, PODS, Resource, discover
from tests.kube.conftest import Script, status


def test_paths_are_those_of_the_api() -> None:
    assert PODS.collection() == "/api/v1/pods"
    assert PODS.path("web", "shop", "log") == "/api/v1/namespaces/shop/pods/web/log"
    assert NODES.path("worker", subresource="proxy/metrics") == "/api/v1/nodes/worker/proxy/metrics"
    assert DEPLOYMENTS.collection("shop") == "/apis/apps/v1/namespaces/shop/deployments"
    assert (str(PODS), str(DEPLOYMENTS), DEPLOYMENTS.api_version) == ("pods", "deployments.apps", "apps/v1")


def test_a_name_is_quoted_and_stays_one_name() -> None:
    roles = Resource("rbac.authorization.k8s.io", "v1", "clusterroles", namespaced=False)
    assert roles.path("odd?x").endswith("/clusterroles/odd%3Fx")
    assert roles.path("odd#1").endswith("/clusterroles/odd%231")
    assert roles.path("system:node").endswith("/clusterroles/system:node")


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "a%2Fb"])
def test_a_name_that_would_reach_something_else_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=r"^the name may not be empty$|cannot be a name"):
        PODS.path(name, "shop")
    with pytest.raises(ValueError, match=r"needs a namespace|cannot be a namespace"):
        PODS.path("web", name)


@pytest.mark.parametrize("subresource", ["..", "proxy/..", "proxy/", "/status", "a%2Fb"])
def test_a_subresource_is_checked_part_by_part(subresource: str) -> None:
    with pytest.raises(ValueError, match="subresource"):
        PODS.path("web", "shop", subresource)


def test_an_object_of_the_cluster_has_no_namespace() -> None:
    with pytest.raises(ValueError, match="nodes belong to no namespace"):
        NODES.path("worker", "shop")


async def test_a_quoted_name_arrives_as_it_was_meant(script: Script, client: ApiClient) -> None:
    seen = []

    async def echo(received: web.Request) -> web.StreamResponse:
        seen.append((received.raw_path, received.path))
        return web.json_response({})

    script.steps = [echo]
    await request(client, "GET", PODS.path("odd?x #é", "shop"))
    assert seen == [
        ("/api/v1/namespaces/shop/pods/odd%3Fx%20%23%C3%A9", "/api/v1/namespaces/shop/pods/odd?x #é"),
    ]


async def test_the_version_that_the_server_prefers_is_discovered(script: Script, client: ApiClient) -> None:
    def answer(content: object):
        async def step(_: web.Request) -> web.StreamResponse:
            return web.json_response(content)

        return step

    group = answer({"preferredVersion": {"groupVersion": "apps/v1", "version": "v1"}})
    listed = answer({"resources": [{"name": "deployments", "namespaced": True}]})
    script.steps = [group, listed, group, listed, status(404, "NotFound")]
    assert await discover(client, "deployments.apps") == DEPLOYMENTS
    assert [request.path for request in script.requests] == ["/apis/apps", "/apis/apps/v1"]
    for missing in ("gadgets.apps", "gadgets.nowhere"):
        with pytest.raises(ApiError) as raised:
            await discover(client, missing)
        assert raised.value.code == 404
