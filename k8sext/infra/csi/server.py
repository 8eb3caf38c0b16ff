"""The driver as a gRPC server at a unix socket."""

from __future__ import annotations

import contextlib
import os
from collections.abc import AsyncIterator
from pathlib import Path

from k8sext.infra.csi.controller import Controller
from k8sext.infra.csi.identity import Identity
from k8sext.infra.csi.node import Node
from k8sext.infra.csi.proto import csi_pb2_grpc, registration_pb2_grpc
from k8sext.infra.csi.publish import Publisher
from k8sext.infra.csi.registration import Registration
from k8sext.infra.csi.state import Store
from k8sext.infra.grpc import check_socket_path, make_server


@contextlib.asynccontextmanager
async def serving(socket: Path, store: Store, publisher: Publisher, node: str) -> AsyncIterator[None]:
    """Answer calls at `socket` for the length of a block. Raises ValueError for a path too long to listen at.

    A socket that a killed driver left is replaced; the kubelet notices that it is a new one.
    """
    check_socket_path(socket, "--endpoint")
    server = make_server("driver", finish_calls=True)
    csi_pb2_grpc.add_IdentityServicer_to_server(Identity(), server)
    csi_pb2_grpc.add_ControllerServicer_to_server(Controller(store, publisher, node), server)
    csi_pb2_grpc.add_NodeServicer_to_server(Node(store, publisher, node), server)
    registration_pb2_grpc.add_RegistrationServicer_to_server(Registration(str(socket)), server)
    socket.parent.mkdir(parents=True, exist_ok=True)
    socket.unlink(missing_ok=True)
    old_mask = os.umask(0o177)
    try:
        server.add_insecure_port(f"unix:{socket}")
        await server.start()
    finally:
        os.umask(old_mask)
    try:
        yield
    finally:
        await server.stop(grace=1)
        socket.unlink(missing_ok=True)
