"""The image that is built in: the Python environment that runs this server, seen as an image."""

from __future__ import annotations

import hashlib
import os
import sys
from pathlib import Path

from k8sext import __version__
from k8sext.infra.cri.proto import api_pb2 as api

BUILT_IN = f"localhost/k8sext:{__version__}"
IMAGE_ID = "sha256:" + hashlib.sha256(BUILT_IN.encode()).hexdigest()
DEFAULT_PATH = f"{sys.prefix}/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def is_built_in(reference: str) -> bool:
    """Is this its name or its id?"""
    return reference in (BUILT_IN, IMAGE_ID)


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
