"""An OCI bundle: a folder with a root file system and config.json, the complete description of one container.

Everything that a container *is* stands in this document, and nothing in it is magic: which program, as whom, with
which rights, seeing which files, in which namespaces. Each function here fills in one part from the CRI request.
Source: OCI runtime specification 1.0.2 (config.md, config-linux.md).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from k8sext.infra.cri.handlers.mounts import Mount
from k8sext.infra.cri.handlers.oci.users import User
from k8sext.infra.cri.handlers.security import held, kept, plain
from k8sext.infra.cri.proto import api_pb2 as api
from k8sext.infra.cri.store import Container, Sandbox
from k8sext.kube.objects import Json

KINDS = {"network": "net", "ipc": "ipc", "uts": "uts", "pid": "pid_for_children"}


class Surroundings(NamedTuple):
    """What the request does not say: the pause container's process, whether we are really root, and the variables we
    add."""

    pause: int
    target: int | None
    real_root: bool
    environment: dict[str, str]


def config(
    container: Container, sandbox: Sandbox, image: Json, user: User, mounts: Sequence[Mount], where: Surroundings
) -> Json:
    """Return config.json for a container; `image` is the image's own config, `mounts` what the caller has checked."""
    security = container.config.linux.security_context
    hostname = {} if sandbox.host_network else {"hostname": sandbox.config.hostname or "localhost"}
    return {
        "ociVersion": "1.0.2",
        "process": _process(container.config, image, user, where),
        "root": {"path": "rootfs", "readonly": security.readonly_rootfs},
        **hostname,
        "mounts": [*_file_systems(sandbox, security, where), *map(_bind, mounts)],
        "linux": {
            "namespaces": namespaces(sandbox, security, where),
            "sysctl": dict(sandbox.config.linux.sysctls),
            "maskedPaths": list(security.masked_paths),
            "readonlyPaths": list(security.readonly_paths),
        },
    }


def command(config: api.ContainerConfig, image: Json) -> list[str]:
    """What to run: the request's words, or the image's where it has none. A new command silences the image's
    arguments."""
    entrypoint, arguments = list(config.command), list(config.args)
    if not entrypoint:
        entrypoint = list(image.get("Entrypoint") or [])
        arguments = arguments or list(image.get("Cmd") or [])
    return [*entrypoint, *arguments]


def environment(config: api.ContainerConfig, image: Json, ours: dict[str, str]) -> dict[str, str]:
    """The image's variables, ours, then the request's: the last word is the user's."""
    inherited = dict(entry.split("=", 1) for entry in image.get("Env") or [] if "=" in entry)
    asked = {item.key: item.value.decode(errors="surrogateescape") for item in config.envs}
    usual = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
    return usual | inherited | ours | ({"TERM": "xterm"} if config.tty else {}) | asked


def namespaces(
    sandbox: Sandbox, security: api.LinuxContainerSecurityContext, where: Surroundings
) -> list[dict[str, str]]:
    """What the container shares with its pod (a path) and what it has alone; what it shares with the machine is not
    listed."""
    wanted = sandbox.config.linux.security_context.namespace_options
    shared = [kind for kind in ("network", "ipc") if getattr(wanted, kind) != api.NODE]
    shared += [] if sandbox.host_network else ["uts"]
    found = [{"type": kind, "path": f"/proc/{where.pause}/ns/{KINDS[kind]}"} for kind in shared]
    match security.namespace_options.pid:
        case api.CONTAINER:
            found.append({"type": "pid"})
        case api.POD:
            found.append({"type": "pid", "path": f"/proc/{where.pause}/ns/pid_for_children"})
        case api.TARGET:
            found.append({"type": "pid", "path": f"/proc/{where.target}/ns/pid"})
    return [*found, {"type": "mount"}]


def _process(config: api.ContainerConfig, image: Json, user: User, where: Surroundings) -> Json:
    security = config.linux.security_context
    variables = environment(config, image, where.environment)
    adjust = config.linux.resources.oom_score_adj
    score = {"oomScoreAdj": adjust} if adjust and where.real_root else {}
    return {
        "terminal": config.tty,
        "user": {"uid": user.uid, "gid": user.gid, "additionalGids": sorted(user.groups) if where.real_root else []},
        "args": command(config, image),
        "env": [f"{key}={value}" for key, value in ({"HOME": user.home} | variables).items()],
        "cwd": config.working_dir or image.get("WorkingDir") or "/",
        "capabilities": capabilities(security, where.real_root),
        "noNewPrivileges": security.no_new_privs,
        **score,
    }


def capabilities(security: api.LinuxContainerSecurityContext, real_root: bool) -> dict[str, list[str]]:
    """Root's rights come in 41 pieces. In a user namespace we hold all of them, over what belongs to that namespace."""
    asked = security.capabilities
    may = held if real_root else lambda name: True
    names = [f"CAP_{name}" for name in kept(asked, privileged=security.privileged, may=may)]
    ambient = [f"CAP_{plain(name)}" for name in asked.add_ambient_capabilities]
    return {"bounding": names, "effective": names, "permitted": names, "inheritable": ambient, "ambient": ambient}


def _file_systems(sandbox: Sandbox, security: api.LinuxContainerSecurityContext, where: Surroundings) -> list[Json]:
    """What every Linux program expects to find. /sys shows the network's devices, so it needs a network namespace of
    ours."""
    group = ["gid=5"] if where.real_root else []
    sys_mode = "rw" if security.privileged else "ro"
    own_network = where.real_root or not sandbox.host_network
    sys = _mount("/sys", "sysfs", "sysfs", "nosuid", "noexec", "nodev", sys_mode)
    return [
        _mount("/proc", "proc", "proc", "nosuid", "noexec", "nodev"),
        _mount("/dev", "tmpfs", "tmpfs", "nosuid", "strictatime", "mode=755", "size=65536k"),
        _mount("/dev/pts", "devpts", "devpts", "nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", *group),
        _mount("/dev/shm", "tmpfs", "shm", "nosuid", "noexec", "nodev", "mode=1777", "size=65536k"),
        _mount("/dev/mqueue", "mqueue", "mqueue", "nosuid", "noexec", "nodev"),
        sys if own_network else _mount("/sys", "none", "/sys", "rbind", "ro"),
    ]


def _mount(destination: str, kind: str, source: str, *options: str) -> Json:
    return {"destination": destination, "type": kind, "source": source, "options": list(options)}


def _bind(mount: Mount) -> Json:
    return _mount(mount.target, "bind", mount.source, "rbind", "rprivate", "ro" if mount.readonly else "rw")
