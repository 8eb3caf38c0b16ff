"""The answer of `status`, in one shape whatever the provider."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from k8sext.cluster.paths import Layout


def report(
    layout: Layout,
    phase: str,
    *,
    version: str | None = None,
    server: str | None = None,
    pid: int | None = None,
    components: Sequence[dict[str, Any]] = (),
) -> dict[str, Any]:
    """What is to say of a cluster; phase is one of down, starting, ready, stopping, failed, pid the supervisor's, if it
    has one."""
    return {
        "name": layout.name,
        "phase": phase,
        "version": version,
        "server": server,
        "pid": pid,
        "data": str(layout.data),
        "components": list(components),
    }


def component(
    name: str,
    version: str,
    health: str,
    *,
    pid: int | None = None,
    port: int | None = None,
    memory: int | None = None,
    restarts: int = 0,
) -> dict[str, Any]:
    """One program of a cluster, or a node; memory in bytes, health "ok" or what is wrong."""
    return {
        "name": name,
        "version": version,
        "pid": pid,
        "port": port,
        "memory": memory,
        "health": health,
        "restarts": restarts,
    }
