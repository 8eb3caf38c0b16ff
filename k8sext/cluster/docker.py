"""Docker by its command line, with what may be wrong with it said in one sentence."""

from __future__ import annotations

import json
import shutil
import subprocess
from typing import Any

from k8sext.cluster.errors import ClusterError

# One control plane of 600 MB, two workers of 160 MB each, and room for pods (measured).
MEMORY_NEEDED = 2.5e9
ELSE_EMBEDDED = "or use the provider embedded, which needs no Docker, on Linux"


def check() -> None:
    """Raise ClusterError unless Docker is here, answers, lets us in, and has memory enough for a cluster."""
    if not shutil.which("docker"):
        raise ClusterError(
            "The provider kind needs Docker, and there is no command docker on PATH: install it "
            "(https://docs.docker.com/get-docker/), "
            f"{ELSE_EMBEDDED}."
        )
    memory = float(docker("info", "--format", "{{.MemTotal}}") or 0)
    if 0 < memory < MEMORY_NEEDED:
        raise ClusterError(
            f"Docker has {memory / 1e9:.1f} GB of memory and a cluster of three nodes needs {MEMORY_NEEDED / 1e9:.1f} "
            "GB: give it more "
            f"(Docker Desktop: Settings, Resources), {ELSE_EMBEDDED}."
        )


def docker(*arguments: str, input: str | None = None) -> str:
    """What docker prints, stripped. Raises ClusterError."""
    try:
        done = subprocess.run(["docker", *arguments], capture_output=True, text=True, input=input)
    except FileNotFoundError as error:
        raise ClusterError("The provider kind needs Docker, and there is no command docker on PATH.") from error
    if done.returncode != 0:
        raise ClusterError(explain(done.stderr.strip() or done.stdout.strip(), f"`docker {arguments[0]}` failed"))
    return done.stdout.strip()


def explain(words: str, otherwise: str) -> str:
    """A sentence for what Docker said: one that helps where the cause is known, else the last line of its own."""
    lowered = words.lower()
    if "permission denied" in lowered and "docker" in lowered:
        return (
            "Docker runs, but you may not use it: add yourself to its group with `sudo usermod -aG docker $USER` and "
            "log in again, "
            f"{ELSE_EMBEDDED}."
        )
    if "cannot connect to the docker daemon" in lowered or "is the docker daemon running" in lowered:
        return f"Docker is not running: start it (Docker Desktop, or `sudo systemctl start docker`), {ELSE_EMBEDDED}."
    if "no space left on device" in lowered:
        return "Docker's disk is full: make room with `docker system prune`, which removes what no container uses."
    if "port is already allocated" in lowered or "address already in use" in lowered:
        return "The API server's port was taken by another program meanwhile: try again, or choose another with --port."
    lines = [line.strip() for line in words.splitlines() if line.strip()]
    return f"{otherwise}: {lines[-1] if lines else 'it gave no reason'}"


def has_image(tag: str) -> bool:
    """Whether Docker holds an image already."""
    return subprocess.run(["docker", "image", "inspect", tag], capture_output=True).returncode == 0


def containers(cluster: str) -> dict[str, dict[str, Any]]:
    """What `docker inspect` says of the containers of a kind cluster, by name, the control plane first; {} without
    one."""
    ids = docker("ps", "--all", "--quiet", "--filter", f"label=io.x-k8s.kind.cluster={cluster}").split()
    found = json.loads(docker("inspect", *ids)) if ids else []
    return {entry["Name"].lstrip("/"): entry for entry in sorted(found, key=lambda entry: entry["Name"])}


def bridge_address() -> str:
    """The address at which pods and nodes reach this machine: that of the bridge that kind's network hangs on."""
    for entry in json.loads(docker("network", "inspect", "kind"))[0]["IPAM"]["Config"]:
        if ":" not in entry["Subnet"]:
            return entry.get("Gateway") or _first(entry["Subnet"])
    raise ClusterError(
        "Docker's network `kind` has no IPv4 addresses: remove it with `docker network rm kind` and try again."
    )


def _first(subnet: str) -> str:
    import ipaddress

    return str(next(ipaddress.ip_network(subnet).hosts()))
