"""The environment of a container: services first, then envFrom, then env, with $(NAME) filled in."""

from __future__ import annotations

import re
from base64 import b64decode
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from k8sext.infra.kubelet import pod as pods
from k8sext.infra.kubelet.pod import Json
from k8sext.kube.quantity import divide

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
    services: dict[str, str]


async def container_env(pod: Json, container: Json, where: Surroundings, get: Getter) -> dict[str, str]:
    """All variables of a container. Raises ConfigError when something it names is missing and not optional."""
    env: dict[str, str] = {}
    for source in container.get("envFrom") or []:
        env |= await _env_from(pod, source, get)
    for variable in container.get("env") or []:
        if "valueFrom" in variable:
            value = await _value_from(pod, container, variable["valueFrom"], where, get)
        else:
            value = expand(variable.get("value", ""), where.services | env)
        if value is not None:
            env[variable["name"]] = value
    return where.services | env


def expand(text: str, env: dict[str, str]) -> str:
    """Fill in $(NAME); $$ stands for one dollar, an unknown name stays as it is written."""

    def replace(match: re.Match[str]) -> str:
        if match.group() == "$$":
            return "$"
        return env.get(match.group(1), match.group())

    return REFERENCE.sub(replace, text)


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
    """The value of a resourceFieldRef; without a limit of its own a container may use all that the node has."""
    name = reference.get("containerName") or default
    container = next((c for c in pods.all_containers(pod) if c["name"] == name), None)
    if container is None:
        raise ConfigError(
            f"the resource {reference['resource']} is asked of container {name!r}, which this pod does not have"
        )
    kind, _, resource = reference["resource"].partition(".")
    resources = container.get("resources") or {}
    amount = (resources.get(kind) or {}).get(resource)
    if amount is None:
        amount = where.allocatable.get(resource, "0") if kind == "limits" else "0"
    return str(divide(amount, reference.get("divisor") or "1"))


def service_env(services: list[Json], namespace: str, api_server: tuple[str, str], enabled: bool) -> dict[str, str]:
    """Where a pod finds the API server and, if it wants to know, the Services of its namespace."""
    host, port = api_server
    env: dict[str, str] = {}
    for service in services if enabled else []:
        name, ip = service["metadata"]["name"], service["spec"].get("clusterIP")
        if service["metadata"]["namespace"] == namespace and ip and ip != "None" and name != "kubernetes":
            env |= _service_variables(name, ip, service["spec"].get("ports") or [])
    return env | _service_variables("kubernetes", host, [{"name": "https", "port": int(port), "protocol": "TCP"}])


def _service_variables(name: str, ip: str, ports: list[Json]) -> dict[str, str]:
    prefix = _variable(name)
    env = {f"{prefix}_SERVICE_HOST": ip}
    for index, port in enumerate(ports):
        number, protocol = str(port["port"]), port.get("protocol", "TCP")
        url = f"{protocol.lower()}://{ip}:{number}"
        if index == 0:
            env |= {f"{prefix}_SERVICE_PORT": number, f"{prefix}_PORT": url}
        if port.get("name"):
            env[f"{prefix}_SERVICE_PORT_{_variable(port['name'])}"] = number
        link = f"{prefix}_PORT_{number}_{protocol}"
        env |= {link: url, f"{link}_PROTO": protocol.lower(), f"{link}_PORT": number, f"{link}_ADDR": ip}
    return env


def _variable(name: str) -> str:
    return name.upper().replace("-", "_")


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
