"""The root folder of a container: an image's layers under a writable one, or the machine's programs; and the mounts in
it."""

from __future__ import annotations

import sys
from pathlib import Path, PurePosixPath

from k8sext.infra.cri.container_config import resolv_conf
from k8sext.infra.cri.handlers.mounts import Mount, make_sources, mounts_of
from k8sext.infra.cri.proto import api_pb2 as api
from k8sext.infra.cri.shimclient import SOURCE_ROOT
from k8sext.infra.cri.store import Sandbox

MACHINES = Path("/etc/resolv.conf")
PREFIX = """
if [ -d /sys/fs/cgroup/unified ]; then mount -t tmpfs none /sys/fs/cgroup/unified; fi
if [ -n "$1" ]; then mount -t overlay overlay -o "$1" "$2" || cp -a --reflink=auto "$3/." "$2"; fi
shift 3
exec "$@"
"""
"""Run in a mount namespace, which takes its mounts with it when it ends: the container's writable layer is laid over
its image, and crun, which refuses to start beside two generations of cgroups, is shown one."""
NO_LAYERS = ["", "", ""]


def layers(folder: Path, image: Path | None) -> list[str]:
    """Return the arguments of PREFIX: overlayfs's options, the mount point and the lower layer, which is the
    image's."""
    (folder / "rootfs").mkdir(exist_ok=True)
    if image is None:
        return NO_LAYERS
    for name in ("upper", "overlay"):
        (folder / name).mkdir(exist_ok=True)
    options = f"lowerdir={image},upperdir={folder / 'upper'},workdir={folder / 'overlay'}"
    return [options, str(folder / "rootfs"), str(image)]


def mounts_in(
    folder: Path, config: api.ContainerConfig, sandbox: Sandbox, image: Path | None, handler: str
) -> list[Mount]:
    """Return all mounts of a container, what stands in another after it: an image's folders first, then the shallow
    before the deep."""
    mounts = mounts_of(config, handler)
    make_sources(mounts)
    text = resolv_conf(sandbox.config.dns_config)
    if not text and image is not None and MACHINES.exists():  # an image has none; containerd gives it the machine's
        text = MACHINES.read_text()
    if text:
        (folder / "resolv.conf").write_text(text)
        mounts.append(Mount(str(folder / "resolv.conf"), "/etc/resolv.conf"))
    mounts.sort(key=lambda mount: len(PurePosixPath(mount.target).parts))
    return [*(_built_in(folder / "rootfs") if image is None else []), *mounts]


def _built_in(root: Path) -> list[Mount]:
    """The workbook's image: the machine's programs and this Python environment, not to be written to, in an empty root
    folder."""
    (root / "tmp").mkdir(parents=True, exist_ok=True)
    (root / "tmp").chmod(0o1777)
    there: list[str] = []
    for name in ("usr", "bin", "sbin", "lib", "lib32", "lib64", "etc", "opt"):
        place = Path("/", name)
        if place.is_symlink():
            link = root / name
            if not link.is_symlink():
                link.symlink_to(place.readlink())
        elif place.exists():
            there.append(str(place))
    for place in dict.fromkeys((sys.prefix, sys.base_prefix, str(SOURCE_ROOT))):
        if not any(PurePosixPath(place).is_relative_to(other) for other in there):
            there.append(place)
    return [Mount(place, place, True) for place in there]
