"""`%load_ext k8sext`: connect a notebook to its cluster.

After it, `!kubectl ...` talks to the workbook's cluster with that cluster's own kubectl, a command that fails makes the
cell fail, and everything started in the background ends with the notebook. Three functions answer its exercises: check, hint, solution;
`view()` shows the cluster.
"""

from __future__ import annotations

import json
import os
from typing import Any

from k8sext.cluster import Cluster, ClusterError, connect, environment
from k8sext.notebook import needs
from k8sext.notebook.exercises.desk import Desk
from k8sext.notebook.shell import OneLineError, Shell
from k8sext.notebook.view import view


class NoCluster(OneLineError):
    """There is no cluster to work with; the message says why and what to do."""


def load(ipython: Any) -> None:
    """Find the learner's cluster or start it, take over `!`, and say in one line what answers. Raises NoCluster."""
    try:
        cluster = connect()
        answer = greeting(cluster)
    except ClusterError as error:
        raise NoCluster(str(error)) from None
    os.environ.update(environment(cluster))
    Shell(ipython).install()
    needs.install(ipython)
    ipython.push(Desk(ipython).functions() | {"view": view}, interactive=False)
    print(answer)


def greeting(cluster: Cluster) -> str:
    """Ask both ends for their version, which proves that the API server answers, and return the line to print."""
    versions = json.loads(cluster.kubectl("version", "--output=json"))
    client, server = (versions[end]["gitVersion"] for end in ("clientVersion", "serverVersion"))
    return f"Connected: kubectl {client}, API server {server}."
