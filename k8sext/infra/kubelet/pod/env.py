"""The environment of a container: services first, then envFrom, then env, with $(NAME) filled in."""

from __future__ import annotations

import re
from base64 import b64decode
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from k8sext.infra.addresses import API_SERVICE, API_SERVICE_PORT
from k8sext.infra.kubelet.pod import podspec
from k8sext.infra.kubelet.pod.references import References
from k8sext.infra.kubelet.pod.service_env import service_env
from k8sext.kube.objects import Json
from k8sext.kube.pod import all_containers, pod_level
from k8sext.kube.quantity import divide, parse
from k8sext.kube.request import ApiError

REFERENCE = re.compile(r"\$\$|\$\(([^()$]*)\)")
SUBSCRIPT = re.compile(r"metadata\.(labels|annotations)\['(.+)'\]")

Getter = Callable[[str, str, str], Awaitable[Json | None]]
"""Fetches a ConfigMap or Secret: kind ("configmaps"), namespace, name; None if there is none."""


class ConfigError(Exception):
    """The container cannot be configured; the message is what `kubectl describe` shows."""


@dataclass(frozen=True)
class Surroundings:
    """What a container can be told about where it runs."""

    pod_ip: str
    host_ip: str
    allocatable: dict[str, str]


class Environment:
    """What one node tells the containers that run on it."""

    def __init__(
        self, node_ip: str, allocatable: dict[str, str], api_server: tuple[str, int], references: References
    ) -> None:
        """`api_server` is the host and port of the API server as this machine reaches it."""
        self._node_ip, self._allocatable, self._api_server = node_ip, allocatable, api_server
        self._references = references

    def surroundings(self, pod: Json, sandbox_ip: str) -> Surroundings:
        return Surroundings(podspec.pod_ip(pod, sandbox_ip, self._node_ip), self._node_ip, self._allocatable)

    async def variables(self, pod: Json, container: Json, sandbox_ip: str) -> dict[str, str]:
        """All variables of a container. Raises ConfigError when something it names is missing and not optional."""
        enabled = pod["spec"].get("enableServiceLinks", True)
        services = await self._references.services() if enabled else []
        api_server = (API_SERVICE, API_SERVICE_PORT) if await self._has_own_network(pod) else self._api_server
        env = service_env(services, pod["metadata"]["namespace"], api_server)
        where = self.surroundings(pod, sandbox_ip)
        return await container_env(pod, container, where, env, self._references.get)

    async def _has_own_network(self, pod: Json) -> bool:
        """Whether the pod's RuntimeClass gives it one. A class that is missing is told when the sandbox is made."""
        try:
            return not podspec.is_host_network(pod) and await self._references.runtime_handler(pod) == "oci"
        except ApiError:
            return False


async def container_env(
    pod: Json, container: Json, where: Surroundings, services: dict[str, str], get: Getter
) -> dict[str, str]:
    """All variables of a container, given those of Services. Raises ConfigError when something is missing and not
    optional."""
    env: dict[str, str] = {}
    for source in container.get("envFrom") or []:
        env |= await _env_from(pod, source, get)
    for variable in container.get("env") or []:
        if "valueFrom" in variable:
            value = await _value_from(pod, container, variable["valueFrom"], where, get)
        else:
            value = expand(variable.get("value", ""), services | env)
        if value is not None:
            env[variable["name"]] = value
    return services | env


def expand(text: str, env: dict[str, str]) -> str:
    """Fill in $(NAME); $$ stands for one dollar, an unknown name stays as it is written."""

    def replace(match: re.Match[str]) -> str:
        if match.group() == "$$":
            return "$"
        return env.get(match.group(1), match.group())

    return REFERENCE.sub(replace, text)


def expand_known(text: str, env: dict[str, str]) -> str:
    """The same where a name must be known, as in a subPathExpr. Raises ConfigError."""
    for name in REFERENCE.findall(text):
        if name and name not in env:
            raise ConfigError(f'missing value for "{name}"')
    return expand(text, env)


def expand_all(texts: list[str] | None, env: dict[str, str]) -> list[str]:
    """Fill in each part of a command."""
    return [expand(text, env) for text in texts or []]


def field(pod: Json, path: str, where: Surroundings) -> str:
    """The value of a fieldRef, as the downward API defines it."""
    metadata, spec = pod["metadata"], pod["spec"]
    if match := SUBSCRIPT.fullmatch(path):
        return (metadata.get(match.group(1)) or {}).get(match.group(2), "")
    match path:
        case "metadata.name" | "metadata.namespace" | "metadata.uid":
            return metadata[path.removeprefix("metadata.")]
        case "metadata.labels" | "metadata.annotations":
            pairs = metadata.get(path.removeprefix("metadata.")) or {}
            return "\n".join(f"{key}={_quote(value)}" for key, value in sorted(pairs.items()))
        case "spec.nodeName" | "spec.serviceAccountName":
            return spec.get(path.removeprefix("spec."), "")
        case "status.podIP" | "status.podIPs":
            return where.pod_ip
        case "status.hostIP" | "status.hostIPs":
            return where.host_ip
    raise ConfigError(f"the field {path} is not one that the downward API knows")


def resource_field(pod: Json, reference: Json, where: Surroundings, default: str = "") -> str:
    """The value of a resourceFieldRef; without a limit of its own a container may use what its pod may, or all that
    the node has."""
    name = reference.get("containerName") or default
    container = next((c for c in all_containers(pod) if c["name"] == name), None)
    if container is None:
        raise ConfigError(
            f"the resource {reference['resource']} is asked of container {name!r}, which this pod does not have"
        )
    kind, _, resource = reference["resource"].partition(".")
    amount = ((container.get("resources") or {}).get(kind) or {}).get(resource, "0")
    if kind == "limits" and not parse(amount):
        amount = pod_level(pod, "limits").get(resource) or where.allocatable.get(resource, "0")
    return str(divide(amount, reference.get("divisor") or "1"))


def _quote(value: str) -> str:
    escaped = value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'


async def _env_from(pod: Json, source: Json, get: Getter) -> dict[str, str]:
    kind, reference = (
        ("configmaps", source["configMapRef"]) if "configMapRef" in source else ("secrets", source["secretRef"])
    )
    item = await get(kind, pod["metadata"]["namespace"], reference["name"])
    if item is None:
        if reference.get("optional"):
            return {}
        raise ConfigError(f'{kind.removesuffix("s")} "{reference["name"]}" not found')
    return {source.get("prefix", "") + key: value for key, value in decoded(item).items()}


async def _value_from(pod: Json, container: Json, source: Json, where: Surroundings, get: Getter) -> str | None:
    if "fieldRef" in source:
        return field(pod, source["fieldRef"]["fieldPath"], where)
    if "resourceFieldRef" in source:
        return resource_field(pod, source["resourceFieldRef"], where, container["name"])
    for kind, title, key in (("configmaps", "ConfigMap", "configMapKeyRef"), ("secrets", "Secret", "secretKeyRef")):
        if key in source:
            return await _key_of(pod, kind, title, source[key], get)
    raise ConfigError(f"a variable takes its value from {', '.join(source)}, which this kubelet does not know")


async def _key_of(pod: Json, kind: str, title: str, reference: Json, get: Getter) -> str | None:
    namespace = pod["metadata"]["namespace"]
    item = await get(kind, namespace, reference["name"])
    values = decoded(item) if item else {}
    if reference["key"] in values:
        return values[reference["key"]]
    if reference.get("optional"):
        return None
    if item is None:
        raise ConfigError(f'{kind.removesuffix("s")} "{reference["name"]}" not found')
    raise ConfigError(f"couldn't find key {reference['key']} in {title} {namespace}/{reference['name']}")


def decoded(item: Json) -> dict[str, str]:
    """The text values of a ConfigMap or a Secret."""
    if item.get("kind") == "Secret":
        return {
            key: b64decode(value).decode(errors="surrogateescape") for key, value in (item.get("data") or {}).items()
        }
    return item.get("data") or {}
