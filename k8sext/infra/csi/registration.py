"""How the kubelet gets to know the driver: a socket in its registration folder, at which it asks who is there.

Kubernetes' own way is a sidecar, node-driver-registrar, so that a driver need not know about kubelets; ours answers by
itself, and at the same socket as everything else. https://kubernetes-csi.github.io/docs/node-driver-registrar.html
"""

from __future__ import annotations

import logging
from typing import Any

from k8sext.infra.csi.identity import DRIVER
from k8sext.infra.csi.proto import registration_pb2 as api
from k8sext.infra.csi.proto import registration_pb2_grpc

log = logging.getLogger(__name__)


class Registration(registration_pb2_grpc.RegistrationServicer):
    """Answers a kubelet's questions about the plugin."""

    def __init__(self, endpoint: str) -> None:
        """`endpoint` is the path of the CSI socket as the kubelet sees it."""
        self._endpoint = endpoint

    async def GetInfo(self, request: Any, context: Any) -> api.PluginInfo:
        """Say what kind of plugin this is and where it listens."""
        return api.PluginInfo(type="CSIPlugin", name=DRIVER, endpoint=self._endpoint, supported_versions=["1.0.0"])

    async def NotifyRegistrationStatus(
        self, request: api.RegistrationStatus, context: Any
    ) -> api.RegistrationStatusResponse:
        """Hear how it went."""
        if request.plugin_registered:
            log.info("the kubelet has registered %s", DRIVER)
        else:
            log.error("the kubelet refuses %s: %s", DRIVER, request.error)
        return api.RegistrationStatusResponse()
