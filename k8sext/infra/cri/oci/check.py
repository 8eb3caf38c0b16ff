"""Say no to what the handler `oci` cannot honour: better a sentence in the pod's events than a promise that is not kept."""

from __future__ import annotations

from pathlib import PurePosixPath

from k8sext.infra.cri.isolation import Mount
from k8sext.infra.cri.proto import api_pb2 as api
from k8sext.infra.refusals import Refusal, invalid

SYSCTLS = ("kernel.shm", "kernel.msg", "kernel.sem", "fs.mqueue.", "net.")


def sandbox(config: api.PodSandboxConfig) -> None:
    """Raise Refusal when a pod asks for what cannot be given."""
    security = config.linux.security_context
    host_network = security.namespace_options.network == api.NODE
    for name in config.linux.sysctls:
        if not name.startswith(SYSCTLS) or (name.startswith("net.") and host_network):
            raise _cannot(
                f"set the sysctl {name}, which is the whole machine's", "remove it from securityContext.sysctls"
            )
    users = security.namespace_options.userns_options
    if security.namespace_options.HasField("userns_options") and users.mode == api.POD:
        raise _cannot("give a pod user ids of its own", "remove hostUsers: false")
    if any(port.host_port for port in config.port_mappings) and not host_network:
        raise _cannot("lead a port of the machine to a pod", "remove hostPort, or use hostNetwork: true")
    _common(security)


def container(config: api.ContainerConfig) -> None:
    """Raise Refusal when a container asks for what cannot be given."""
    if config.devices or config.CDI_devices:
        raise _cannot("hand devices to a container", "remove the device requests")
    _common(config.linux.security_context)
    mounts(config)


def mounts(config: api.ContainerConfig) -> list[Mount]:
    """Return a container's mounts; raise Refusal for one that is malformed or of a kind that is not known here."""
    found = []
    for mount in config.mounts:
        target = PurePosixPath(mount.container_path)
        if not target.is_absolute() or ".." in target.parts or str(target) == "/":
            raise invalid(f"cannot mount at {mount.container_path!r}: give an absolute path without '..', not the root")
        if mount.HasField("image"):
            raise _cannot("mount images", "use another kind of volume")
        if not PurePosixPath(mount.host_path).is_absolute():
            raise invalid(f"cannot mount {mount.host_path!r}: the path on the machine must be absolute")
        if mount.propagation != api.PROPAGATION_PRIVATE:
            raise _cannot("pass on mounts between a container and the machine", "remove mountPropagation")
        if mount.uidMappings or mount.gidMappings:
            raise _cannot("map user ids in a mount", "remove hostUsers: false")
        found.append(Mount(mount.host_path, str(target), mount.readonly))
    return found


def _common(security: api.LinuxSandboxSecurityContext | api.LinuxContainerSecurityContext) -> None:
    if any(getattr(security.selinux_options, part) for part in ("user", "role", "type", "level")):
        raise _cannot("set SELinux labels", "remove seLinuxOptions")
    if security.seccomp.profile_type == api.SecurityProfile.Localhost:
        raise _cannot("load seccomp profiles", "use RuntimeDefault or none")
    if security.HasField("apparmor") and security.apparmor.profile_type == api.SecurityProfile.Localhost:
        raise _cannot("load AppArmor profiles", "use RuntimeDefault or none")


def _cannot(what: str, instead: str) -> Refusal:
    return invalid(f"the runtime handler 'oci' cannot {what}: {instead}")
