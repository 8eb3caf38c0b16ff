"""Which requests the proxy changes, and how."""

from __future__ import annotations

import pytest

from k8sext.admission.initializers.proxy import includes_uninitialized, is_collection, visible, without_include

HIDE = "labelSelector=%21initializers.k8s.packt.com%2Funinitialized"


@pytest.mark.parametrize(
    "path",
    [
        "/api/v1/pods",
        "/api/v1/namespaces",
        "/api/v1/namespaces/lesson/pods",
        "/apis/apps/v1/deployments",
        "/apis/apps/v1/namespaces/lesson/deployments",
        "/api/v1/watch/pods",
        "/api/v1/watch/namespaces/lesson/pods",
    ],
)
def test_these_are_collections(path: str):
    assert is_collection(path)


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/version",
        "/api",
        "/api/v1",
        "/apis/apps/v1",
        "/openapi/v3/apis/apps/v1",
        "/api/v1/namespaces/lesson",
        "/api/v1/namespaces/lesson/status",
        "/api/v1/namespaces/lesson/finalize",
        "/api/v1/namespaces/lesson/pods/web",
        "/api/v1/namespaces/lesson/pods/web/log",
        "/api/v1/nodes/worker",
        "/api/v1/nodes/worker/proxy",
        "/apis/apps/v1/namespaces/lesson/deployments/web/scale",
    ],
)
def test_these_are_not(path: str):
    assert not is_collection(path)


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", HIDE),
        ("watch=1&limit=5", f"watch=1&limit=5&{HIDE}"),
        ("labelSelector=app%3Dweb&limit=5", "limit=5&labelSelector=app%3Dweb%2C" + HIDE.partition("=")[2]),
        ("labelSelector=", HIDE),
        ("includeUninitialized=true&watch=1", "watch=1"),
        ("includeUninitialized=false", HIDE),
    ],
)
def test_a_list_leaves_out_what_is_not_initialized_unless_asked(query: str, expected: str):
    assert visible(query) == expected


def test_other_requests_lose_only_the_parameter_that_nobody_knows_any_more():
    assert includes_uninitialized("includeUninitialized=1")
    assert without_include("includeUninitialized=true&fieldManager=a%2Fb") == "fieldManager=a%2Fb"
