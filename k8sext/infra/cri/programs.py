"""From a CRI container config to what the supervisor runs: command, environment, folder, mounts, rights."""

from __future__ import annotations

import ipaddress
import json
import os
import signal
from pathlib import Path, PurePosixPath
from typing import Any

from k8sext.infra.cri import security
from k8sext.infra.cri.images import DEFAULT_PATH
from k8sext.infra.cri.isolation import SERVICE_ACCOUNT, Isolation, Mount
from k8sext.infra.cri.proto import api_pb2 as api
from k8sext.infra.cri.state import Container, Sandbox, write_aside
from k8sext.infra.refusals import invalid, precondition


def check(config: api.ContainerConfig, isolation: Isolation) -> None:
    """Raise Refusal when a container that is asked for cannot be run here."""
    if not config.metadata.name:
        raise invalid("the container has no name: set config.metadata.name")
    if not config.command and not config.args:
        raise invalid("the image has no command of its own: give the container a command")
    security.check_container(config, isolation.can_be_readonly)
    isolation.check(mounts_of(config))


def mounts_of(config: api.ContainerConfig) -> list[Mount]:
    """Return a container's mounts; raise Refusal for one that is malformed or of a kind that `process` does not know."""
    mounts = []
    for mount in config.mounts:
        target = PurePosixPath(mount.container_path)
        if not target.is_absolute() or ".." in target.parts or str(target) == "/":
            raise invalid(
                f"cannot mount at {mount.container_path!r}: give an absolute path without '..', and not the root folder"
            )
        if mount.HasField("image"):
            raise invalid("the runtime handler 'process' cannot mount images: use another kind of volume")
        if not PurePosixPath(mount.host_path).is_absolute():
            raise invalid(f"cannot mount {mount.host_path!r}: the path on the machine must be absolute")
        if mount.propagation != api.PROPAGATION_PRIVATE:
            raise invalid(
                f"cannot mount at {target} with mount propagation: the runtime handler 'process' has only private mounts"
            )
        if mount.uidMappings or mount.gidMappings:
            raise invalid(f"cannot map user ids in the mount at {target}: remove hostUsers: false")
        mounts.append(Mount(mount.host_path, str(target), mount.readonly))
    return mounts


def specification(
    container: Container, sandbox: Sandbox, isolation: Isolation, folder: Path, bind_address: str
) -> dict[str, Any]:
    """Return what the supervisor is to run (keys: see `shim.processes.start`); raise Refusal when there is no such program or folder.

    `folder` is the container's own, `bind_address` the address at which its servers listen.
    """
    config = container.config
    mounts = mounts_of(config)
    for mount in mounts:
        if not Path(mount.source).exists():
            Path(mount.source).mkdir(parents=True, exist_ok=True)
    mounts += _furniture(config, sandbox, isolation, folder)
    cwd = config.working_dir or str(folder / "work")
    env = _environment(config, sandbox, folder, bind_address)
    if not isolation.can_mount:
        env |= _service_account_by_environment(mounts, env, folder)
    argv = [*config.command, *config.args]
    hostname = "" if sandbox.host_network else env["HOSTNAME"]
    wrapper = isolation.wrapper(mounts, cwd, config.linux.security_context.readonly_rootfs, hostname)
    if not _on_machine(cwd, mounts).is_dir():
        raise precondition(f"cannot start: the working folder {cwd} does not exist in the container")
    _check_program(argv[0], env["PATH"], cwd, mounts)
    owner = security.identity(config.linux.security_context)
    if owner["uid"] is not None:
        os.chown(folder / "work", owner["uid"], owner["gid"])
    return {
        "wrapper": [*wrapper, *security.lowering(config.linux.security_context)],
        "wrapper_forks": isolation.forks,
        "argv": argv,
        "env": env,
        "cwd": "/" if wrapper else cwd,
        "tty": config.tty,
        "stdin": config.stdin,
        "stdin_once": config.stdin_once,
        "log": container.log_path,
        "oom_score_adj": config.linux.resources.oom_score_adj,
    }


def check_command(argv: list[str], config: api.ContainerConfig) -> None:
    """Raise Refusal when a container has no such program to execute."""
    path = next((item.value.decode(errors="replace") for item in config.envs if item.key == "PATH"), DEFAULT_PATH)
    _check_program(argv[0], path, config.working_dir or "/", mounts_of(config))


def log_path(sandbox: Sandbox, config: api.ContainerConfig) -> str:
    """Return the absolute path of a container's log, empty for none; raise Refusal for a path outside the pod's log folder."""
    if not sandbox.config.log_directory or not config.log_path:
        return ""
    path = PurePosixPath(config.log_path)
    if path.is_absolute() or ".." in path.parts or not PurePosixPath(sandbox.config.log_directory).is_absolute():
        raise invalid(
            f"the log path {config.log_path!r} must be relative and stay in the pod's log folder, which must be absolute"
        )
    return str(PurePosixPath(sandbox.config.log_directory) / path)


def bind_address(pod_ip: str, loopback: str) -> str:
    """Return where a pod's servers listen: 10.244.n.m becomes <loopback>.n.m (the relay at the API server maps it back)."""
    return ".".join([loopback, *str(ipaddress.IPv4Address(pod_ip)).split(".")[2:]])


def resolver(dns: api.DNSConfig) -> str:
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


def _furniture(config: api.ContainerConfig, sandbox: Sandbox, isolation: Isolation, folder: Path) -> list[Mount]:
    """Return what is mounted beside the volumes: name servers, and what is to be hidden or protected below /proc and /sys."""
    mounts = []
    rights = config.linux.security_context
    if isolation.can_mount and (text := resolver(sandbox.config.dns_config)):
        (folder / "resolv.conf").write_text(text)
        mounts.append(Mount(str(folder / "resolv.conf"), "/etc/resolv.conf"))
    if isolation.can_be_readonly:
        (folder / "empty").mkdir(exist_ok=True)
        hidden = [path for path in rights.masked_paths if Path(path).exists()]
        mounts += [Mount(str(folder / "empty") if Path(path).is_dir() else os.devnull, path, True) for path in hidden]
        mounts += [Mount(path, path, True) for path in rights.readonly_paths if Path(path).exists()]
    return mounts


def _environment(config: api.ContainerConfig, sandbox: Sandbox, folder: Path, bind_address: str) -> dict[str, str]:
    asked = {item.key: item.value.decode(errors="surrogateescape") for item in config.envs}
    given = {
        "PATH": DEFAULT_PATH,
        "HOME": str(folder / "work"),
        "HOSTNAME": sandbox.config.hostname or os.uname().nodename,
        "K8SEXT_BIND_ADDRESS": bind_address,
    }
    return given | ({"TERM": "xterm"} if config.tty else {}) | asked


def _service_account_by_environment(mounts: list[Mount], env: dict[str, str], folder: Path) -> dict[str, str]:
    """Nothing can be mounted: name the service-account folder, and write a kubeconfig that leads every client library to it."""
    source = next((mount.source for mount in mounts if mount.target == SERVICE_ACCOUNT), None)
    host, port = env.get("KUBERNETES_SERVICE_HOST"), env.get("KUBERNETES_SERVICE_PORT")
    if source is None:
        return {}
    given = {"K8SEXT_SERVICEACCOUNT_DIR": source}
    if host and port and "KUBECONFIG" not in env:
        namespace = Path(source, "namespace")
        context = {"cluster": "in-cluster", "user": "service-account"}
        if namespace.exists():
            context["namespace"] = namespace.read_text().strip()
        kubeconfig = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [
                {
                    "name": "in-cluster",
                    "cluster": {"server": f"https://{host}:{port}", "certificate-authority": f"{source}/ca.crt"},
                }
            ],
            "users": [{"name": "service-account", "user": {"tokenFile": f"{source}/token"}}],
            "contexts": [{"name": "in-cluster", "context": context}],
            "current-context": "in-cluster",
        }
        write_aside(folder / "kubeconfig", json.dumps(kubeconfig))
        given["KUBECONFIG"] = str(folder / "kubeconfig")
    return given


def _check_program(name: str, path: str, cwd: str, mounts: list[Mount]) -> None:
    """Raise Refusal unless the program exists: the kubelet then shows why, instead of a wrapper's exit code."""
    folders = [""] if "/" in name else path.split(":")
    for folder in folders:
        candidate = _on_machine(str(Path(cwd, folder, name)), mounts)
        if candidate.is_file() and os.access(candidate, os.X_OK):
            return
    where = f"in the container's PATH ({path})" if "/" not in name else "in the container"
    raise precondition(f"cannot start: there is no program {name!r} {where}")


def _on_machine(path: str, mounts: list[Mount]) -> Path:
    """Return where on the machine a container's path lies."""
    path = os.path.normpath(path)
    for mount in sorted(mounts, key=lambda mount: -len(mount.target)):
        if path == mount.target or path.startswith(f"{mount.target}/"):
            return Path(mount.source + path[len(mount.target) :])
    return Path(path)
