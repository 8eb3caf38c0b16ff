"""How a volume is to be used, in the words of CSI: asked of a driver by the one who orders the volume and the one who
mounts it.

Sources: page "Persistent Volumes", access modes; CSI specification, VolumeCapability.
"""

from __future__ import annotations

from collections.abc import Sequence

from k8sext.infra.csi.proto import csi_pb2 as csi

Mode = csi.VolumeCapability.AccessMode
MODES = {
    "ReadWriteOnce": (Mode.SINGLE_NODE_MULTI_WRITER, Mode.SINGLE_NODE_WRITER),
    "ReadWriteOncePod": (Mode.SINGLE_NODE_SINGLE_WRITER, Mode.SINGLE_NODE_WRITER),
    "ReadOnlyMany": (Mode.MULTI_NODE_READER_ONLY, Mode.MULTI_NODE_READER_ONLY),
    "ReadWriteMany": (Mode.MULTI_NODE_MULTI_WRITER, Mode.MULTI_NODE_MULTI_WRITER),
}
"""What an access mode of Kubernetes is called by drivers that know the modes added in CSI 1.5, and by older ones."""


def capability(
    mode: str, fs_type: str = "", mount_flags: Sequence[str] = (), *, knows_new_modes: bool = True
) -> csi.VolumeCapability:
    """The capability that a driver is asked for, for one access mode of Kubernetes. Raises KeyError for an unknown
    mode."""
    mount = csi.VolumeCapability.MountVolume(fs_type=fs_type, mount_flags=mount_flags)
    new, old = MODES[mode]
    return csi.VolumeCapability(mount=mount, access_mode=Mode(mode=new if knows_new_modes else old))
