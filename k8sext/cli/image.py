"""`k8sext image`: images for pods of RuntimeClass `oci`, from archives, where no registry can be reached."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from k8sext.cluster.errors import ClusterError
from k8sext.cluster.paths import layout

app = typer.Typer(help="Images for pods of RuntimeClass oci.", no_args_is_help=True)
Cluster = Annotated[str | None, typer.Option("--cluster", help="The cluster (default: $K8SEXT_CLUSTER or k8sext).")]
Data = Annotated[str | None, typer.Option("--data", help="The folder of its files, if it has one of its own.")]


@app.command()
def load(
    archive: Annotated[
        Path, typer.Argument(help="What `docker save` or `podman save` wrote, or an OCI layout in a tar.")
    ],
    name: Annotated[str | None, typer.Option(help="What to call it (default: what the archive says).")] = None,
    cluster: Cluster = None,
    data: Data = None,
) -> None:
    """Unpack an image for all nodes of a cluster; pods use it with imagePullPolicy: IfNotPresent or Never."""
    from k8sext.infra.cri.handlers.oci.image_store import ImageError, ImageStore

    try:
        names = ImageStore(_folder(cluster, data)).load(archive, name)
    except ImageError as error:
        raise ClusterError(f"{error}.") from None
    print(f"Loaded {', '.join(names)}.")


@app.command("list")
def list_images(cluster: Cluster = None, data: Data = None) -> None:
    """List what was loaded or pulled, with sizes."""
    from k8sext.infra.cri.handlers.oci.image_store import ImageStore

    for image in ImageStore(_folder(cluster, data)).all():
        print(f"{', '.join(image.tags or image.digests):60} {image.size / 1e6:8.1f} MB")


def _folder(name: str | None, data: str | None) -> Path:
    where = layout(name, data)
    if not where.config.exists():
        raise ClusterError(f"There is no cluster {where.name}: start it with `k8sext up`.")
    return where.images
