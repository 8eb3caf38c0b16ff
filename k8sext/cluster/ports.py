"""Free ports and free blocks of loopback addresses."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterable, Mapping

from k8sext.cluster.errors import ClusterError


def is_free(port: int, host: str = "127.0.0.1") -> bool:
    """Whether a server could listen on host:port now."""
    with contextlib.closing(socket.socket()) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True


def choose(
    names: Iterable[str], wanted: Mapping[str, int], demanded: Mapping[str, int] | None = None
) -> dict[str, int]:
    """A port for each name: the demanded one, else the wanted one (of the last start) if free, else any free one.

    Raises ClusterError when a demanded port is taken or is no port.
    """
    demanded = demanded or {}
    chosen: dict[str, int] = {}
    with contextlib.ExitStack() as held:
        for name in names:
            if port := demanded.get(name):
                _check(port)
                chosen[name] = port
                continue
            # Holding each port until all are chosen keeps them different.
            probe = held.enter_context(contextlib.closing(socket.socket()))
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", wanted.get(name, 0)))
            except OSError:
                probe.bind(("127.0.0.1", 0))
            chosen[name] = probe.getsockname()[1]
    return chosen


def _check(port: int) -> None:
    if not 0 < port < 65536:
        raise ClusterError(f"{port} is not a port: choose one between 1024 and 65535.")
    if not is_free(port):
        raise ClusterError(
            f"Port {port} of 127.0.0.1 is taken by another program: choose another with --port, or leave --port out."
        )


def loopback_block(kubelet_port: int = 10250) -> str:
    """The first half of a free block of loopback addresses for a cluster's pods and nodes, as 127.244."""
    for octet in (244, *range(243, 99, -1)):
        if is_free(kubelet_port, f"127.{octet}.0.1"):
            return f"127.{octet}"
    raise ClusterError("No block of loopback addresses is free: stop some clusters with `k8sext down --name NAME`.")
