"""What critest runs containers of, made from the busybox of this machine: layers of images, an archive, and an
environment of Python."""

from __future__ import annotations

import hashlib
import io
import json
import re
import subprocess
import sys
import sysconfig
import tarfile
import venv
from collections.abc import Sequence
from pathlib import Path

import k8sext

PASSWD = """root:x:0:0:root:/root:/bin/sh
www-data:x:33:33::/www:/bin/false
default-user:x:1000:1000::/home:/bin/sh
nobody:x:65534:65534::/home:/bin/false
"""
GROUP = """root:x:0:
www-data:x:33:
default-group:x:1000:
additional:x:50000:default-user
nogroup:x:65534:
"""
FOLDERS = ("bin", "etc", "root", "home", "var", "www")


def commands(busybox: str) -> list[str]:
    """Return the commands that a busybox holds."""
    return subprocess.run([busybox, "--list"], capture_output=True, text=True, check=True).stdout.split()


def image(archive: Path, name: str, busybox: str, command: list[str]) -> None:
    """Write an image as `docker save` would: one layer, and the command it runs."""
    layer = base(busybox)
    config = {"Env": ["PATH=/bin"], "Cmd": command}
    digests = {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(layer).hexdigest()}"]}
    described = {"architecture": "amd64", "os": "linux", "config": config, "rootfs": digests}
    manifest = [{"Config": "config.json", "RepoTags": [name], "Layers": ["0.tar"]}]
    parts = {"manifest.json": json.dumps(manifest).encode(), "config.json": json.dumps(described).encode()}
    archive.write_bytes(tar({**parts, "0.tar": layer}))


def base(busybox: str) -> bytes:
    """Return the layer that all images stand on: busybox with its commands, some users, and a page to be served."""
    files = {"bin/busybox": Path(busybox).read_bytes(), "www/index.html": b"ok\n"}
    files |= {"etc/passwd": PASSWD.encode(), "etc/group": GROUP.encode()}
    return tar({f"{name}/": b"" for name in FOLDERS} | {"tmp/": b""} | files, links=commands(busybox))


def program(path: str) -> dict[str, bytes]:
    """Return a program of this machine and the libraries it is linked with, each by its path."""
    linked = subprocess.run(["ldd", path], capture_output=True, text=True, check=False).stdout
    found = [path, *re.findall(r"(/\S+) \(0x", linked)]
    return {name.lstrip("/"): Path(name).read_bytes() for name in found}


def environment(folder: Path, busybox: str) -> Path:
    """Make a Python environment that holds ours and, as critest expects of its image, the commands of busybox; return
    its python."""
    venv.create(folder, with_pip=False)
    packages = Path(sysconfig.get_path("purelib", vars={"base": str(folder), "platbase": str(folder)}))
    (packages / "ours.pth").write_text(f"{sysconfig.get_path('purelib')}\n{Path(k8sext.__file__).parents[1]}\n")
    for name in commands(busybox):
        if not (link := folder / "bin" / name).exists():
            link.symlink_to(busybox)
    return folder / "bin" / Path(sys.executable).name


def tar(files: dict[str, bytes], links: Sequence[str] = (), setuid: str = "") -> bytes:
    """Return an archive of files, of folders (their names end in a slash), and of hard links to busybox."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, content in files.items():
            entry = tarfile.TarInfo(name.rstrip("/"))
            entry.type = tarfile.DIRTYPE if name.endswith("/") else tarfile.REGTYPE
            entry.size = len(content)
            entry.mode = 0o1777 if name == "tmp/" else 0o4755 if name == setuid else 0o755
            archive.addfile(entry, io.BytesIO(content))
        for name in (name for name in links if name != "busybox"):
            entry = tarfile.TarInfo(f"bin/{name}")
            entry.type, entry.linkname, entry.mode = tarfile.LNKTYPE, "bin/busybox", 0o755
            archive.addfile(entry)
    return buffer.getvalue()
