"""A TCP port for a server that a notebook starts."""

from __future__ import annotations

from k8sext.cluster import ports


def free_port() -> int:
    """Return a port of this machine that nothing listens on now."""
    return ports.choose(["server"], {})["server"]
