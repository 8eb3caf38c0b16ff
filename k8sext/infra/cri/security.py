"""Say no to what `process` cannot honour, and work out the user, groups and capabilities of what it can.

A request that is silently ignored is worse than one refused: whoever wrote `privileged: true` or a seccomp profile
relies on it. The docstring of `k8sext.infra.cri` lists what is honoured, what is true anyway and what is refused.
"""

from __future__ import annotations

import os
import pwd
import shutil
from pathlib import Path
from typing import Any

from k8sext.infra.cri.proto import api_pb2 as api
from k8sext.infra.refusals import Refusal, invalid

CAPABILITIES: list[str] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "KILL",
    "SETGID",
    "SETUID",
    "SETPCAP",
    "LINUX_IMMUTABLE",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_ADMIN",
    "NET_RAW",
    "IPC_LOCK",
    "IPC_OWNER",
    "SYS_MODULE",
    "SYS_RAWIO",
    "SYS_CHROOT",
    "SYS_PTRACE",
    "SYS_PACCT",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_NICE",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "MKNOD",
    "LEASE",
    "AUDIT_WRITE",
    "AUDIT_CONTROL",
    "SETFCAP",
    "MAC_OVERRIDE",
    "MAC_ADMIN",
    "SYSLOG",
    "WAKE_ALARM",
    "BLOCK_SUSPEND",
    "AUDIT_READ",
    "PERFMON",
    "BPF",
    "CHECKPOINT_RESTORE",
]
DEFAULT_CAPABILITIES = (
    *("CHOWN", "DAC_OVERRIDE", "FSETID", "FOWNER", "MKNOD", "NET_RAW", "SETGID", "SETUID", "SETFCAP", "SETPCAP"),
    *("NET_BIND_SERVICE", "SYS_CHROOT", "KILL", "AUDIT_WRITE"),
)
"""What a container run by root keeps when it asks for nothing: the set that container runtimes have agreed on."""


def check_sandbox(config: api.PodSandboxConfig) -> None:
    """Raise Refusal when a pod asks for what the handler `process` cannot give."""
    security = config.linux.security_context
    if config.linux.sysctls:
        raise _cannot(f"set sysctls ({', '.join(sorted(config.linux.sysctls))})", "remove securityContext.sysctls")
    if security.namespace_options.userns_options.mode == api.POD and security.namespace_options.HasField(
        "userns_options"
    ):
        raise _cannot("give a pod user ids of its own", "remove hostUsers: false")
    _check_common(security)


def check_container(config: api.ContainerConfig, can_be_readonly: bool) -> None:
    """Raise Refusal when a container asks for what cannot be given; `can_be_readonly`: the root folder can be made unwritable."""
    security = config.linux.security_context
    _check_common(security)
    if config.devices or config.CDI_devices:
        raise _cannot("hand devices to a container", "remove the device requests")
    if security.readonly_rootfs and not can_be_readonly:
        raise _cannot(
            "make the root folder read-only without bubblewrap (bwrap) and user namespaces",
            "install bubblewrap or remove readOnlyRootFilesystem",
        )
    missing = [
        name
        for name in map(plain, security.capabilities.add_capabilities)
        if not ((os.geteuid() == 0 and name == "ALL") or held(name))
    ]
    if missing:
        raise _cannot(
            f"add the capabilities {', '.join(missing)}, which it does not hold itself", "remove capabilities.add"
        )
    if security.capabilities.add_ambient_capabilities:
        raise _cannot("add ambient capabilities", "remove them")
    identity(security)


def _check_common(security: api.LinuxSandboxSecurityContext | api.LinuxContainerSecurityContext) -> None:
    if security.privileged:
        raise _cannot("run privileged containers", "remove privileged: true")
    if any(getattr(security.selinux_options, part) for part in ("user", "role", "type", "level")):
        raise _cannot("set SELinux labels", "remove seLinuxOptions")
    if security.seccomp.profile_type == api.SecurityProfile.Localhost or security.seccomp_profile_path.startswith(
        "localhost/"
    ):
        raise _cannot("load seccomp profiles", "use RuntimeDefault or none")
    if security.apparmor.profile_type == api.SecurityProfile.Localhost and security.HasField("apparmor"):
        raise _cannot("load AppArmor profiles", "use RuntimeDefault or none")


def identity(security: api.LinuxContainerSecurityContext) -> dict[str, Any]:
    """Return `uid`, `gid` and `groups` to take on (None: keep ours); raise Refusal when that needs root and we are not."""
    uid, gid = _user(security)
    groups = list(security.supplemental_groups)
    if os.geteuid() != 0:
        if (
            uid not in (None, 0, os.getuid())  # root on a node of ours is we, as for every runtime without root
            or gid not in (None, os.getgid())
            or not {*groups} <= {*os.getgroups(), os.getgid()}
        ):
            raise _cannot(
                f"run as another user or group (it runs as {os.getuid()}:{os.getgid()}, without root)",
                "remove runAsUser, runAsGroup, fsGroup and supplementalGroups, or start the cluster as root",
            )
        return {"uid": None, "gid": None, "groups": None}
    if uid is None and gid is None and not groups:
        return {"uid": None, "gid": None, "groups": None}
    uid = os.getuid() if uid is None else uid
    own_group, member_of = _groups_of(uid)
    gid = own_group if gid is None else gid
    if security.supplemental_groups_policy == api.Strict:
        member_of = []
    return {"uid": uid, "gid": gid, "groups": sorted({gid, *member_of, *groups})}


def lowering(security: api.LinuxContainerSecurityContext) -> list[str]:
    """Return the command (setpriv ...) to put before a program that is to run with fewer rights than ours, else nothing."""
    wanted = identity(security)
    arguments = ["--no-new-privs"] if security.no_new_privs else []
    if wanted["uid"] is not None:
        arguments += [
            f"--reuid={wanted['uid']}",
            f"--regid={wanted['gid']}",
            f"--groups={','.join(map(str, wanted['groups']))}",
        ]
    if os.geteuid() == 0:
        kept = _kept(security.capabilities)
        arguments.append(f"--bounding-set={','.join(['-all', *(f'+{name.lower()}' for name in kept)])}")
    if not arguments:
        return []
    if (setpriv := shutil.which("setpriv")) is None:
        raise _cannot("lower a program's rights without the program setpriv", "install util-linux")
    return [setpriv, *arguments, "--"]


def _kept(capabilities: api.Capability) -> list[str]:
    dropped, added = (
        {plain(name) for name in names} for names in (capabilities.drop_capabilities, capabilities.add_capabilities)
    )
    usual = set() if "ALL" in dropped else {*DEFAULT_CAPABILITIES} - dropped
    wanted = {*CAPABILITIES} - dropped if "ALL" in added else usual | added
    return [name for name in CAPABILITIES if name in wanted and held(name)]


def _cannot(what: str, instead: str) -> Refusal:
    return invalid(f"the runtime handler 'process' cannot {what}: {instead}")


def _user(security: api.LinuxContainerSecurityContext) -> tuple[int | None, int | None]:
    uid = security.run_as_user.value if security.HasField("run_as_user") else None
    gid = security.run_as_group.value if security.HasField("run_as_group") else None
    if gid is not None and uid is None and not security.run_as_username:
        raise invalid("runAsGroup needs runAsUser beside it: name both")
    if security.run_as_username:
        try:
            uid = pwd.getpwnam(security.run_as_username).pw_uid
        except KeyError:
            raise invalid(
                f"this machine knows no user {security.run_as_username!r}: give runAsUser as a number"
            ) from None
    return uid, gid


def _groups_of(uid: int) -> tuple[int, list[int]]:
    try:
        user = pwd.getpwuid(uid)
    except KeyError:
        return 0, []
    return user.pw_gid, os.getgrouplist(user.pw_name, user.pw_gid)


def plain(capability: str) -> str:
    """Return a capability's name without the prefix CAP_."""
    return capability.upper().removeprefix("CAP_")


def held(capability: str) -> bool:
    """Whether this process holds a capability."""
    mask = int(
        next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("CapEff")).split()[
            1
        ],
        16,
    )
    return capability in CAPABILITIES and bool(mask >> CAPABILITIES.index(capability) & 1)
