"""The Identity service: who the driver is and what it can do. Every CSI driver serves it, on every socket."""

from __future__ import annotations

from typing import Any

from google.protobuf.wrappers_pb2 import BoolValue

from k8sext import __version__
from k8sext.infra.csi.proto import csi_pb2 as csi
from k8sext.infra.csi.proto import csi_pb2_grpc

DRIVER = "csi.k8sext.dev"


class Identity(csi_pb2_grpc.IdentityServicer):
    """Answers about the driver as such."""

    async def GetPluginInfo(self, request: Any, context: Any) -> csi.GetPluginInfoResponse:
        """Return name and version."""
        return csi.GetPluginInfoResponse(name=DRIVER, vendor_version=__version__)

    async def GetPluginCapabilities(self, request: Any, context: Any) -> csi.GetPluginCapabilitiesResponse:
        """It has a Controller service, its volumes stay on their node, and they grow while in use."""
        service, growth = csi.PluginCapability.Service, csi.PluginCapability.VolumeExpansion
        return csi.GetPluginCapabilitiesResponse(
            capabilities=[
                csi.PluginCapability(service=service(type=service.CONTROLLER_SERVICE)),
                csi.PluginCapability(service=service(type=service.VOLUME_ACCESSIBILITY_CONSTRAINTS)),
                csi.PluginCapability(volume_expansion=growth(type=growth.ONLINE)),
            ]
        )

    async def Probe(self, request: Any, context: Any) -> csi.ProbeResponse:
        """Whoever can answer is ready: there is nothing to warm up."""
        return csi.ProbeResponse(ready=BoolValue(value=True))
