"""Runtime handlers: what does a RuntimeClass choose?

A pod names a RuntimeClass, the RuntimeClass a handler, and the kubelet passes the name on in RunPodSandbox. A handler
decides what a sandbox is and what a container is; all else (their states, files, logs, signals, cgroups) is the same
for every handler and stands in `lifecycle`. Two are here: `process`, for which a container is a process of this
machine, and `oci`, for which it has a root folder, namespaces and a network of its own.

    CRI, OCI                          file                     function
    RunPodSandbox, StopPodSandbox     process/, oci/handler    run_sandbox, stop_sandbox
    pause container                   oci/pause                Pause.start
    CreateContainer (validation)      mounts, security         mounts_of, check_pod, check_container
    StartContainer                    process/specification    specification
    config.json of the bundle         oci/bundle               config
    user, capabilities                process/identity         identity, lowering
    CNI ADD, DEL, GC                  oci/network              Network.add, delete, collect
    images                            oci/image_store          ImageStore.pull

Source: https://kubernetes.io/docs/concepts/containers/runtime-class/, and `runtime_handler` in the CRI's api.proto.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:  # parts of `oci` run without what is installed beside Python
    from contextlib import AbstractAsyncContextManager
    from ipaddress import IPv4Network

    from k8sext.infra.cri.handlers.oci.image_store import ImageStore
    from k8sext.infra.cri.proto import api_pb2 as api
    from k8sext.infra.cri.store import Container, Sandbox
    from k8sext.infra.cri.streaming.port_forward import Dial
    from k8sext.kube.objects import Json


class Handler(Protocol):
    """What a runtime handler does for its sandboxes and containers. Everything but `user` raises StatusError with the
    reason when it cannot."""

    @property
    def name(self) -> str:
        """What a RuntimeClass calls it in its field `handler`."""
        ...

    @property
    def isolation(self) -> str:
        """How its containers are kept apart, in a word, for `crictl inspect`."""
        ...

    @property
    def images(self) -> ImageStore | None:
        """Where its containers find other images than the built-in one; None: nowhere."""
        ...

    @property
    def has_pause(self) -> bool:
        """Has each sandbox a process of its own, with whose end the sandbox has ended?"""
        ...

    def check_sandbox(self, config: api.PodSandboxConfig) -> None:
        """Refuse a pod that asks for what this handler cannot give."""
        ...

    async def run_sandbox(self, sandbox: Sandbox, cidr: IPv4Network) -> None:
        """Make what the containers of a pod share, and give it an address of the node's range `cidr`."""
        ...

    async def stop_sandbox(self, sandbox: Sandbox, cidr: IPv4Network) -> None:
        """Take that away, address included; a sandbox that is stopped already is none the worse."""
        ...

    def remove_sandbox(self, sandbox: Sandbox) -> None:
        """Remove what is left of its files."""
        ...

    async def recover(self, ready: list[Sandbox], cidr: IPv4Network) -> None:
        """After a start of the server: give back what belongs to none of these sandboxes, which are all that run."""
        ...

    def address(self, sandbox: Sandbox) -> str:
        """The address at which the servers of a pod listen."""
        ...

    def dialer(self, sandbox: Sandbox) -> AbstractAsyncContextManager[Dial]:
        """Hold what makes connections to the ports of a pod, for port-forward; each may raise OSError."""
        ...

    def check(self, config: api.ContainerConfig) -> None:
        """Refuse a container that cannot be run here."""
        ...

    async def specification(self, container: Container, sandbox: Sandbox) -> Json:
        """What the shim is to run for a container (its keys: `shim.processes.start`)."""
        ...

    async def started(self, container: Container) -> None:
        """Return when the container's own program runs, after the shim has started what `specification` says."""
        ...

    def check_command(self, argv: list[str], container: Container) -> None:
        """Refuse a command that a container cannot run, as far as that can be seen from here."""
        ...

    async def executing(
        self, container: Container, sandbox: Sandbox, argv: list[str], tty: bool
    ) -> tuple[list[str], list[str]]:
        """How a command is run in a container, with its rights: what the shim puts before it, and the command."""
        ...

    def user(self, container: Container) -> api.LinuxContainerUser:
        """Who a container runs as, as far as that is known."""
        ...
