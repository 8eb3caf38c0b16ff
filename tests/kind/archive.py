"""Container images of one layer, written as the archives that `docker load` and `ctr images import` read.

Format: https://github.com/moby/docker-image-spec (v1.2, combined image and filesystem changeset).
"""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Mapping
from pathlib import Path

from k8sext.cluster.programs import architecture


def write(archive: Path, tag: str, files: Mapping[str, Path | str], entrypoint: list[str] | None = None) -> None:
    """Write an image called tag: files by their path inside, each a file outside or, as text, the target of a symbolic
    link."""
    layer = _layer(files)
    config = {
        "architecture": architecture(),
        "os": "linux",
        "config": {"Entrypoint": entrypoint, "Env": ["PATH=/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"]},
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(layer).hexdigest()}"]},
    }
    text = json.dumps(config).encode()
    name = f"{hashlib.sha256(text).hexdigest()}.json"
    manifest = [{"Config": name, "RepoTags": [tag], "Layers": ["layer.tar"]}]
    with tarfile.open(archive, "w") as tar:
        for member, content in ((name, text), ("layer.tar", layer), ("manifest.json", json.dumps(manifest).encode())):
            _add(tar, member, content)


def _layer(files: Mapping[str, Path | str]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for folder in ("tmp", "usr", "usr/local", "usr/local/bin", "etc", "run", "var"):
            entry = tarfile.TarInfo(folder)
            entry.type, entry.mode = tarfile.DIRTYPE, 0o1777 if folder == "tmp" else 0o755
            tar.addfile(entry)
        for path, source in sorted(files.items()):
            if isinstance(source, Path):
                _add(tar, path.lstrip("/"), source.read_bytes(), 0o755)
            else:
                entry = tarfile.TarInfo(path.lstrip("/"))
                entry.type, entry.linkname = tarfile.SYMTYPE, source
                tar.addfile(entry)
    return out.getvalue()


def _add(tar: tarfile.TarFile, name: str, content: bytes, mode: int = 0o644) -> None:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode = len(content), mode
    tar.addfile(entry, io.BytesIO(content))
