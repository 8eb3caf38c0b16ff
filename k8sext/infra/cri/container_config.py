"""What a container's config says to every handler: where it logs, how it is stopped, which name servers it asks."""

from __future__ import annotations

import signal
from pathlib import PurePosixPath

from k8sext.infra.cri.proto import api_pb2 as api
from k8sext.infra.cri.store import Container, Sandbox
from k8sext.infra.grpc import invalid_argument
from k8sext.kube.objects import Json


def program(
    container: Container, wrapper: list[str], argv: list[str], env: dict[str, str], cwd: str, forks: int = 0
) -> Json:
    """Return what the shim is to run: `argv`, behind `wrapper`, of which `forks` processes stand above the program."""
    config = container.config
    return {
        "wrapper": wrapper,
        "wrapper_forks": forks,
        "argv": argv,
        "env": env,
        "cwd": cwd,
        "tty": config.tty,
        "stdin": config.stdin,
        "stdin_once": config.stdin_once,
        "log": container.log_path,
    }


def log_path(sandbox: Sandbox, config: api.ContainerConfig) -> str:
    """Return the absolute path of a container's log, empty for none; raise StatusError for a path outside the pod's log
    folder."""
    if not sandbox.config.log_directory or not config.log_path:
        return ""
    path = PurePosixPath(config.log_path)
    if path.is_absolute() or ".." in path.parts or not PurePosixPath(sandbox.config.log_directory).is_absolute():
        raise invalid_argument(
            f"the log path {config.log_path!r} must be relative and stay in the pod's log folder, which must be "
            "absolute"
        )
    return str(PurePosixPath(sandbox.config.log_directory) / path)


def resolv_conf(dns: api.DNSConfig) -> str:
    """Return the text of /etc/resolv.conf for a pod, "" for the machine's own."""
    lines = [f"search {' '.join(dns.searches)}"] if dns.searches else []
    lines += [f"nameserver {server}" for server in dns.servers]
    lines += [f"options {' '.join(dns.options)}"] if dns.options else []
    return "\n".join([*lines, ""])


def stop_signal(config: api.ContainerConfig) -> int:
    """Return the number of the signal that asks a container to stop: SIGTERM unless it chose another."""
    name = api.Signal.Name(config.stop_signal).removeprefix("SIGNAL_")
    if name.startswith("SIGRTM"):
        base, _, offset = name.replace("PLUS", " ").replace("MINUS", " -").partition(" ")
        return getattr(signal, base) + int(offset or 0)
    return getattr(signal, name, signal.SIGTERM)
