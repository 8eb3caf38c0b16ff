"""What a server says once about the handler `oci`, for all its nodes."""

from __future__ import annotations

from typing import NamedTuple

from k8sext.infra.cri.oci.room import Room
from k8sext.infra.cri.oci.store import ImageStore


class OciSettings(NamedTuple):
    """What the handler `oci` needs beside a node: images, a room for cables, and whether it is the handler of pods that name none."""

    images: ImageStore
    room: Room
    default_handler: str = "process"
