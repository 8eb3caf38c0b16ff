"""`%load_ext k8sext`: connect a notebook to its cluster.

After it, `!kubectl ...` talks to the workbook's cluster with that cluster's own kubectl, a command that fails makes the
cell fail, and everything started in the background ends with the notebook. Three functions answer its exercises: check,
hint, solution; `view()` shows the cluster.
"""

from __future__ import annotations

import json
import os
import socket
from functools import partial
from typing import Any
from urllib.parse import urlsplit
from weakref import WeakKeyDictionary

from k8sext.cluster import Cluster, ClusterError, connect, environment
from k8sext.notebook import FIRST_CELL, needs
from k8sext.notebook.exercises.desk import Desk
from k8sext.notebook.shell import OneLineError, Shell
from k8sext.notebook.view import view

_SHELLS: WeakKeyDictionary[Any, Shell] = WeakKeyDictionary()
"""Our `!`, by the IPython shell (one a kernel) that has it."""


class NoCluster(OneLineError):
    """There is no cluster to work with; the message says why and what to do."""


def load(ipython: Any) -> None:
    """Find the learner's cluster or start it, take over `!`, and say in one line what answers.

    Can be called again, at the second evening or when the cluster is gone: IPython is made to forget that it was
    loaded. Raises NoCluster.
    """
    forget_when_done(ipython)
    try:
        cluster = connect()
        answer = greeting(cluster)
    except ClusterError as error:
        raise NoCluster(str(error)) from None
    os.environ.update(environment(cluster))
    if ipython not in _SHELLS:
        _SHELLS[ipython] = Shell(ipython)
        _SHELLS[ipython].install()
        needs.install(ipython)
    _SHELLS[ipython].advice = partial(_advice, cluster)
    ipython.push(Desk(ipython).functions() | {"view": view}, interactive=False)
    print(answer)


def forget_when_done(ipython: Any) -> None:
    """Have the next `%load_ext k8sext` load again: IPython would only say that it is loaded already."""

    def forget(*_: object) -> None:
        ipython.extension_manager.loaded.discard("k8sext")
        ipython.events.unregister("post_run_cell", forget)

    ipython.events.register("post_run_cell", forget)


def _advice(cluster: Cluster, command: str) -> str:
    """What to do about a command that failed because the cluster is gone, "" when that is not why."""
    try:
        address = urlsplit(cluster.server)
        socket.create_connection((address.hostname or "", address.port or 443), 1.0).close()
    except (OSError, ClusterError):
        return f"the cluster does not answer: {FIRST_CELL}, which starts it"
    return ""


def greeting(cluster: Cluster) -> str:
    """Ask both ends for their version, which proves that the API server answers, and return the line to print."""
    versions = json.loads(cluster.kubectl("version", "--output=json"))
    client, server = (versions[end]["gitVersion"] for end in ("clientVersion", "serverVersion"))
    return f"Connected: kubectl {client}, API server {server}."
