"""The rules that all handlers share: what is refused, and which capabilities a container gets.

A request that is silently ignored is worse than one refused: whoever wrote a seccomp profile relies on it. The
docstrings of the handlers list what is honoured, what is true anyway and what is refused.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from k8sext.infra.cri.proto import api_pb2 as api
from k8sext.infra.grpc import StatusError, invalid_argument

CAPABILITIES = (
    *("CHOWN", "DAC_OVERRIDE", "DAC_READ_SEARCH", "FOWNER", "FSETID", "KILL", "SETGID", "SETUID"),
    *("SETPCAP", "LINUX_IMMUTABLE", "NET_BIND_SERVICE", "NET_BROADCAST", "NET_ADMIN", "NET_RAW"),
    *("IPC_LOCK", "IPC_OWNER", "SYS_MODULE", "SYS_RAWIO", "SYS_CHROOT", "SYS_PTRACE", "SYS_PACCT"),
    *("SYS_ADMIN", "SYS_BOOT", "SYS_NICE", "SYS_RESOURCE", "SYS_TIME", "SYS_TTY_CONFIG", "MKNOD"),
    *("LEASE", "AUDIT_WRITE", "AUDIT_CONTROL", "SETFCAP", "MAC_OVERRIDE", "MAC_ADMIN", "SYSLOG"),
    *("WAKE_ALARM", "BLOCK_SUSPEND", "AUDIT_READ", "PERFMON", "BPF", "CHECKPOINT_RESTORE"),
)
"""By their numbers, from 0 (capabilities(7))."""
DEFAULT_CAPABILITIES = (
    *("CHOWN", "DAC_OVERRIDE", "FSETID", "FOWNER", "MKNOD", "NET_RAW", "SETGID", "SETUID", "SETFCAP", "SETPCAP"),
    *("NET_BIND_SERVICE", "SYS_CHROOT", "KILL", "AUDIT_WRITE"),
)
"""What a container run by root keeps when it asks for nothing: the set that container runtimes have agreed on."""
SELINUX = Path("/sys/fs/selinux/enforce")
_Security = api.LinuxSandboxSecurityContext | api.LinuxContainerSecurityContext


def cannot(handler: str, what: str, instead: str) -> StatusError:
    """The answer to a request that `handler` cannot carry out."""
    return invalid_argument(f"the runtime handler {handler!r} cannot {what}: {instead}")


def check_pod(config: api.PodSandboxConfig, handler: str) -> None:
    """Raise StatusError when a pod asks for what no handler can give."""
    security = config.linux.security_context
    users = security.namespace_options
    if users.HasField("userns_options") and users.userns_options.mode == api.POD:
        raise cannot(handler, "give a pod user ids of its own", "remove hostUsers: false")
    _check(security, handler)


def check_container(config: api.ContainerConfig, handler: str) -> None:
    """Raise StatusError when a container asks for what no handler can give, or has no name."""
    if not config.metadata.name:
        raise invalid_argument("the container has no name: set config.metadata.name")
    if config.devices or config.CDI_devices:
        raise cannot(handler, "hand devices to a container", "remove the device requests")
    _check(config.linux.security_context, handler)


def _check(security: _Security, handler: str) -> None:
    """Profiles of one's own. SELinux labels mean nothing on a machine without SELinux, and are ignored there."""
    labels = security.selinux_options
    if SELINUX.exists() and any((labels.user, labels.role, labels.type, labels.level)):
        raise cannot(handler, "set SELinux labels", "remove seLinuxOptions")
    old_profile = security.seccomp_profile_path.startswith("localhost/")
    if security.seccomp.profile_type == api.SecurityProfile.Localhost or old_profile:
        raise cannot(handler, "load seccomp profiles", "use RuntimeDefault or none")
    if security.HasField("apparmor") and security.apparmor.profile_type == api.SecurityProfile.Localhost:
        raise cannot(handler, "load AppArmor profiles", "use RuntimeDefault or none")


def plain(capability: str) -> str:
    """Return a capability's name without the prefix CAP_."""
    return capability.upper().removeprefix("CAP_")


def held(capability: str) -> bool:
    """Whether this process holds a capability."""
    found = re.search(r"^CapEff:\s*([0-9a-f]+)$", Path("/proc/self/status").read_text(), re.MULTILINE)
    mask = int(found[1], 16) if found else 0
    return capability in CAPABILITIES and bool(mask >> CAPABILITIES.index(capability) & 1)


def kept(asked: api.Capability, *, privileged: bool, may: Callable[[str], bool] = held) -> list[str]:
    """Return the capabilities that a container gets: the usual ones, more or fewer as it asks, as far as we `may` give
    them."""
    added, dropped = set(map(plain, asked.add_capabilities)), set(map(plain, asked.drop_capabilities))
    usual = set[str]() if "ALL" in dropped else {*DEFAULT_CAPABILITIES}
    wanted = {*CAPABILITIES} if "ALL" in added or privileged else (usual - dropped) | added
    return [name for name in CAPABILITIES if name in wanted - (dropped - added) and may(name)]
