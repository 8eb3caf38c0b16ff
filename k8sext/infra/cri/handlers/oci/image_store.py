"""Images on disk: fetched by skopeo, unpacked by umoci, found again by name or id.

How layers are fetched and laid on each other is not what is taught here, so kept programs do it. What remains is
to distrust the input: an archive may be a bomb, and what cannot be unpacked must leave nothing behind.

    index.json          name to id; what came from a registry has two: registry/name:tag and registry/name@digest
    <id>/image.json     id, size and the image's config (Entrypoint, Cmd, Env, User, WorkingDir, StopSignal)
    <id>/rootfs/        the files, the layers laid on each other
"""

from __future__ import annotations

import base64
import fcntl
import hashlib
import json
import os
import re
import subprocess
import tarfile
import tempfile
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any, NamedTuple

from k8sext.infra.cri.handlers.oci.capability_checks import missing_for_images, owner_is_root, program_at
from k8sext.infra.cri.store import remove_tree, write_aside
from k8sext.kube.objects import Json

LARGEST_IMAGE = 8 << 30
FETCH_SECONDS = 600
_REFERENCE = re.compile(r"[a-z0-9][A-Za-z0-9._\-/:@\[\]]{0,254}")


class ImageError(Exception):
    """An image cannot be had; the message says why."""


class StoredImage(NamedTuple):
    """An unpacked image."""

    id: str
    names: list[str]
    size: int
    config: Json
    rootfs: Path

    @property
    def tags(self) -> list[str]:
        """The names that may come to mean another image."""
        return [name for name in self.names if "@" not in name]

    @property
    def digests(self) -> list[str]:
        """The names that mean this image for ever."""
        return [name for name in self.names if "@" in name]


class ImageStore:
    """The images of one machine; several processes may use it."""

    def __init__(self, folder: Path) -> None:
        """`folder` is made when the first image comes."""
        self.folder = folder

    def all(self) -> list[StoredImage]:
        """Return every image."""
        names = self._names()
        return [found for identifier in dict.fromkeys(names.values()) if (found := self._read(identifier, names))]

    def find(self, reference: str) -> StoredImage | None:
        """Return the image of a name or an id, None when it is not here."""
        names = self._names()
        identifier = reference if reference in names.values() else names.get(full_name(reference))
        return self._read(identifier, names) if identifier else None

    def load(self, archive: Path, name: str | None = None) -> list[str]:
        """Take over an image from an archive (of `docker save`, or an OCI layout in a tar); return its names. Raises
        ImageError."""
        kind, found = _look_into(archive)
        names = [full_name(name)] if name else found
        if not names:
            raise ImageError(f"{archive} does not say what its image is called: give a name with --name")
        self._take(f"{kind}:{archive.absolute()}", names)
        return names

    def pull(self, reference: str, credentials: str = "") -> str:
        """Fetch an image from its registry and return its id; `credentials` are user:password. Raises ImageError."""
        return self._take(None, [full_name(reference)], credentials)

    def remove(self, reference: str) -> None:
        """Remove an image with all its names, given by any of them or its id. To remove what is not here is no
        error."""
        with self._locked():
            names = self._names()
            identifier = reference if reference in names.values() else names.get(full_name(reference))
            gone = [name for name, other in names.items() if other == identifier]
            write_aside(self.folder / "index.json", json.dumps({n: i for n, i in names.items() if n not in gone}))
            if identifier and self._place(identifier).exists():
                self._place(identifier).rename(self.folder / "new-removed")  # half an image must never be found
                remove_tree(self.folder / "new-removed")

    def _take(self, archive: str | None, names: list[str], credentials: str = "") -> str:
        if missing := missing_for_images():
            raise ImageError(f"images cannot be unpacked here: install {' and '.join(missing)}")
        with self._locked(), tempfile.TemporaryDirectory(prefix="new-", dir=self.folder) as scratch:
            layout = Path(scratch, "layout")
            if archive is None:
                _permit(names[0], credentials, Path(scratch))
                names = list(dict.fromkeys([*names, _with_digest(names[0], Path(scratch))]))
            source = archive or f"docker://{names[-1]}"
            _run([*_skopeo(Path(scratch), "copy"), "--quiet", source, f"oci:{layout}:image"], Path(scratch))
            manifest = _blob(layout, json.loads((layout / "index.json").read_text())["manifests"][0]["digest"])
            identifier = manifest["config"]["digest"]
            if not self._place(identifier).exists():
                self._unpack(layout, manifest, Path(scratch, "image"))
                Path(scratch, "image").rename(self._place(identifier))
            write_aside(self.folder / "index.json", json.dumps(self._names() | dict.fromkeys(names, identifier)))
        return identifier

    def _unpack(self, layout: Path, manifest: Json, target: Path) -> None:
        size = sum(_measure(layout / "blobs" / "sha256" / _hex(layer["digest"])) for layer in manifest["layers"])
        if size > LARGEST_IMAGE:
            raise ImageError(f"the image is larger than {LARGEST_IMAGE >> 30} GB when it is unpacked: it is not taken")
        config = _blob(layout, manifest["config"]["digest"]).get("config") or {}
        target.mkdir()
        rootless = [] if owner_is_root() else ["--rootless"]
        umoci = [str(program_at("umoci")), "raw", "unpack", *rootless, "--image", f"{layout}:image"]
        _run(["prlimit", f"--fsize={LARGEST_IMAGE}", *umoci, str(target / "rootfs")], target)
        (target / "rootfs").chmod(0o755)
        (target / "image.json").write_text(
            json.dumps({"id": manifest["config"]["digest"], "size": size, "config": config})
        )

    def _names(self) -> dict[str, str]:
        try:
            return json.loads((self.folder / "index.json").read_text())
        except FileNotFoundError:
            return {}

    def _read(self, identifier: str, names: dict[str, str]) -> StoredImage | None:
        place = self._place(identifier)
        try:
            found = json.loads((place / "image.json").read_text())
        except FileNotFoundError:  # removed since the names were read
            return None
        known = [name for name, other in names.items() if other == identifier]
        return StoredImage(identifier, known, found["size"], found["config"], place / "rootfs")

    def _place(self, identifier: str) -> Path:
        return self.folder / _hex(identifier)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            for left in self.folder.glob("new-*"):  # by one who was killed
                remove_tree(left)
            yield


def full_name(reference: str) -> str:
    """Return a reference with registry and tag, as Docker fills them in; a digest makes a tag idle. Raises ImageError
    for what is none."""
    if not _REFERENCE.fullmatch(reference) or ".." in reference:
        raise ImageError(f"{reference[:80]!r} is no image reference: write it as registry/name:tag")
    first, slash, _ = reference.partition("/")
    if not slash:
        reference = f"docker.io/library/{reference}"
    elif not ("." in first or ":" in first or first == "localhost"):
        reference = f"docker.io/{reference}"
    folder, _, last = reference.rpartition("/")
    name, at, digest = last.partition("@")
    if at:
        return f"{folder}/{name.partition(':')[0]}@{digest}"
    return reference if ":" in name else f"{reference}:latest"


def _skopeo(scratch: Path, verb: str) -> list[str]:
    command = [str(program_at("skopeo")), "--insecure-policy", "--tmpdir", str(scratch), verb]
    return [*command, "--authfile", str(scratch / "auth")] if (scratch / "auth").exists() else command


def _permit(name: str, credentials: str, scratch: Path) -> None:
    """Give skopeo what the registry wants to see: in a file, as everybody may read the command lines of others."""
    if credentials:
        entry = {"auth": base64.b64encode(credentials.encode()).decode()}
        write_aside(scratch / "auth", json.dumps({"auths": {name.partition("/")[0]: entry}}))


def _with_digest(name: str, scratch: Path) -> str:
    """Return the name that means for ever what this one means now: its tag may move on before the image is here."""
    if "@" in name:
        return name
    _run([*_skopeo(scratch, "inspect"), "--raw", f"docker://{name}"], scratch, scratch / "manifest")
    digest = hashlib.sha256((scratch / "manifest").read_bytes()).hexdigest()
    return f"{name.rpartition(':')[0]}@sha256:{digest}"


def _look_into(archive: Path) -> tuple[str, list[str]]:
    """Return skopeo's word for the kind of an archive, and the names that stand in it. Raises ImageError."""
    try:
        with tarfile.open(archive) as tar:
            for member in tar:
                path = os.path.normpath(member.name)
                if path in ("manifest.json", "index.json") and member.isfile() and member.size < 1 << 20:
                    file = tar.extractfile(member)
                    content: Any = json.load(file) if file else None
                    if path == "manifest.json":
                        return "docker-archive", [full_name(tag) for tag in content[0].get("RepoTags") or []]
                    return "oci-archive", _names_in(content)
    except (
        OSError,
        tarfile.TarError,
        ValueError,
        KeyError,
        IndexError,
        TypeError,
        AttributeError,
        EOFError,
    ) as problem:
        raise ImageError(f"{archive} is no image archive: {problem}") from None
    raise ImageError(f"{archive} is no image archive: there is neither a manifest.json nor an index.json in it")


def _names_in(index: Json) -> list[str]:
    annotations = index["manifests"][0].get("annotations") or {}
    keys = ("io.containerd.image.name", "org.opencontainers.image.ref.name")
    return [full_name(annotations[key]) for key in keys if "/" in annotations.get(key, "")][:1]


def _measure(layer: Path) -> int:
    """Return how large a layer is when it is decompressed, without keeping it; stop counting when it is too large."""
    with layer.open("rb") as file:
        magic = file.read(4)
        file.seek(0)
        if magic[:2] != b"\x1f\x8b":
            if magic == b"\x28\xb5\x2f\xfd":
                raise ImageError("the image's layers are compressed with zstd: make it with gzip")
            return layer.stat().st_size
        size, stream = 0, zlib.decompressobj(wbits=31)
        while size <= LARGEST_IMAGE and (chunk := stream.unconsumed_tail or stream.unused_data or file.read(1 << 16)):
            if stream.eof:
                stream = zlib.decompressobj(wbits=31)
            try:
                size += len(stream.decompress(chunk, 1 << 20))
            except zlib.error as problem:
                raise ImageError(f"a layer of the image is damaged: {problem}") from None
        return size


def _blob(layout: Path, digest: str) -> Json:
    return json.loads((layout / "blobs" / "sha256" / _hex(digest)).read_text())


def _hex(digest: str) -> str:
    match = re.fullmatch(r"sha256:([0-9a-f]{64})", digest)
    if match is None:
        raise ImageError(f"{digest[:80]!r} is no sha256 digest: the image is damaged")
    return match[1]


def _run(command: list[str], folder: Path, result: Path | None = None) -> None:
    """Run a program to its end; it is stopped when it takes too long or fills the disk. Raises ImageError with its last
    words.

    What it prints goes to the file `result`, if there is one.
    """
    with tempfile.TemporaryFile() as output, result.open("wb") if result else nullcontext(output) as printed:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=printed, stderr=output, cwd=folder)
        deadline, free = time.monotonic() + FETCH_SECONDS, _free(folder)
        try:
            while process.poll() is None:
                if time.monotonic() > deadline:
                    raise ImageError(f"the image was not there after {FETCH_SECONDS} s: it is not taken")
                if free - _free(folder) > LARGEST_IMAGE:
                    raise ImageError(f"the image fills more than {LARGEST_IMAGE >> 30} GB: it is not taken")
                time.sleep(0.02)
        finally:
            process.kill()
            process.wait()
        output.seek(0)
        lines = output.read().decode(errors="replace").strip().splitlines()
    if process.returncode != 0:
        reason = re.sub(r'^.*msg="(.*)"$', r"\1", lines[-1]) if lines else f"exit code {process.returncode}"
        raise ImageError(f"{Path(command[0]).name} could not do it: {reason[:500]}")


def _free(folder: Path) -> int:
    disk = os.statvfs(folder)
    return disk.f_bavail * disk.f_frsize
