"""From the words of the Kubernetes API to the words of CRI."""

from __future__ import annotations

import json
import zlib
from pathlib import Path

from k8sext.infra.cri.proto import api_pb2 as cri
from k8sext.infra.kubelet.pod import podspec
from k8sext.infra.kubelet.pod.network_files import RESOLV_CONF, dns_config, host_name
from k8sext.infra.kubelet.runtime.cache import (
    CONTAINER_NAME,
    HASH,
    POD_NAME,
    POD_NAMESPACE,
    POD_UID,
    RESOURCES,
    RESTART_COUNT,
)
from k8sext.kube.objects import Json, part, parts
from k8sext.kube.pod import containers
from k8sext.kube.quantity import parse

CPU_PERIOD = 100_000
MASKED = [
    "/proc/asound",
    "/proc/acpi",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/sys/firmware",
    "/sys/devices/virtual/powercap",
]
READ_ONLY = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"]
"""Both as in pkg/securitycontext/util.go."""


def container_hash(container: Json) -> str:
    """What, when it changes, makes a running container out of date: its name and image, nothing else can be edited."""
    return f"{zlib.crc32(json.dumps([container['name'], container['image']]).encode()):x}"


def given(container: Json, run: cri.ContainerStatus) -> Json:
    """The resources that a run was made with, whatever its pod asks for by now."""
    noted = run.annotations.get(RESOURCES)
    return json.loads(noted) if noted else part(container, "resources")


def log_directory(pod_logs: Path, pod: Json) -> Path:
    """The folder of a pod's logs; the name is the one log collectors expect."""
    metadata = pod["metadata"]
    return pod_logs / f"{metadata['namespace']}_{metadata['name']}_{metadata['uid']}"


def pod_labels(pod: Json) -> dict[str, str]:
    metadata = pod["metadata"]
    return {POD_NAME: metadata["name"], POD_NAMESPACE: metadata["namespace"], POD_UID: metadata["uid"]}


def sandbox_config(pod: Json, attempt: int, log_dir: Path) -> cri.PodSandboxConfig:
    """The PodSandboxConfig of a pod."""
    metadata = pod["metadata"]
    security = part(pod["spec"], "securityContext")
    config = cri.PodSandboxConfig(
        metadata=cri.PodSandboxMetadata(
            name=metadata["name"], uid=metadata["uid"], namespace=metadata["namespace"], attempt=attempt
        ),
        hostname="" if podspec.is_host_network(pod) else host_name(pod),
        dns_config=dns_config(pod, RESOLV_CONF.read_text(errors="replace") if RESOLV_CONF.exists() else ""),
        log_directory=str(log_dir),
        labels=part(metadata, "labels") | pod_labels(pod),
        annotations=part(metadata, "annotations"),
        port_mappings=[
            cri.PortMapping(
                protocol=port.get("protocol", "TCP"),
                container_port=port["containerPort"],
                host_port=port["hostPort"],
                host_ip=port.get("hostIP", ""),
            )
            for container in containers(pod)
            for port in parts(container, "ports")
            if port.get("hostPort") and not podspec.is_host_network(pod)
        ],
    )
    for sysctl in parts(security, "sysctls"):
        config.linux.sysctls[sysctl["name"]] = sysctl["value"]
    context = config.linux.security_context
    context.namespace_options.CopyFrom(_namespaces(pod))
    _set_user(context, security)
    context.seccomp.CopyFrom(_seccomp(security))
    context.privileged = any(part(c, "securityContext").get("privileged", False) for c in containers(pod))
    return config


def container_config(
    pod: Json,
    container: Json,
    *,
    attempt: int,
    target: str,
    image: cri.Image,
    env: dict[str, str],
    command: list[str],
    args: list[str],
    mounts: list[cri.Mount],
) -> cri.ContainerConfig:
    """The ContainerConfig of one run of a container; `target`: the container whose processes it is to see, or ""."""
    config = cri.ContainerConfig(
        metadata=cri.ContainerMetadata(name=container["name"], attempt=attempt),
        image=cri.ImageSpec(image=image.id, user_specified_image=container["image"]),
        command=command,
        args=args,
        working_dir=container.get("workingDir", ""),
        envs=[cri.KeyValue(key=name, value=value.encode(errors="surrogateescape")) for name, value in env.items()],
        mounts=mounts,
        labels=pod_labels(pod) | {CONTAINER_NAME: container["name"]},
        annotations={
            HASH: container_hash(container),
            RESTART_COUNT: str(attempt),
            RESOURCES: json.dumps(part(container, "resources")),
        },
        log_path=f"{container['name']}/{attempt}.log",
        stdin=container.get("stdin", False),
        stdin_once=container.get("stdinOnce", False),
        tty=container.get("tty", False),
        stop_signal=_stop_signal(container),
    )
    config.linux.resources.CopyFrom(_resources(container))
    _secure(config.linux.security_context, pod, container)
    _set_image_user(config.linux.security_context, image)
    if target:
        config.linux.security_context.namespace_options.pid = cri.TARGET
        config.linux.security_context.namespace_options.target_id = target
    return config


def _stop_signal(container: Json) -> str:
    """CRI's name of the signal that asks the container to stop."""
    name = part(container, "lifecycle").get("stopSignal") or "RUNTIME_DEFAULT"
    return "SIGNAL_" + name.replace("+", "PLUS").replace("-", "MINUS")


def _namespaces(pod: Json) -> cri.NamespaceOption:
    spec = pod["spec"]
    shared = cri.POD if spec.get("shareProcessNamespace") else cri.CONTAINER
    return cri.NamespaceOption(
        network=cri.NODE if spec.get("hostNetwork") else cri.POD,
        pid=cri.NODE if spec.get("hostPID") else shared,
        ipc=cri.NODE if spec.get("hostIPC") else cri.POD,
        userns_options=cri.UserNamespace(mode=cri.POD) if spec.get("hostUsers") is False else None,
    )


def _secure(context: cri.LinuxContainerSecurityContext, pod: Json, container: Json) -> None:
    """The container's security context; what it leaves open the pod's decides."""
    of_pod = part(pod["spec"], "securityContext")
    own = part(container, "securityContext")
    security = {key: value for key, value in of_pod.items() if value is not None} | own
    context.namespace_options.CopyFrom(_namespaces(pod))
    _set_user(context, security)
    context.privileged = security.get("privileged", False)
    context.readonly_rootfs = security.get("readOnlyRootFilesystem", False)
    context.no_new_privs = security.get("allowPrivilegeEscalation") is False
    capabilities = part(security, "capabilities")
    selinux = part(security, "seLinuxOptions")
    context.capabilities.add_capabilities.extend(capabilities.get("add") or [])
    context.capabilities.drop_capabilities.extend(capabilities.get("drop") or [])
    context.seccomp.CopyFrom(_seccomp(security))
    if profile := security.get("appArmorProfile"):
        file = profile.get("localhostProfile", "")
        context.apparmor.CopyFrom(cri.SecurityProfile(profile_type=profile["type"], localhost_ref=file))
    for name, value in selinux.items():
        setattr(context.selinux_options, name, value)
    if not context.privileged and security.get("procMount") != "Unmasked":
        context.masked_paths.extend(MASKED)
        context.readonly_paths.extend(READ_ONLY)


def _set_user(context: cri.LinuxSandboxSecurityContext | cri.LinuxContainerSecurityContext, security: Json) -> None:
    if security.get("runAsUser") is not None:
        context.run_as_user.value = security["runAsUser"]
    if security.get("runAsGroup") is not None:
        context.run_as_group.value = security["runAsGroup"]
    context.supplemental_groups.extend(security.get("supplementalGroups") or [])
    if security.get("fsGroup") is not None:
        context.supplemental_groups.append(security["fsGroup"])
    if policy := security.get("supplementalGroupsPolicy"):
        context.supplemental_groups_policy = cri.Strict if policy == "Strict" else cri.Merge


def _set_image_user(context: cri.LinuxContainerSecurityContext, image: cri.Image) -> None:
    """Where the pod names no user it is the image's, by number or by name."""
    if context.HasField("run_as_user"):
        return
    if image.HasField("uid"):
        context.run_as_user.value = image.uid.value
    context.run_as_username = image.username


def _seccomp(security: Json) -> cri.SecurityProfile:
    profile = security.get("seccompProfile") or {"type": "Unconfined"}
    return cri.SecurityProfile(profile_type=profile["type"], localhost_ref=profile.get("localhostProfile", ""))


def _resources(container: Json) -> cri.LinuxContainerResources:
    """CPU and memory in the units of cgroups, as Kubernetes computes them: 1 CPU is 1024 shares, or all of a period."""
    resources = part(container, "resources")
    limits = part(resources, "limits")
    requests = limits | part(resources, "requests")
    result = cri.LinuxContainerResources(cpu_shares=max(2, int(parse(requests.get("cpu", "0")) * 1024)))
    if "cpu" in limits:
        result.cpu_period = CPU_PERIOD
        result.cpu_quota = max(1000, int(parse(limits["cpu"]) * CPU_PERIOD))
    if "memory" in limits:
        result.memory_limit_in_bytes = int(parse(limits["memory"]))
    return result
