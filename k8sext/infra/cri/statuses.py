"""What a caller is told about sandboxes and containers, as CRI messages."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping

from k8sext.infra.cri.built_in import BUILT_IN, IMAGE_ID
from k8sext.infra.cri.cgroups import NOT_ENFORCED
from k8sext.infra.cri.lifecycle import Node
from k8sext.infra.cri.proto import api_pb2 as api
from k8sext.infra.cri.store import Container, Sandbox


def sandbox_status(sandbox: Sandbox) -> api.PodSandboxStatus:
    """Describe a sandbox; one with the node's network has no address of its own."""
    ip = sandbox.ip if sandbox.ready and not sandbox.host_network else ""
    return api.PodSandboxStatus(
        id=sandbox.id,
        metadata=sandbox.config.metadata,
        state=_sandbox_state(sandbox),
        created_at=sandbox.created_at,
        network=api.PodSandboxNetworkStatus(ip=ip),
        linux=api.LinuxPodSandboxStatus(
            namespaces=api.Namespace(options=sandbox.config.linux.security_context.namespace_options),
        ),
        labels=sandbox.config.labels,
        annotations=sandbox.config.annotations,
        runtime_handler=sandbox.runtime_handler,
    )


def sandbox_item(sandbox: Sandbox) -> api.PodSandbox:
    """Describe a sandbox in a list."""
    return api.PodSandbox(
        id=sandbox.id,
        metadata=sandbox.config.metadata,
        state=_sandbox_state(sandbox),
        created_at=sandbox.created_at,
        labels=sandbox.config.labels,
        annotations=sandbox.config.annotations,
        runtime_handler=sandbox.runtime_handler,
    )


def container_status(container: Container, node: Node) -> api.ContainerStatus:
    """Describe a container. Resources are told only where they are enforced."""
    config = container.config
    status = api.ContainerStatus(
        id=container.id,
        metadata=config.metadata,
        state=container.state,
        created_at=container.created_at,
        started_at=container.started_at,
        finished_at=container.finished_at,
        exit_code=container.exit_code,
        image=_named_image(config),
        image_ref=container.image_id or IMAGE_ID,
        image_id=container.image_id or IMAGE_ID,
        reason=container.reason,
        message=container.message,
        labels=config.labels,
        annotations=config.annotations,
        mounts=config.mounts,
        log_path=container.log_path,
        user=api.ContainerUser(linux=node.handler_of(container).user(container)),
        stop_signal=config.stop_signal or api.SIGNAL_SIGTERM,
    )
    if node.groups.enforced and config.linux.HasField("resources"):
        status.resources.linux.CopyFrom(config.linux.resources)
    return status


def container_info(container: Container, node: Node) -> dict[str, str]:
    """Return the verbose part of a container's status: how it is isolated, and whether its limits hold."""
    process = node.store.process_of(container) or {}
    sandbox = node.store.sandboxes[container.sandbox_id]
    handler = node.handlers.of(sandbox)
    told = {
        "isolation": handler.isolation,
        "limits": "enforced" if node.groups.enforced else NOT_ENFORCED,
        "pid": process.get("main", 0) if container.state == api.CONTAINER_RUNNING else 0,
        "bindAddress": handler.address(sandbox),
        "folder": str(node.store.container_folder(container) / "work"),
    }
    return {"info": json.dumps(told)}


def container_item(container: Container) -> api.Container:
    """Describe a container in a list."""
    return api.Container(
        id=container.id,
        pod_sandbox_id=container.sandbox_id,
        metadata=container.config.metadata,
        image=_named_image(container.config),
        image_ref=container.image_id or IMAGE_ID,
        image_id=container.image_id or IMAGE_ID,
        state=container.state,
        created_at=container.created_at,
        labels=container.config.labels,
        annotations=container.config.annotations,
    )


def container_event(container: Container, event: api.ContainerEventType, node: Node) -> api.ContainerEventResponse:
    """Tell that something happened to a container, with the state of its whole pod."""
    sandbox = node.sandbox(container.sandbox_id)
    return api.ContainerEventResponse(
        container_id=container.id,
        container_event_type=event,
        created_at=time.time_ns(),
        pod_sandbox_status=sandbox_status(sandbox),
        containers_statuses=[container_status(other, node) for other in node.store.containers_in(sandbox)],
    )


def sandbox_fits(sandbox: Sandbox, wanted: api.PodSandboxFilter) -> bool:
    """Whether a filter lets a sandbox through; its parts are joined by and."""
    return (
        wanted.id in ("", sandbox.id)
        and (not wanted.HasField("state") or wanted.state.state == _sandbox_state(sandbox))
        and labels_fit(wanted.label_selector, sandbox.config.labels)
    )


def container_fits(container: Container, wanted: api.ContainerFilter) -> bool:
    """Whether a filter lets a container through; its parts are joined by and."""
    return (
        wanted.id in ("", container.id)
        and wanted.pod_sandbox_id in ("", container.sandbox_id)
        and (not wanted.HasField("state") or wanted.state.state == container.state)
        and labels_fit(wanted.label_selector, container.config.labels)
    )


def labels_fit(selector: Mapping[str, str], labels: Mapping[str, str]) -> bool:
    """Whether every label of the selector is there."""
    return all(labels.get(key) == value for key, value in selector.items())


def _sandbox_state(sandbox: Sandbox) -> api.PodSandboxState:
    return api.SANDBOX_READY if sandbox.ready else api.SANDBOX_NOTREADY


def _named_image(config: api.ContainerConfig) -> api.ImageSpec:
    """Return the image by its name: a kubelet creates containers by image id."""
    image = config.image.image
    return api.ImageSpec(image=config.image.user_specified_image or (BUILT_IN if image == IMAGE_ID else image))
