"""A Docker daemon for the tests: the one that runs here, or one of our own, beside any other, which ends with them."""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

from tests.kind.cache import folder
from tests.kind.kernel import kernel_made_ready

HERE = Path(__file__).parent
START_LIMIT = 60.0
# linux/capability.h, by number
CAPABILITIES = """
    CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID SETPCAP LINUX_IMMUTABLE NET_BIND_SERVICE
    NET_BROADCAST NET_ADMIN NET_RAW IPC_LOCK IPC_OWNER SYS_MODULE SYS_RAWIO SYS_CHROOT SYS_PTRACE SYS_PACCT SYS_ADMIN
    SYS_BOOT SYS_NICE SYS_RESOURCE SYS_TIME SYS_TTY_CONFIG MKNOD LEASE AUDIT_WRITE AUDIT_CONTROL SETFCAP MAC_OVERRIDE
    MAC_ADMIN SYSLOG WAKE_ALARM
    BLOCK_SUSPEND AUDIT_READ PERFMON BPF CHECKPOINT_RESTORE
"""


class CannotRun(Exception):
    """Why the kind tests cannot run on this machine, in one sentence."""


@contextlib.contextmanager
def docker_daemon() -> Iterator[None]:
    """Have a Docker daemon answer `docker` for the length of the block. Raises CannotRun."""
    if answers():
        yield
        return
    if os.getuid() != 0:
        raise CannotRun("no Docker daemon answers, and only root may start one")
    for program in ("docker", "dockerd", "containerd", "runc", "iptables"):
        if not shutil.which(program):
            raise CannotRun(f"no Docker daemon answers, and {program} is not installed to start one")
    with contextlib.ExitStack() as ends:
        run = Path(ends.enter_context(tempfile.TemporaryDirectory(prefix="k8sext-docker-")))
        ends.enter_context(kernel_made_ready())
        socket = ends.enter_context(_daemon(run))
        ends.enter_context(mock.patch.dict(os.environ, {"DOCKER_HOST": f"unix://{socket}"}))
        yield


def answers() -> bool:
    """Whether a daemon answers, and lets us in."""
    return bool(shutil.which("docker")) and subprocess.run(["docker", "info"], capture_output=True).returncode == 0


@contextlib.contextmanager
def _daemon(run: Path) -> Iterator[Path]:
    """dockerd with its images in the cache and all else in a folder of its own."""
    config = {
        "data-root": str(folder() / "docker"),
        "exec-root": str(run / "exec"),
        "pidfile": str(run / "pid"),
        "hosts": [f"unix://{run}/docker.sock"],
        # No bridge but that of kind.
        "bridge": "none",
        **_runtime(run),
    }
    (run / "daemon.json").write_text(json.dumps(config))
    log = folder() / "dockerd.log"
    with log.open("wb") as output:
        command = ["dockerd", f"--config-file={run}/daemon.json"]
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, start_new_session=True)
    try:
        deadline = time.monotonic() + START_LIMIT
        socket = run / "docker.sock"
        while subprocess.run(["docker", "--host", f"unix://{socket}", "info"], capture_output=True).returncode != 0:
            if process.poll() is not None or time.monotonic() > deadline:
                words = "; ".join(log.read_text(errors="replace").splitlines()[-2:])
                raise CannotRun(f"the Docker daemon does not start ({words})")
            time.sleep(0.1)
        _remove_containers(socket)
        yield socket
    finally:
        # Its bridge would outlive the daemon.
        subprocess.run(["docker", "--host", f"unix://{run}/docker.sock", "network", "rm", "kind"], capture_output=True)
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(30)
        process.kill()
        process.wait()
        # Docker leaves the namespace of containers on the host's network mounted in its folder.
        subprocess.run(["umount", str(run / "exec/netns/default")], capture_output=True)


def _remove_containers(socket: Path) -> None:
    """Remove what a run left in the cache that was killed: its cluster would bear the name of ours."""
    docker = ["docker", "--host", f"unix://{socket}"]
    left = subprocess.run(
        [*docker, "ps", "--all", "--quiet"], capture_output=True, text=True, check=True
    ).stdout.split()
    if left:
        subprocess.run([*docker, "rm", "--force", "--volumes", *left], capture_output=True, check=True)


def _runtime(run: Path) -> dict[str, object]:
    """Settings for a runc that does without the capabilities that this machine lacks; none where it lacks none."""
    if not (missing := missing_capabilities(Path("/proc/self/status").read_text())):
        return {}
    script = run / "runc"
    command = shlex.join([sys.executable, "-IS", str(HERE / "runc.py"), ",".join(missing)])
    script.write_text(f'#!/bin/sh\nexec {command} "$@"\n')
    script.chmod(0o755)
    return {"runtimes": {"fewer-capabilities": {"path": str(script)}}, "default-runtime": "fewer-capabilities"}


def missing_capabilities(status: str) -> list[str]:
    """The names of the capabilities that the bounding set in a /proc/PID/status lacks (capabilities(7))."""
    bounding = next(int(line.split()[1], 16) for line in status.splitlines() if line.startswith("CapBnd:"))
    return [f"CAP_{name}" for number, name in enumerate(CAPABILITIES.split()) if not bounding >> number & 1]
