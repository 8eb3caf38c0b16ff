"""What generated clients stand on: models that lose nothing, a connection, the verbs, informers and listers.

All of it is synchronous on the outside. Inside, one thread runs `k8sext.kube`, which is asynchronous (see
`k8sext.kube.background`).
"""

from __future__ import annotations

from k8sext.clients.runtime.connection import Connection, connect
from k8sext.clients.runtime.informer import Informer, Lister
from k8sext.clients.runtime.kind import Kind
from k8sext.clients.runtime.model import Model, Scale, ScaleSpec, ScaleStatus
from k8sext.clients.runtime.verbs import (
    Change,
    Create,
    Delete,
    DeleteCollection,
    Get,
    List,
    Listed,
    Patch,
    Standard,
    Update,
    WithScale,
    WithStatus,
)

__all__ = [
    "Change",
    "Connection",
    "Create",
    "Delete",
    "DeleteCollection",
    "Get",
    "Informer",
    "Kind",
    "List",
    "Listed",
    "Lister",
    "Model",
    "Patch",
    "Scale",
    "ScaleSpec",
    "ScaleStatus",
    "Standard",
    "Update",
    "WithScale",
    "WithStatus",
    "connect",
]
