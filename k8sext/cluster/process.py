"""Starting, asking and stopping child processes: the little that the supervisor and the private API server share.
Standard library only."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import shutil
import signal
import ssl
import subprocess
from pathlib import Path

from k8sext.cluster.components import Component
from k8sext.cluster.errors import ClusterError

PR_SET_PDEATHSIG = 1
ETCD_PIECE = 64 * 2**20
"""Bytes by which etcd's log of writes grows: with less free it ends."""
LOG_LIMIT = 16 * 2**20
"""Bytes of a log before it begins anew."""
_libc = ctypes.CDLL(None)


def _die_with_parent() -> None:
    # Also when the parent is killed by SIGKILL, nothing of the cluster stays behind.
    _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def start(component: Component, log: Path) -> subprocess.Popen[bytes]:
    """Start a component as a child in a session of its own; what it prints goes to the end of log.

    It dies with this process, whatever happens. Raises ClusterError when the program cannot be run.
    """
    # Settings for kubectl and etcd are not meant for these programs, and a proxy is not on the way to loopback.
    environment = {
        key: value
        for key, value in os.environ.items()
        if not key.startswith(("KUBE", "ETCD_")) and not key.lower().endswith("_proxy")
    }
    with log.open("ab") as output:
        try:
            return subprocess.Popen(
                component.command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd="/",
                env={**environment, **component.environment},
                start_new_session=True,
                preexec_fn=_die_with_parent,  # noqa: PLW1509 (one call of the C library, no lock of Python's)
            )
        except OSError as error:
            raise ClusterError(
                f"{component.name} cannot be started from {component.command[0]}: {error.strerror}."
            ) from error


def tls_context(pki: Path, client: str | None = None) -> ssl.SSLContext:
    """A context that trusts the cluster's CA and, if named, shows the client certificate of that name."""
    context = ssl.create_default_context(cafile=str(pki / "ca.crt"))
    if client:
        context.load_cert_chain(pki / f"{client}.crt", pki / f"{client}.key")
    return context


async def get(port: int, path: str, context: ssl.SSLContext, timeout: float = 3.0) -> tuple[int, str]:
    """GET https://127.0.0.1:port/path: status code and body, (0, reason) when there is no answer within timeout
    seconds."""
    return await _request(
        f"GET {path} HTTP/1.0\r\nHost: 127.0.0.1\r\nAccept: application/json\r\n\r\n", port, context, timeout
    )


async def merge_patch(
    port: int, path: str, context: ssl.SSLContext, patch: str, timeout: float = 3.0
) -> tuple[int, str]:
    """Change an object of the API server by a JSON merge patch (RFC 7386); answers as get() does."""
    head = f"PATCH {path} HTTP/1.0\r\nHost: 127.0.0.1\r\nContent-Length: {len(patch)}\r\n"
    return await _request(f"{head}Content-Type: application/merge-patch+json\r\n\r\n{patch}", port, context, timeout)


async def _request(text: str, port: int, context: ssl.SSLContext, timeout: float) -> tuple[int, str]:
    try:
        async with asyncio.timeout(timeout):
            reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
            with contextlib.closing(writer):
                writer.write(text.encode())
                head, _, body = (await reader.read()).partition(b"\r\n\r\n")
        return int(head.split(maxsplit=2)[1]), body.decode(errors="replace")
    except (OSError, TimeoutError, ValueError, IndexError) as error:
        return 0, str(error) or type(error).__name__


def stop(process: subprocess.Popen[bytes], patience: float) -> None:
    """Ask a process to end, and make it end after so many seconds. Its whole group goes with it."""
    if process.poll() is None:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(patience)
    kill_group(process)


def kill_group(process: subprocess.Popen[bytes]) -> None:
    """Kill a process and what it started (start() made it the leader of its group), and collect its exit code."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def trim(log: Path) -> None:
    """Let a log that has grown too long begin anew; what it held stands in FILE.1, until the next time.

    It is copied, not renamed, since the program goes on writing to the end of the file that it has open.
    """
    with contextlib.suppress(FileNotFoundError):
        if log.stat().st_size > LOG_LIMIT:
            with contextlib.suppress(OSError):  # on a full disk rather lose it
                shutil.copyfile(log, log.with_name(f"{log.name}.1"))
            os.truncate(log, 0)


def full_disk(name: str, log: Path, folder: Path) -> str:
    """The sentence about a program that ended because the disk with its data is full; "" for any other end."""
    free = shutil.disk_usage(folder).free
    if free < ETCD_PIECE and "no space left on device" in last_words(log, 1000).lower():
        return (
            f"The disk that holds {folder} is full: it has {free >> 20} MB left, and {name} ended for want of more. "
            "Make room there, or "
            "name another place (--data or K8SEXT_STATE for a cluster, TMPDIR for a private API server)."
        )
    return ""


def last_words(log: Path, lines: int = 3) -> str:
    """The last lines of a log that say something, for an error message."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - 8192))
            text = file.read().decode(errors="replace")
    except OSError:
        return ""
    return "\n".join([line for line in text.splitlines() if line.strip()][-lines:])
