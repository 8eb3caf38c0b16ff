"""What a volume may be asked to be, checked in one place for both services."""

from __future__ import annotations

import os
from collections.abc import Iterable

from grpc import StatusCode

from k8sext.infra.csi.proto import csi_pb2 as csi
from k8sext.infra.grpc import StatusError, invalid_argument

Mode = csi.VolumeCapability.AccessMode
ONE_NODE = (
    Mode.SINGLE_NODE_WRITER,
    Mode.SINGLE_NODE_READER_ONLY,
    Mode.SINGLE_NODE_SINGLE_WRITER,
    Mode.SINGLE_NODE_MULTI_WRITER,
)
TOPOLOGY_KEY = "topology.csi.k8sext.dev/node"
DEFAULT_CAPACITY = 1 << 30


def objection(capabilities: Iterable[csi.VolumeCapability]) -> str:
    """Why a folder on one node cannot be used so; "" if it can."""
    for capability in capabilities:
        if capability.HasField("block"):
            return "a folder is no block device: ask for volumeMode Filesystem"
        if not capability.HasField("mount"):
            return "the access type is missing: set mount"
        if capability.access_mode.mode not in ONE_NODE:
            return "a folder is on one node only: ask for ReadWriteOnce or ReadWriteOncePod"
        if capability.mount.fs_type:
            return (
                f"a folder has no file system of its own to format as {capability.mount.fs_type!r}: leave fsType empty"
            )
    return ""


def check(capabilities: Iterable[csi.VolumeCapability]) -> None:
    """Raise StatusError when the capabilities are missing or cannot be had."""
    capabilities = list(capabilities)
    if not capabilities:
        raise invalid_argument("the volume capability is missing")
    if problem := objection(capabilities):
        raise invalid_argument(problem)


def capacity(asked: csi.CapacityRange, default: int) -> int:
    """The size to take out of a range. Raises StatusError for one that makes no sense."""
    least, most = asked.required_bytes, asked.limit_bytes
    if least < 0 or most < 0 or (most and least > most):
        raise StatusError(StatusCode.OUT_OF_RANGE, f"no size is at least {least} and at most {most} bytes")
    return least or min(default, most or default)


def fits(size: int, asked: csi.CapacityRange) -> bool:
    """Whether a volume of this size is what was asked for."""
    return asked.required_bytes <= size and (not asked.limit_bytes or size <= asked.limit_bytes)


def path(text: str, what: str) -> str:
    """A path from a request. Raises StatusError when it is missing, not absolute or not plain."""
    if not text:
        raise invalid_argument(f"the {what} is missing")
    if "\0" in text or not text.startswith("/") or os.path.normpath(text) != text.rstrip("/") or len(text) > 4000:
        raise invalid_argument(f"the {what} must be an absolute path without '..'")
    return text.rstrip("/")
