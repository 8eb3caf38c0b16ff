"""Official releases, checked against the checksums published beside them.

Addresses: https://kubernetes.io/releases/download/ and https://github.com/etcd-io/etcd/releases. K8SEXT_KUBERNETES_MIRROR and
K8SEXT_ETCD_MIRROR name other places with the same folders and files, for classrooms without internet.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import tarfile
from collections.abc import Coroutine, Iterable, Sequence
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


def fetch(names: Iterable[str], folder: Path, architecture: str, progress: Progress) -> None:
    """Put the named programs into folder, each whole and checked or not at all.

    Raises Unavailable when the place cannot be reached, ClusterError when a checksum does not fit.
    """
    asyncio.run(_fetch_all(list(names), folder, architecture, progress))


async def _fetch_all(names: list[str], folder: Path, architecture: str, progress: Progress) -> None:
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=REACH_WITHIN, sock_read=STALLED_AFTER)
    async with aiohttp.ClientSession(timeout=timeout, trust_env=True, raise_for_status=True) as session:
        sums = await _all([_published_sum(session, name, architecture) for name in names])
        with progress.step(f"Downloading {', '.join(names)}", unit="MB") as step:
            downloads = [
                _download(session, name, checksum, folder, architecture, step)
                for name, checksum in zip(names, sums, strict=True)
            ]
            await _all(downloads)


async def _all(works: Sequence[Coroutine[Any, Any, Result]]) -> list[Result]:
    """Do all at once; when one fails the others are stopped, and have stopped, before its error is raised."""
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(work) for work in works]
    except ExceptionGroup as errors:
        raise errors.exceptions[0] from None
    return [task.result() for task in tasks]


def _address(name: str, architecture: str) -> str:
    """Where the file stands that holds a program."""
    if name == "etcd":
        base = os.environ.get("K8SEXT_ETCD_MIRROR") or ETCD_RELEASES
        return f"{base.rstrip('/')}/{ETCD}/etcd-{ETCD}-linux-{architecture}.tar.gz"
    base = os.environ.get("K8SEXT_KUBERNETES_MIRROR") or KUBERNETES_RELEASES
    return f"{base.rstrip('/')}/{KUBERNETES}/bin/linux/{architecture}/{name}"


async def _published_sum(session: aiohttp.ClientSession, name: str, architecture: str) -> str:
    """The SHA-256 published for the file that holds a program. It doubles as the question whether the place can be reached."""
    address = _address(name, architecture)
    sums = address.rpartition("/")[0] + "/SHA256SUMS" if name == "etcd" else f"{address}.sha256"
    try:
        async with asyncio.timeout(2 * REACH_WITHIN), session.get(sums) as answer:
            text = await answer.text()
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        raise Unavailable(f"{sums} cannot be reached ({_reason(error)})") from error
    for line in text.splitlines():
        digest, _, file = line.partition(" ")
        if len(digest) == 64 and file.strip(" *") in ("", address.rpartition("/")[2]):
            return digest.lower()
    raise Unavailable(f"{sums} names no checksum of {address.rpartition('/')[2]}")


async def _download(
    session: aiohttp.ClientSession, name: str, checksum: str, folder: Path, architecture: str, step: Step
) -> None:
    address = _address(name, architecture)
    partial = folder / f"{name}.partial"
    digest = await _save_with_patience(session, address, partial, step)
    if digest != checksum:
        partial.unlink()
        raise ClusterError(
            f"{address} is not what was published: its SHA-256 is {digest}, and {checksum} was promised. "
            "The file was thrown away. Try again; if it stays so, do not trust the mirror or the network between."
        )
    if name == "etcd":
        _unpack(partial, f"etcd-{ETCD}-linux-{architecture}/etcd", folder / "etcd.partial-program")
        partial.unlink()
        partial = folder / "etcd.partial-program"
    partial.chmod(0o755)
    partial.replace(folder / name)


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
