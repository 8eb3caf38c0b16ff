"""From a CRI container config to what the shim runs: command, environment, folder, mounts, rights."""

from __future__ import annotations

import json
import os
from pathlib import Path

from k8sext.infra.cri.built_in import DEFAULT_PATH
from k8sext.infra.cri.container_config import program, resolv_conf
from k8sext.infra.cri.handlers.mounts import Mount, make_sources, mounts_of
from k8sext.infra.cri.handlers.process.identity import NAME, identity, lowering
from k8sext.infra.cri.handlers.process.isolation import SERVICE_ACCOUNT, Isolation
from k8sext.infra.cri.proto import api_pb2 as api
from k8sext.infra.cri.store import Container, Sandbox, write_aside
from k8sext.infra.grpc import failed_precondition
from k8sext.kube.objects import Json


def specification(container: Container, sandbox: Sandbox, isolation: Isolation, folder: Path, address: str) -> Json:
    """Return what the shim is to run; raise StatusError when there is no such program or folder.

    `folder` is the container's own, `address` the one at which its servers listen.
    """
    config, security = container.config, container.config.linux.security_context
    mounts = mounts_of(config, NAME)
    make_sources(mounts)
    mounts += _files(config, sandbox, isolation, folder)
    cwd = config.working_dir or str(folder / "work")
    env = _environment(config, sandbox, folder, address)
    if not isolation.can_mount:
        env |= _service_account_by_environment(mounts, env, folder)
    argv = [*config.command, *config.args]
    hostname = "" if sandbox.host_network else env["HOSTNAME"]
    wrapper = isolation.wrapper(mounts, cwd, security.readonly_rootfs, hostname)
    if not _on_machine(cwd, mounts).is_dir():
        raise failed_precondition(f"cannot start: the working folder {cwd} does not exist in the container")
    _check_program(argv[0], env["PATH"], cwd, mounts)
    if owner := identity(security):
        os.chown(folder / "work", owner.uid, owner.gid)
    wrapper = [*wrapper, *lowering(security, owner)]
    score = config.linux.resources.oom_score_adj
    return program(container, wrapper, argv, env, "/" if wrapper else cwd, isolation.forks) | {"oom_score_adj": score}


def check_command(argv: list[str], config: api.ContainerConfig, folder: Path) -> None:
    """Raise StatusError when a container has no such program to execute; `folder` is the container's own."""
    path = next((item.value.decode(errors="replace") for item in config.envs if item.key == "PATH"), DEFAULT_PATH)
    _check_program(argv[0], path, config.working_dir or str(folder / "work"), mounts_of(config, NAME))


def _files(config: api.ContainerConfig, sandbox: Sandbox, isolation: Isolation, folder: Path) -> list[Mount]:
    """Return what is mounted beside the volumes: name servers, and what is to be hidden or protected below /proc and
    /sys."""
    mounts = []
    rights = config.linux.security_context
    if isolation.can_mount and (text := resolv_conf(sandbox.config.dns_config)):
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
    """Nothing can be mounted: name the service-account folder, and write a kubeconfig that leads every client library
    to it."""
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
    """Raise StatusError unless the program exists: the kubelet then shows why, instead of a wrapper's exit code."""
    folders = [""] if "/" in name else path.split(":")
    for folder in folders:
        candidate = _on_machine(str(Path(cwd, folder, name)), mounts)
        if candidate.is_file() and os.access(candidate, os.X_OK):
            return
    where = f"in the container's PATH ({path})" if "/" not in name else "in the container"
    raise failed_precondition(f"cannot start: there is no program {name!r} {where}")


def _on_machine(path: str, mounts: list[Mount]) -> Path:
    """Return where on the machine a container's path lies."""
    path = os.path.normpath(path)
    for mount in sorted(mounts, key=lambda mount: -len(mount.target)):
        if path == mount.target or path.startswith(f"{mount.target}/"):
            return Path(mount.source + path[len(mount.target) :])
    return Path(path)
