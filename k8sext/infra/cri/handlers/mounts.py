"""The mounts of a container: which are well formed, and which kinds no handler knows."""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import NamedTuple

from k8sext.infra.cri.handlers.security import cannot
from k8sext.infra.cri.proto import api_pb2 as api
from k8sext.infra.grpc import invalid_argument


class Mount(NamedTuple):
    """A folder or file of the machine and where a container sees it."""

    source: str
    target: str
    readonly: bool = False


def mounts_of(config: api.ContainerConfig, handler: str) -> list[Mount]:
    """Return a container's mounts; raise StatusError for one that is malformed or of a kind that `handler` does not
    know."""
    found: list[Mount] = []
    for mount in config.mounts:
        target = PurePosixPath(mount.container_path)
        if not target.is_absolute() or ".." in target.parts or str(target) == "/":
            raise invalid_argument(
                f"cannot mount at {mount.container_path!r}: give an absolute path without '..', and not the root folder"
            )
        if mount.HasField("image"):
            raise cannot(handler, "mount images", "use another kind of volume")
        if not PurePosixPath(mount.host_path).is_absolute():
            raise invalid_argument(f"cannot mount {mount.host_path!r}: the path on the machine must be absolute")
        if mount.propagation != api.PROPAGATION_PRIVATE:
            raise cannot(
                handler,
                f"mount at {target} with mount propagation: it has only private mounts",
                "remove mountPropagation",
            )
        if mount.uidMappings or mount.gidMappings:
            raise cannot(handler, f"map user ids in the mount at {target}", "remove hostUsers: false")
        found.append(Mount(mount.host_path, str(target), mount.readonly))
    return found


def make_sources(mounts: list[Mount]) -> None:
    """Make folders of what is to be mounted and is not there."""
    for mount in mounts:
        if not Path(mount.source).exists():
            Path(mount.source).mkdir(parents=True, exist_ok=True)
