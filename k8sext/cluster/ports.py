"""Free ports and free blocks of loopback addresses."""

from __future__ import annotations

import contextlib
import random
import socket
from collections.abc import Iterable, Mapping

from k8sext.cluster.errors import ClusterError
from k8sext.infra.addresses import KUBELET_PORT

# Below the ports that Linux and macOS give to outgoing connections: one of those could sit on a server's port while it
# restarts.
# Below those of NodePort services too.
OURS = range(20000, 30000)


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
    """A port for each name: the demanded one, else the wanted one (of the last start) if free, else a free one of ours.

    Raises ClusterError when a demanded port is taken or is no port, and where this machine cannot talk to itself.
    """
    _check_loopback()
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
            chosen[name] = _bind(probe, wanted.get(name))
    return chosen


def _check_loopback() -> None:
    """In a fresh network namespace one can listen on 127.0.0.1, but nobody gets there as long as `lo` is down."""
    with contextlib.closing(socket.socket()) as server:
        try:
            server.bind(("127.0.0.1", 0))
            server.listen()
            socket.create_connection(server.getsockname(), timeout=5).close()
        except OSError as error:
            raise ClusterError(
                f"No program of this machine can reach another one at 127.0.0.1 ({error.strerror or error}): switch "
                "the loopback network "
                "on with `ip link set lo up`, as root of this machine or network namespace."
            ) from error


def _bind(probe: socket.socket, wanted: int | None) -> int:
    """Hold the wanted port, or one of ours; only where none of ours is free, any."""
    # In an order by chance: clusters that start at the same time hardly meet.
    for port in ([wanted] if wanted else []) + random.sample(OURS, 100):
        with contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    probe.bind(("127.0.0.1", 0))
    return probe.getsockname()[1]


def _check(port: int) -> None:
    if not 0 < port < 65536:
        raise ClusterError(f"{port} is not a port: choose one between 1024 and 65535.")
    if not is_free(port):
        raise ClusterError(
            f"Port {port} of 127.0.0.1 is taken by another program: choose another with --port, or leave --port out."
        )


def reserve_loopback_block(wanted: str | None = None) -> tuple[str, socket.socket]:
    """The first half of a block of loopback addresses for a cluster's pods and nodes, as 127.244, and the socket that
    reserves it.

    The block is the caller's until the socket is closed: a cluster that is just starting again, or whose nodes are all
    stopped, keeps it. wanted (of the last start) is taken if it is free. Raises ClusterError when 145 clusters run
    already.
    """
    octets = [f"127.{octet}" for octet in range(244, 99, -1)]
    for block in [*([wanted] if wanted else []), *octets]:
        reservation = socket.socket()
        try:
            reservation.bind((f"{block}.255.254", KUBELET_PORT))
        except OSError:
            reservation.close()
            continue
        if all(is_free(KUBELET_PORT, f"{block}.{node}.1") for node in range(3)):
            return block, reservation
        reservation.close()
    raise ClusterError("No block of loopback addresses is free: stop some clusters with `k8sext down --name NAME`.")


def free_port() -> int:
    """Return a port of this machine that nothing listens on now, for a server that a notebook starts."""
    return choose(["server"], {})["server"]
