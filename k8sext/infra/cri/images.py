"""The ImageService: one image, built in, which is the Python environment that runs this server; and those that a
handler stores."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from k8sext.infra.cri.built_in import BUILT_IN, IMAGE_ID, built_in_image, is_built_in
from k8sext.infra.cri.handlers import Handler
from k8sext.infra.cri.handlers.by_name import Handlers
from k8sext.infra.cri.handlers.oci.image_store import ImageError, ImageStore, StoredImage
from k8sext.infra.cri.handlers.oci.users import LARGEST_ID, is_number
from k8sext.infra.cri.proto import api_pb2 as api
from k8sext.infra.cri.proto import api_pb2_grpc
from k8sext.infra.grpc import invalid_argument, not_found


class ImageService(api_pb2_grpc.ImageServiceServicer):
    """Answers about the built-in image, and for pods of a handler that stores images about those, too."""

    def __init__(self, folder: Path, handlers: Handlers) -> None:
        """`folder` is where the containers' files stand; its file system is the one that fills up."""
        self._folder, self._handlers = folder, handlers
        self._stores = [store for handler in handlers if (store := handler.images)]
        self._removed = False

    def resolve(self, reference: str, stores: Iterable[ImageStore]) -> api.Image | None:
        """Return the image of a name or an id that is built in or in one of these stores, None when there is none."""
        if not self._removed and is_built_in(reference):
            return built_in_image()
        for store in stores:
            try:
                if found := store.find(reference):
                    return stored_image(found)
            except ImageError:
                continue
        return None

    def stores_of(self, handler: Handler) -> list[ImageStore]:
        """Where pods of a handler find images."""
        return [handler.images] if handler.images else []

    async def ListImages(self, request: api.ListImagesRequest, context: Any) -> api.ListImagesResponse:
        """Return all images, or the one that the filter names."""
        if wanted := request.filter.image.image:
            image = self.resolve(wanted, self._stores)
            return api.ListImagesResponse(images=[image] if image else [])
        images = [] if self._removed else [built_in_image()]
        stored = [stored_image(image) for store in self._stores for image in store.all()]
        return api.ListImagesResponse(images=[*images, *stored])

    async def ImageStatus(self, request: api.ImageStatusRequest, context: Any) -> api.ImageStatusResponse:
        """Return the image, or an answer without one: so a kubelet learns that it must pull."""
        if not request.image.image:
            raise invalid_argument("the image reference is empty: name an image")
        handler = self._handlers.find(request.image.runtime_handler)
        return api.ImageStatusResponse(image=self.resolve(request.image.image, self.stores_of(handler)))

    async def PullImage(self, request: api.PullImageRequest, context: Any) -> api.PullImageResponse:
        """Succeed for the built-in image, fetch another, and tell why it cannot be had. Kubelets show that as
        ErrImagePull."""
        name, handler = request.image.image, self._handlers.find(request.image.runtime_handler)
        if not is_built_in(name):
            if handler.images is None:
                raise not_found(
                    f"image {name!r} is not available: the runtime handler {handler.name!r} runs programs of this "
                    "machine and "
                    f"fetches no images; use {BUILT_IN}, which holds this Python environment and the usual small "
                    "commands"
                )
            credentials = f"{request.auth.username}:{request.auth.password}" if request.auth.username else ""
            try:
                image_ref = await asyncio.to_thread(handler.images.pull, name, credentials)
            except ImageError as problem:
                raise not_found(f"image {name!r} cannot be had: {problem}") from None
            return api.PullImageResponse(image_ref=image_ref)
        self._removed = False
        return api.PullImageResponse(image_ref=IMAGE_ID)

    async def RemoveImage(self, request: api.RemoveImageRequest, context: Any) -> api.RemoveImageResponse:
        """Forget the image until it is pulled again. To remove what is not there is no error."""
        if not request.image.image:
            raise invalid_argument("the image reference is empty: name an image")
        self._removed = self._removed or is_built_in(request.image.image)
        try:
            for store in self._stores:
                await asyncio.to_thread(store.remove, request.image.image)
        except ImageError as problem:
            raise invalid_argument(str(problem)) from None
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
    if is_number(user) and int(user) <= LARGEST_ID:
        described.uid.value = int(user)
    else:
        described.username = user
    return described
