"""The environment of a container."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from k8sext.infra.kubelet.pod.env import ConfigError, Environment, Surroundings, container_env, expand
from k8sext.infra.kubelet.pod.references import References
from k8sext.infra.kubelet.pod.service_env import service_env
from k8sext.kube.objects import Json
from tests.infra.kubelet.building import container, pod

WHERE = Surroundings("10.244.1.7", "10.244.1.1", {"cpu": "4", "memory": "8Gi"})
SERVICES = {"DB_SERVICE_HOST": "10.0.0.5"}
OBJECTS: dict[tuple[str, str], Json] = {
    ("configmaps", "settings"): {"kind": "ConfigMap", "data": {"color": "blue", "size": "9"}},
    ("secrets", "login"): {"kind": "Secret", "data": {"password": base64.b64encode(b"hunter2").decode()}},
}


async def get(kind: str, namespace: str, name: str) -> Json | None:
    assert namespace == "shop"
    return OBJECTS.get((kind, name))


async def env_of(*variables: Json, of: Json | None = None, **spec: Any) -> dict[str, str]:
    main = container("main", env=list(variables), **spec)
    return await container_env(of or pod(main), main, WHERE, SERVICES, get)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("$(A)", "1"),
        ("x$(A)y$(B)z", "x1y2z"),
        ("$(NONE)", "$(NONE)"),
        ("$$(A)", "$(A)"),
        ("$$$(A)", "$1"),
        ("$A $ $(A", "$A $ $(A"),
        ("$()", "$()"),
    ],
)
def test_references_are_filled_in_as_kubernetes_does(text: str, expected: str) -> None:
    assert expand(text, {"A": "1", "B": "2"}) == expected


async def test_a_variable_sees_services_and_those_before_it() -> None:
    env = await env_of(
        {"name": "LATER", "value": "$(URL)"},
        {"name": "URL", "value": "http://$(DB_SERVICE_HOST)"},
        {"name": "ALSO", "value": "$(URL)/x"},
    )
    assert (env["LATER"], env["ALSO"]) == ("$(URL)", "http://10.0.0.5/x")


async def test_values_come_from_config_maps_and_secrets() -> None:
    env = await env_of(
        {"name": "COLOR", "valueFrom": {"configMapKeyRef": {"name": "settings", "key": "color"}}},
        {"name": "PASSWORD", "valueFrom": {"secretKeyRef": {"name": "login", "key": "password"}}},
        {"name": "MAYBE", "valueFrom": {"secretKeyRef": {"name": "none", "key": "x", "optional": True}}},
        envFrom=[{"prefix": "S_", "configMapRef": {"name": "settings"}}, {"secretRef": {"name": "login"}}],
    )
    assert (env["COLOR"], env["PASSWORD"], env["S_size"], env["password"]) == ("blue", "hunter2", "9", "hunter2")
    assert "MAYBE" not in env


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ({"configMapKeyRef": {"name": "none", "key": "x"}}, 'configmap "none" not found'),
        ({"configMapKeyRef": {"name": "settings", "key": "x"}}, "couldn't find key x in ConfigMap shop/settings"),
        ({"secretKeyRef": {"name": "none", "key": "x"}}, 'secret "none" not found'),
        ({"fieldRef": {"fieldPath": "spec.secret"}}, "the field spec.secret"),
    ],
)
async def test_what_is_missing_is_named(source: Json, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        await env_of({"name": "X", "valueFrom": source})


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("metadata.name", "web"),
        ("metadata.namespace", "shop"),
        ("metadata.uid", "u1"),
        ("metadata.labels['app']", "shop"),
        ("spec.nodeName", "node-1"),
        ("status.podIP", "10.244.1.7"),
        ("status.hostIP", "10.244.1.1"),
    ],
)
async def test_the_downward_api_tells_a_pod_about_itself(path: str, expected: str) -> None:
    of = pod(nodeName="node-1")
    of["metadata"]["labels"] = {"app": "shop"}
    assert (await env_of({"name": "X", "valueFrom": {"fieldRef": {"fieldPath": path}}}, of=of))["X"] == expected


@pytest.mark.parametrize(
    ("reference", "expected"),
    [
        ({"resource": "limits.cpu"}, "1"),
        ({"resource": "limits.cpu", "divisor": "1m"}, "500"),
        ({"resource": "requests.memory", "divisor": "1Mi"}, "64"),
        ({"resource": "limits.memory"}, str(8 * 1024**3)),
    ],
)
async def test_resources_come_in_the_unit_that_is_asked_for(reference: Json, expected: str) -> None:
    resources = {"limits": {"cpu": "500m"}, "requests": {"memory": "64Mi"}}
    variable = {"name": "X", "valueFrom": {"resourceFieldRef": reference}}
    main = container("main", env=[variable], resources=resources)
    assert (await container_env(pod(main), main, WHERE, SERVICES, get))["X"] == expected


async def test_a_container_without_a_limit_is_told_that_of_its_pod_and_else_what_the_node_has() -> None:
    limits = {"limits": {"cpu": "1", "example.com/gpu": "1"}}
    variables = [
        {"name": name, "valueFrom": {"resourceFieldRef": {"resource": f"limits.{name}", "divisor": "1m"}}}
        for name in ("cpu", "memory")
    ]
    for own, cpu in (({}, "1000"), ({"limits": {"cpu": "0"}}, "1000"), ({"limits": {"cpu": "300m"}}, "300")):
        main = container("main", env=variables, resources=own)
        env = await container_env(pod(main, resources=limits), main, WHERE, SERVICES, get)
        assert (env["cpu"], env["memory"]) == (cpu, str(1000 * 8 * 1024**3))


def test_a_pod_finds_the_api_server_and_the_services_beside_it() -> None:
    services = [
        {
            "metadata": {"name": "my-db", "namespace": "shop"},
            "spec": {"clusterIP": "10.0.0.5", "ports": [{"port": 5432, "name": "sql"}]},
        },
        {"metadata": {"name": "far", "namespace": "other"}, "spec": {"clusterIP": "10.0.0.6", "ports": [{"port": 1}]}},
        {"metadata": {"name": "headless", "namespace": "shop"}, "spec": {"clusterIP": "None"}},
    ]
    env = service_env(services, "shop", ("127.0.0.1", 6443))
    assert (env["KUBERNETES_SERVICE_HOST"], env["KUBERNETES_SERVICE_PORT"]) == ("127.0.0.1", "6443")
    assert env["MY_DB_SERVICE_HOST"] == "10.0.0.5"
    assert env["MY_DB_SERVICE_PORT_SQL"] == "5432"
    assert env["MY_DB_PORT_5432_TCP"] == "tcp://10.0.0.5:5432"
    assert not any(name.startswith(("FAR", "HEADLESS")) for name in env)


class Known(References):
    """One Service, and RuntimeClasses that are called as their handlers."""

    def __init__(self) -> None:
        pass

    async def services(self) -> list[Json]:
        return [{"metadata": {"name": "db", "namespace": "shop"}, "spec": {"clusterIP": "10.0.0.5"}}]

    async def runtime_handler(self, pod: Json) -> str:
        return pod["spec"].get("runtimeClassName", "")


@pytest.mark.parametrize(
    ("spec", "has_links", "api_server"),
    [
        ({}, True, "127.0.0.1"),
        ({"enableServiceLinks": False}, False, "127.0.0.1"),
        ({"runtimeClassName": "process"}, True, "127.0.0.1"),
        ({"runtimeClassName": "oci"}, True, "10.96.0.1"),
        ({"runtimeClassName": "oci", "hostNetwork": True}, True, "127.0.0.1"),
    ],
)
async def test_a_pod_is_told_of_services_as_it_wishes_and_of_the_api_server_as_its_network_reaches_it(
    spec: Json, has_links: bool, api_server: str
) -> None:
    environment = Environment("10.244.1.1", {}, ("127.0.0.1", 6443), Known())
    env = await environment.variables(pod(**spec), container("main"), "10.244.1.7")
    assert ("DB_SERVICE_HOST" in env) == has_links
    assert env["KUBERNETES_SERVICE_HOST"] == api_server
