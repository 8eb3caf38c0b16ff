"""The ImageService: one image, built in, which is the Python environment that runs this server; and those of `oci`."""

from __future__ import annotations

import asyncio
import hashlib
import os
import sys
import time
from pathlib import Path
from typing import Any

from k8sext import __version__
from k8sext.infra.cri.oci.store import ImageError, ImageStore, StoredImage
from k8sext.infra.cri.proto import api_pb2 as api
from k8sext.infra.cri.proto import api_pb2_grpc
from k8sext.infra.refusals import invalid, not_found

BUILT_IN = f"localhost/k8sext:{__version__}"
IMAGE_ID = "sha256:" + hashlib.sha256(BUILT_IN.encode()).hexdigest()
DEFAULT_PATH = f"{sys.prefix}/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class ImageService(api_pb2_grpc.ImageServiceServicer):
    """Answers about the built-in image; for pods of handler `oci` also about those of the image store, which it fetches."""

    def __init__(self, folder: Path, store: ImageStore, default_handler: str) -> None:
        """`folder` is where the containers' files stand; its file system is the one that fills up."""
        self._folder, self._store, self._default_handler = folder, store, default_handler
        self._removed = False

    def resolve(self, reference: str, handler: str) -> api.Image | None:
        """Return the image of a name or an id as a runtime handler sees it, None when there is none."""
        if not self._removed and reference in (BUILT_IN, IMAGE_ID):
            return built_in_image()
        try:
            found = self._store.find(reference) if self._is_oci(handler) else None
        except ImageError:
            found = None
        return stored_image(found) if found else None

    async def ListImages(self, request: api.ListImagesRequest, context: Any) -> api.ListImagesResponse:
        """Return all images, or the one that the filter names."""
        if wanted := request.filter.image.image:
            image = self.resolve(wanted, "oci")
            return api.ListImagesResponse(images=[image] if image else [])
        images = [] if self._removed else [built_in_image()]
        return api.ListImagesResponse(images=[*images, *map(stored_image, self._store.all())])

    async def ImageStatus(self, request: api.ImageStatusRequest, context: Any) -> api.ImageStatusResponse:
        """Return the image, or an answer without one: so a kubelet learns that it must pull."""
        if not request.image.image:
            raise invalid("the image reference is empty: name an image")
        return api.ImageStatusResponse(image=self.resolve(request.image.image, request.image.runtime_handler))

    async def PullImage(self, request: api.PullImageRequest, context: Any) -> api.PullImageResponse:
        """Succeed for the built-in image, fetch for `oci`, and tell why an image cannot be had. Kubelets show that as ErrImagePull."""
        if request.image.image not in (BUILT_IN, IMAGE_ID) and self._is_oci(request.image.runtime_handler):
            credentials = f"{request.auth.username}:{request.auth.password}" if request.auth.username else ""
            try:
                return api.PullImageResponse(
                    image_ref=await asyncio.to_thread(self._store.pull, request.image.image, credentials)
                )
            except ImageError as problem:
                raise not_found(f"image {request.image.image!r} cannot be had: {problem}") from None
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
        try:
            await asyncio.to_thread(self._store.remove, request.image.image)
        except ImageError as problem:
            raise invalid(str(problem)) from None
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

    def _is_oci(self, handler: str) -> bool:
        return (handler or self._default_handler) == "oci"


def stored_image(image: StoredImage) -> api.Image:
    """Describe an image of the store."""
    user, _, _ = (image.config.get("User") or "0").partition(":")
    described = api.Image(
        id=image.id,
        repo_tags=image.tags,
        repo_digests=image.digests,
        size=image.size,
        spec=api.ImageSpec(image=image.names[0] if image.names else image.id),
    )
    if user.isdigit():
        described.uid.value = int(user)
    else:
        described.username = user
    return described


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
