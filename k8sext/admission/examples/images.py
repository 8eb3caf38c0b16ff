"""Which images may run: from known registries only, and never `:latest`, which is another image tomorrow."""

from __future__ import annotations

from k8sext.admission import Denied, ImageRequest, image_policy

ALLOWED_REGISTRIES = ("localhost", "registry.k8s.io")


@image_policy
def known_images(request: ImageRequest) -> None:
    """Refuse the first image that breaks a rule, and say which rule."""
    for image in request.images:
        registry, tag = registry_of(image), tag_of(image)
        if registry not in ALLOWED_REGISTRIES:
            raise Denied(f"{image} comes from {registry}; allowed are {', '.join(ALLOWED_REGISTRIES)}")
        if tag == "latest":
            raise Denied(f"{image} means :latest, which changes under your feet; name a version")


def registry_of(image: str) -> str:
    """The host part of an image name; without one it is Docker Hub's, as every runtime has it."""
    first, slash, _ = image.partition("/")
    return first if slash and (first == "localhost" or "." in first or ":" in first) else "docker.io"


def tag_of(image: str) -> str:
    """The tag of an image name: latest where there is none, the empty text where a digest says it all."""
    if "@" in image:
        return ""
    _, _, tag = image.rsplit("/", 1)[-1].partition(":")
    return tag or "latest"
