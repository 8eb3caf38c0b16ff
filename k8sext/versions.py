"""The versions the whole workbook stands on. To bump Kubernetes: `make bump VERSION=1.37.3`."""

from __future__ import annotations

KUBERNETES = "v1.37.2"
ETCD = "v3.7.3"
# The oldest etcd that kube-apiserver of this version works well with.
ETCD_MINIMUM = (3, 6)
GO_MINIMUM = (1, 26)


def minor(version: str) -> tuple[int, int]:
    """`v1.37.2` or `1.37.2+k3s1` to (1, 37). Raises ValueError when there is no such beginning."""
    parts = version.lstrip("v").split(".")
    if len(parts) < 2:
        raise ValueError(f"{version!r} is not a version like v1.37.2")
    return int(parts[0]), int(parts[1])
