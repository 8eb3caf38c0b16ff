"""Services as environment variables, by which a container finds the API server and the Services of its namespace.

Source: "Service environment variables" in the Kubernetes documentation (accessing Services).
"""

from __future__ import annotations

from collections.abc import Iterable

from k8sext.kube.objects import Json


def service_env(services: Iterable[Json], namespace: str, api_server: tuple[str, int]) -> dict[str, str]:
    """The variables of all `services` of a namespace that have an address, and those of the API server (host, port)."""
    host, port = api_server
    env: dict[str, str] = {}
    for service in services:
        name, ip = service["metadata"]["name"], service["spec"].get("clusterIP")
        if service["metadata"]["namespace"] == namespace and ip and ip != "None" and name != "kubernetes":
            env |= _variables(name, ip, service["spec"].get("ports") or [])
    return env | _variables("kubernetes", host, [{"name": "https", "port": port, "protocol": "TCP"}])


def _variables(name: str, ip: str, ports: list[Json]) -> dict[str, str]:
    prefix = _upper(name)
    env = {f"{prefix}_SERVICE_HOST": ip}
    for index, port in enumerate(ports):
        number, protocol = str(port["port"]), port.get("protocol", "TCP")
        url = f"{protocol.lower()}://{ip}:{number}"
        if index == 0:
            env |= {f"{prefix}_SERVICE_PORT": number, f"{prefix}_PORT": url}
        if port.get("name"):
            env[f"{prefix}_SERVICE_PORT_{_upper(port['name'])}"] = number
        link = f"{prefix}_PORT_{number}_{protocol}"
        env |= {link: url, f"{link}_PROTO": protocol.lower(), f"{link}_PORT": number, f"{link}_ADDR": ip}
    return env


def _upper(name: str) -> str:
    return name.upper().replace("-", "_")
