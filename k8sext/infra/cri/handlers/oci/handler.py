"""The runtime handler `oci`: a sandbox is a pause container with its namespaces, a container is a bundle that crun
runs."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import shutil
import time
from contextlib import AbstractAsyncContextManager
from ipaddress import IPv4Network
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from k8sext.infra.cri.built_in import DEFAULT_PATH, is_built_in
from k8sext.infra.cri.container_config import program
from k8sext.infra.cri.handlers.oci import bundle, capability_checks, dial, rootfs
from k8sext.infra.cri.handlers.oci.image_store import ImageStore
from k8sext.infra.cri.handlers.oci.network import Network, NetworkError
from k8sext.infra.cri.handlers.oci.network_namespace import NetworkNamespace
from k8sext.infra.cri.handlers.oci.pause import PATIENCE, Pause, last_words, text_of
from k8sext.infra.cri.handlers.oci.users import User, user_of
from k8sext.infra.cri.handlers.security import cannot, check_container, check_pod
from k8sext.infra.cri.proto import api_pb2 as api
from k8sext.infra.cri.shim.processes import children
from k8sext.infra.cri.shimclient import ShimClient, ShimError
from k8sext.infra.cri.store import Container, Sandbox, Store, write_aside
from k8sext.infra.grpc import failed_precondition, invalid_argument
from k8sext.kube.objects import Json

if TYPE_CHECKING:
    from k8sext.infra.cri.streaming.port_forward import Dial

SYSCTLS = ("kernel.shm", "kernel.msg", "kernel.sem", "fs.mqueue.", "net.")
"""Those that belong to a namespace, and so to the pod alone."""


class Image(NamedTuple):
    """What a container is made from: its root folder (None: the machine's programs) and its config."""

    rootfs: Path | None
    config: Json


class OciHandler:
    """The handler `oci` of one node."""

    name, isolation, has_pause = "oci", "oci", True

    def __init__(
        self, store: Store, shim: ShimClient, images: ImageStore, namespace: NetworkNamespace, bridge: str
    ) -> None:
        """`namespace` is where the node's bridge is; `bridge` is the bridge's name."""
        self._store, self.images, self._namespace = store, images, namespace
        self._path = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
        self._pause = Pause(store, shim, namespace, self._path)
        self._network = Network(store.folder / "cni", namespace, bridge)

    # ---- sandboxes ----

    def check_sandbox(self, config: api.PodSandboxConfig) -> None:
        """Refuse what is the whole machine's."""
        host_network = config.linux.security_context.namespace_options.network == api.NODE
        for name in config.linux.sysctls:
            if not name.startswith(SYSCTLS) or (name.startswith("net.") and host_network):
                what = f"set the sysctl {name}, which is the whole machine's"
                raise cannot(self.name, what, "remove it from securityContext.sysctls")
        if any(port.host_port for port in config.port_mappings) and not host_network:
            raise cannot(self.name, "lead a port of the machine to a pod", "remove hostPort, or use hostNetwork: true")
        check_pod(config, self.name)

    async def run_sandbox(self, sandbox: Sandbox, cidr: IPv4Network) -> None:
        """Make a pod's namespaces and attach them to the network."""
        if reasons := await asyncio.to_thread(capability_checks.obstacles):
            raise failed_precondition(f"the runtime handler 'oci' cannot be used on this machine: {'; '.join(reasons)}")
        folder = self._pause.folder(sandbox)
        folder.mkdir(parents=True, exist_ok=True)
        try:
            pause = await self._pause.start(sandbox)
            if sandbox.host_network:
                sandbox.ip = str(cidr[1])
                return
            result = await self._network.add(cidr, sandbox.id, f"/proc/{pause}/ns/net")
            write_aside(folder / "network.json", json.dumps(result))
            sandbox.ip = result["ips"][-1]["address"].partition("/")[0]
        except (NetworkError, ShimError, OSError) as problem:
            await self._pause.stop(sandbox)
            shutil.rmtree(folder, ignore_errors=True)
            raise failed_precondition(f"the pod's namespaces cannot be made: {problem}") from None

    async def stop_sandbox(self, sandbox: Sandbox, cidr: IPv4Network) -> None:
        """Detach a pod and end its namespaces."""
        note = self._pause.folder(sandbox) / "network.json"
        if note.exists():
            try:
                await self._network.delete(cidr, sandbox.id, json.loads(note.read_text()))
            except NetworkError as problem:
                raise failed_precondition(str(problem)) from None
            note.unlink()
        await self._pause.stop(sandbox)

    def remove_sandbox(self, sandbox: Sandbox) -> None:
        """Remove the files of its pause container."""
        shutil.rmtree(self._pause.folder(sandbox), ignore_errors=True)

    async def recover(self, ready: list[Sandbox], cidr: IPv4Network) -> None:
        """Give back the addresses of pods that are gone."""
        if self._network.was_used():
            try:
                await self._network.collect(cidr, [sandbox.id for sandbox in ready])
            except NetworkError as problem:
                raise failed_precondition(f"the pod network was not cleaned: {problem}") from None

    def address(self, sandbox: Sandbox) -> str:
        """Any: all addresses of a pod's network are its own, and port-forward asks at its localhost."""
        return sandbox.ip if sandbox.host_network else "0.0.0.0"

    def dialer(self, sandbox: Sandbox) -> AbstractAsyncContextManager[Dial]:
        """Connections from inside the pod's network, so that what listens at its localhost is reached, too."""
        if sandbox.host_network:
            return dial.dialer([])
        network = ["nsenter", f"--net=/proc/{self._pause.pid(sandbox)}/ns/net", "--"]
        return dial.dialer([*self._namespace.enter(network=False), *network])

    # ---- containers ----

    def check(self, config: api.ContainerConfig) -> None:
        """Refuse a container without a command, or with a user that its image does not know."""
        check_container(config, self.name)
        image = self._image(config)
        if not bundle.command(config, image.config):
            raise invalid_argument("the image has no command of its own: give the container a command")
        self._user(config, image)
        rootfs.mounts_of(config, self.name)

    async def specification(self, container: Container, sandbox: Sandbox) -> Json:
        """Write the container's bundle; what runs is crun."""
        return await asyncio.to_thread(self._specification, container, sandbox)

    def _specification(self, container: Container, sandbox: Sandbox) -> Json:
        folder, config = self._store.container_folder(container), container.config
        image = self._image(config)
        user = self._user(config, image)
        ours = {"HOSTNAME": sandbox.config.hostname or "localhost", "K8SEXT_BIND_ADDRESS": self.address(sandbox)}
        real_root = capability_checks.owner_is_root()
        where = bundle.Surroundings(self._pause.pid(sandbox), self._target(container), real_root, ours)
        mounts = rootfs.mounts_in(folder, config, sandbox, image.rootfs, self.name)
        document = bundle.config(container, sandbox, image.config, user, mounts, where)
        write_aside(folder / "config.json", json.dumps(document, indent=1))
        prefix = self._prefix(sandbox, rootfs.layers(folder, image.rootfs))
        argv = [*self._crun(folder), "run", "--bundle", str(folder), "--pid-file", str(folder / "pid"), container.id]
        shared = config.linux.security_context.namespace_options.pid in (api.POD, api.TARGET)
        root = {"root_of": container.id} if shared else {}
        return program(container, prefix, argv, {"PATH": self._path}, "/") | {"oom_score_adj": 0} | root

    async def started(self, container: Container) -> None:
        """Return when crun has executed the program; raise ShimError with crun's words when it cannot be."""
        folder, deadline = self._store.container_folder(container), time.monotonic() + PATIENCE
        while not text_of(folder / "pid"):  # crun makes the file, and then fills it
            if container.ended.is_set() or time.monotonic() > deadline:
                raise ShimError(last_words(folder / "crun.log"))
            await asyncio.sleep(0.004)

    def check_command(self, argv: list[str], container: Container) -> None:
        """crun finds out."""

    async def executing(
        self, container: Container, sandbox: Sandbox, argv: list[str], tty: bool
    ) -> tuple[list[str], list[str]]:
        """Let crun execute it: as the same user, with the same rights and variables."""
        return await asyncio.to_thread(self._executing, container, sandbox, argv, tty)

    def _executing(
        self, container: Container, sandbox: Sandbox, argv: list[str], tty: bool
    ) -> tuple[list[str], list[str]]:
        folder = self._store.container_folder(container)
        process = json.loads((folder / "config.json").read_text())["process"] | {"args": argv, "terminal": tty}
        text = json.dumps(process)
        digest = hashlib.sha256(text.encode()).hexdigest()[:16]  # the same for each round of a probe
        note = folder / f"exec-{digest}.json"
        write_aside(note, text)
        prefix = self._prefix(sandbox, rootfs.NO_LAYERS)
        return [*prefix, *self._crun(folder), "exec", "--process", str(note)], [container.id]

    def user(self, container: Container) -> api.LinuxContainerUser:
        """Known once it has been started."""
        try:
            document = json.loads((self._store.container_folder(container) / "config.json").read_text())
        except (OSError, ValueError):
            return api.LinuxContainerUser()
        user = document["process"]["user"]
        return api.LinuxContainerUser(uid=user["uid"], gid=user["gid"], supplemental_groups=user["additionalGids"])

    # ---- the parts ----

    def _image(self, config: api.ContainerConfig) -> Image:
        found = None if is_built_in(config.image.image) else self.images.find(config.image.image)
        if found is None:
            return Image(None, {"Env": [f"PATH={DEFAULT_PATH}"]})
        return Image(found.rootfs, found.config)

    def _user(self, config: api.ContainerConfig, image: Image) -> User:
        named = image.config.get("User", "")
        root = image.rootfs or Path("/")
        return user_of(config.linux.security_context, named, root, capability_checks.owner_is_root())

    def _prefix(self, sandbox: Sandbox, layers: list[str]) -> list[str]:
        enter = self._namespace.enter(network=not sandbox.host_network)
        return [*enter, "unshare", "--mount", "--", "sh", "-ec", rootfs.PREFIX, "sh", *layers]

    def _crun(self, folder: Path) -> list[str]:
        state, log = str(folder / "state"), str(folder / "crun.log")
        return [str(capability_checks.program_at("crun")), "--root", state, "--log", log, "--cgroup-manager=disabled"]

    def _target(self, container: Container) -> int | None:
        """The process whose pid namespace the container is to see, as ephemeral containers ask."""
        options = container.config.linux.security_context.namespace_options
        if options.pid != api.TARGET:
            return None
        target = self._store.containers.get(options.target_id)
        process = self._store.process_of(target) if target else None
        pid = text_of(self._store.container_folder(target) / "pid") if target else ""
        if process is None or not pid or int(pid) not in children(process["main"]):
            raise failed_precondition("the container whose processes are to be seen does not run")
        return int(pid)
