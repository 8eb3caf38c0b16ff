"""The two images of a kind cluster: that of its nodes, pinned, and the workbook's own for its pods, built from the
Dockerfile."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from k8sext import __version__
from k8sext.cluster.docker import explain, has_image
from k8sext.cluster.errors import ClusterError
from k8sext.cluster.programs.progress import Progress

NODE = "kindest/node:v1.37.0@sha256:a1ed56cfb0e7b93589bdf97c8cd566405a265939e3620fc4f5de89adff580ae5"
WORKBOOK = f"localhost/k8sext:{__version__}"
SOURCE = Path(__file__).parents[4]


def node_image(progress: Progress) -> str:
    """The nodes' image: $K8SEXT_KIND_NODE_IMAGE, else the pinned one; pulled if Docker does not have it. Raises
    ClusterError."""
    image = os.environ.get("K8SEXT_KIND_NODE_IMAGE") or NODE
    if not has_image(image):
        with progress.step(f"Pulling {image.partition('@')[0]} (about 400 MB)"):
            done = subprocess.run(["docker", "pull", "--quiet", image], capture_output=True, text=True)
        if done.returncode != 0:
            raise ClusterError(
                explain(done.stderr, f"The node image {image.partition('@')[0]} cannot be had")
                + " (connect this machine to the internet, or name an image that Docker has with "
                "K8SEXT_KIND_NODE_IMAGE)"
            )
    return image


def load(kind: Path, cluster: str, *containers: str) -> None:
    """Hand the workbook's image to a cluster's nodes, to all of them or to those in the named containers. Raises
    ClusterError."""
    command = [str(kind), "load", "docker-image", f"--name={cluster}", WORKBOOK]
    if containers:
        command.append(f"--nodes={','.join(containers)}")
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        raise ClusterError(explain(done.stderr, f"The image {WORKBOOK} cannot be loaded into the nodes"))


def workbook_image(progress: Progress) -> str:
    """The image for the workbook's pods, built anew when its sources have changed. Raises ClusterError."""
    if not (SOURCE / "Dockerfile").exists():
        if has_image(WORKBOOK):
            return WORKBOOK
        raise ClusterError(
            f"There is no Dockerfile in {SOURCE} to build the image {WORKBOOK} from: install the workbook from a clone "
            "of its repository."
        )
    command = ["docker", "build", "--tag", WORKBOOK]
    if base := os.environ.get("K8SEXT_IMAGE_BASE"):
        command += ["--network", "host", "--build-arg", f"BASE={base}"]
    with progress.step(f"Building the image {WORKBOOK}"):
        done = subprocess.run([*command, str(SOURCE)], capture_output=True, text=True)
    if done.returncode != 0:
        raise ClusterError(explain(done.stderr or done.stdout, f"The image {WORKBOOK} cannot be built"))
    return WORKBOOK
