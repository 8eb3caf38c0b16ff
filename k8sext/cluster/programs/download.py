"""Official releases, checked against the checksums published beside them.

Addresses: https://kubernetes.io/releases/download/ and https://github.com/etcd-io/etcd/releases.
K8SEXT_KUBERNETES_MIRROR and K8SEXT_ETCD_MIRROR name other places with the same folders and files, for classrooms
without internet.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import tarfile
from collections.abc import Coroutine, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import aiohttp

from k8sext.cluster.errors import ClusterError, Unavailable
from k8sext.cluster.programs.progress import Progress, Step
from k8sext.versions import ETCD, KUBERNETES

KUBERNETES_RELEASES = "https://dl.k8s.io"
ETCD_RELEASES = "https://github.com/etcd-io/etcd/releases/download"
REACH_WITHIN = 6.0
STALLED_AFTER = 30.0
TRIES = 3
Result = TypeVar("Result")


@dataclass(frozen=True)
class Release:
    """Where a program is published: the address of the file that holds it, and that of its SHA-256."""

    name: str
    address: str
    sums: str
    member: str = ""
    """The file is a tar archive, in which the program is this."""


def fetch(names: Iterable[str], folder: Path, architecture: str, progress: Progress) -> None:
    """Put the named programs into folder, each whole and checked or not at all.

    Raises Unavailable when the place cannot be reached, ClusterError when a checksum does not fit.
    """
    fetch_releases([_release(name, architecture) for name in names], folder, progress)


def fetch_releases(releases: Sequence[Release], folder: Path, progress: Progress) -> None:
    """The same for programs of others."""
    asyncio.run(_fetch_all(releases, folder, progress))


async def _fetch_all(releases: Sequence[Release], folder: Path, progress: Progress) -> None:
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=REACH_WITHIN, sock_read=STALLED_AFTER)
    async with aiohttp.ClientSession(timeout=timeout, trust_env=True, raise_for_status=True) as session:
        sums = await _all([_published_sum(session, release) for release in releases])
        with progress.step(f"Downloading {', '.join(one.name for one in releases)}", unit="MB") as step:
            pairs = zip(releases, sums, strict=True)
            await _all([_download(session, release, checksum, folder, step) for release, checksum in pairs])


async def _all(works: Sequence[Coroutine[Any, Any, Result]]) -> list[Result]:
    """Do all at once; when one fails the others are stopped, and have stopped, before its error is raised."""
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(work) for work in works]
    except ExceptionGroup as errors:
        raise errors.exceptions[0] from None
    return [task.result() for task in tasks]


def _release(name: str, architecture: str) -> Release:
    if name == "etcd":
        base = (os.environ.get("K8SEXT_ETCD_MIRROR") or ETCD_RELEASES).rstrip("/")
        folder = f"etcd-{ETCD}-linux-{architecture}"
        return Release(name, f"{base}/{ETCD}/{folder}.tar.gz", f"{base}/{ETCD}/SHA256SUMS", f"{folder}/etcd")
    base = (os.environ.get("K8SEXT_KUBERNETES_MIRROR") or KUBERNETES_RELEASES).rstrip("/")
    address = f"{base}/{KUBERNETES}/bin/linux/{architecture}/{name}"
    return Release(name, address, f"{address}.sha256")


async def _published_sum(session: aiohttp.ClientSession, release: Release) -> str:
    """The SHA-256 published for a file. It doubles as the question whether the place can be reached."""
    try:
        async with asyncio.timeout(2 * REACH_WITHIN), session.get(release.sums) as answer:
            text = await answer.text()
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        raise Unavailable(f"{release.sums} cannot be reached ({_reason(error)})") from error
    wanted = release.address.rpartition("/")[2]
    for line in text.splitlines():
        digest, _, file = line.partition(" ")
        if len(digest) == 64 and file.strip(" *") in ("", wanted):
            return digest.lower()
    raise Unavailable(f"{release.sums} names no checksum of {wanted}")


async def _download(session: aiohttp.ClientSession, release: Release, checksum: str, folder: Path, step: Step) -> None:
    partial = folder / f"{release.name}.partial"
    digest = await _save_with_patience(session, release.address, partial, step)
    if digest != checksum:
        partial.unlink()
        raise ClusterError(
            f"{release.address} is not what was published: its SHA-256 is {digest}, and {checksum} was promised. "
            "The file was thrown away. Try again; if it stays so, do not trust the mirror or the network between."
        )
    if release.member:
        program = folder / f"{release.name}.partial-program"
        _unpack(partial, release.member, program)
        partial.unlink()
        partial = program
    partial.chmod(0o755)
    partial.replace(folder / release.name)


async def _save_with_patience(session: aiohttp.ClientSession, address: str, file: Path, step: Step) -> str:
    """Try again when a connection breaks: the source after this one takes minutes."""
    for _ in range(TRIES - 1):
        with contextlib.suppress(aiohttp.ClientError, TimeoutError):
            return await _save(session, address, file, step)
    try:
        return await _save(session, address, file, step)
    except (aiohttp.ClientError, TimeoutError) as error:
        raise Unavailable(f"{address} broke off {TRIES} times ({_reason(error)})") from error


async def _save(session: aiohttp.ClientSession, address: str, file: Path, step: Step) -> str:
    """Stream an address into a file; returns its SHA-256."""
    digest = hashlib.sha256()
    async with session.get(address) as answer:
        with file.open("wb") as out:
            async for chunk in answer.content.iter_chunked(1 << 20):
                digest.update(chunk)
                out.write(chunk)
                step.advance(len(chunk) / 1e6)
    return digest.hexdigest()


def _unpack(archive: Path, member: str, target: Path) -> None:
    """Write the one member of a tar archive to target, whatever else the archive holds."""
    with tarfile.open(archive) as tar:
        source = tar.extractfile(member)
        if source is None:
            raise ClusterError(
                f"{archive.name} holds no file {member}: the mirror has another layout than the official releases."
            )
        with source, target.open("wb") as out:
            while chunk := source.read(1 << 20):
                out.write(chunk)


def _reason(error: BaseException) -> str:
    if isinstance(error, aiohttp.ClientResponseError):
        return f"HTTP {error.status}"
    return str(error) or type(error).__name__
