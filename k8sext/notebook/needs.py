"""Cells that need what a machine may lack: `# needs: NAME` as their first line.

Where the need is met the line is a comment like any other. Where it is not, the cell answers in one sentence what is
missing, and does nothing; every cell that builds on it says the same need. Nothing recorded is ever replayed.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from typing import Any

_NEEDS = re.compile(r"^(?:%%\w+[^\n]*\n)?# needs: ([a-z\-]+)$", re.MULTILINE)


def needs_of(source: str) -> str | None:
    """Return what a cell needs, None for nothing. The line may stand below a cell magic."""
    match = _NEEDS.match(source)
    return match[1] if match else None


@functools.cache
def missing(need: str) -> str:
    """Return what is missing for a need, in one sentence; "" if it is met. Raises KeyError for a need nobody knows."""
    return KNOWN[need]()


def install(ipython: Any) -> None:
    """Have cells whose need is not met answer with the sentence instead of running."""
    ipython.input_transformers_cleanup.append(_answer)


def _answer(lines: list[str]) -> list[str]:
    need = needs_of("".join(lines))
    if need is None or not (sentence := missing(need)):
        return lines
    return [f"print({f'Skipped here: {sentence}.'!r})\n"]


def _namespaces() -> str:
    from k8sext.infra.cri.handlers.oci.capability_checks import obstacles

    return "; ".join(obstacles())


def _embedded_nodes() -> str:
    from k8sext.cluster import connect

    provider = connect().provider
    return "" if provider == "embedded" else f"nodes of provider {provider} have a container runtime of their own"


def _callback() -> str:
    from k8sext.cluster import connect

    if connect().callback_host:
        return ""
    return (
        "this cluster's control plane cannot call this machine (K8SEXT_CALLBACK_HOST can name an address where it "
        "can); the webhooks that "
        "notebook 08 deploys in the cluster, at its end, are called"
    )


def _power() -> str:
    from k8sext.cluster import connect

    provider = connect().provider
    return f"nodes of provider {provider} cannot be added or stopped from here" if provider == "existing" else ""


def _oci() -> str:
    return _embedded_nodes() or _namespaces()


KNOWN: dict[str, Callable[[], str]] = {
    "callback": _callback,
    "namespaces": _namespaces,
    "nodes": _power,
    "embedded-nodes": _embedded_nodes,
    "oci": _oci,
}
"""Each need: a function that returns what is missing."""
