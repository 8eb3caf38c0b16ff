"""The ImageService: one image, built in, which is the Python environment that runs this server."""

from __future__ import annotations

import hashlib
import os
import sys
import time
from pathlib import Path
from typing import Any

from k8sext import __version__
from k8sext.infra.cri.proto import api_pb2 as api
from k8sext.infra.cri.proto import api_pb2_grpc
from k8sext.infra.cri.refusals import invalid, not_found

BUILT_IN = f"localhost/k8sext:{__version__}"
IMAGE_ID = "sha256:" + hashlib.sha256(BUILT_IN.encode()).hexdigest()
DEFAULT_PATH = f"{sys.prefix}/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class ImageService(api_pb2_grpc.ImageServiceServicer):
    """Answers about the built-in image; nothing is ever fetched."""

    def __init__(self, folder: Path) -> None:
        """`folder` is where the containers' files stand; its file system is the one that fills up."""
        self._folder = folder
        self._removed = False

    def resolve(self, reference: str) -> api.Image | None:
        """Return the image of a name or an id, None when there is none."""
        return built_in_image() if not self._removed and reference in (BUILT_IN, IMAGE_ID) else None

    async def ListImages(self, request: api.ListImagesRequest, context: Any) -> api.ListImagesResponse:
        """Return the image, unless the filter names another."""
        image = self.resolve(request.filter.image.image or BUILT_IN)
        return api.ListImagesResponse(images=[image] if image else [])

    async def ImageStatus(self, request: api.ImageStatusRequest, context: Any) -> api.ImageStatusResponse:
        """Return the image, or an answer without one: so a kubelet learns that it must pull."""
        if not request.image.image:
            raise invalid("the image reference is empty: name an image")
        return api.ImageStatusResponse(image=self.resolve(request.image.image))

    async def PullImage(self, request: api.PullImageRequest, context: Any) -> api.PullImageResponse:
        """Succeed for the built-in image; tell for any other why it cannot be had here. Kubelets show that as ErrImagePull."""
        if request.image.image not in (BUILT_IN, IMAGE_ID):
            raise not_found(
                f"image {request.image.image!r} is not available: the runtime handler 'process' runs programs of this machine "
                f"and fetches no images; use {BUILT_IN}, which holds this Python environment and the usual small commands"
            )
        self._removed = False
        return api.PullImageResponse(image_ref=IMAGE_ID)

    async def RemoveImage(self, request: api.RemoveImageRequest, context: Any) -> api.RemoveImageResponse:
        """Forget the image until it is pulled again. To remove what is not there is no error."""
        if not request.image.image:
            raise invalid("the image reference is empty: name an image")
        self._removed = self._removed or request.image.image in (BUILT_IN, IMAGE_ID)
        return api.RemoveImageResponse()

    async def ImageFsInfo(self, request: api.ImageFsInfoRequest, context: Any) -> api.ImageFsInfoResponse:
        """Return the use of the file system that holds the containers' folders."""
        disk = os.statvfs(self._folder)
        usage = api.FilesystemUsage(
            timestamp=time.time_ns(),
            fs_id=api.FilesystemIdentifier(mountpoint=str(self._folder)),
            used_bytes=api.UInt64Value(value=(disk.f_blocks - disk.f_bfree) * disk.f_frsize),
            inodes_used=api.UInt64Value(value=disk.f_files - disk.f_ffree),
        )
        return api.ImageFsInfoResponse(image_filesystems=[usage], container_filesystems=[usage])


def built_in_image() -> api.Image:
    """Describe the running Python environment as an image. Its user is ours: what it runs, runs as we do."""
    return api.Image(
        id=IMAGE_ID,
        repo_tags=[BUILT_IN],
        size=Path(sys.executable).stat().st_size,
        uid=api.Int64Value(value=os.getuid()),
        spec=api.ImageSpec(image=BUILT_IN),
        pinned=True,
    )
