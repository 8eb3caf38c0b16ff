"""What happens to a pod of handler `oci`, and to each of its containers, beside what `lifecycle` does for all.

A pod begins with a process that does nothing (others call it the pause container): its namespaces are the pod's.
It is started by the shim like any program, so it ends with the shim and outlives a restart of the server.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import os
import shutil
import sys
import time
from pathlib import Path, PurePosixPath
from typing import Any

from k8sext.infra.cri import programs
from k8sext.infra.cri.images import BUILT_IN, DEFAULT_PATH, IMAGE_ID
from k8sext.infra.cri.isolation import Mount
from k8sext.infra.cri.oci import bundle, check, possible
from k8sext.infra.cri.oci.network import Network, NetworkError
from k8sext.infra.cri.oci.room import Room
from k8sext.infra.cri.oci.store import ImageStore
from k8sext.infra.cri.oci.users import User, user_of
from k8sext.infra.cri.proto import api_pb2 as api
from k8sext.infra.cri.shimclient import SOURCE_ROOT, ShimClient, ShimError
from k8sext.infra.cri.state import Container, Sandbox, Store, write_aside
from k8sext.infra.refusals import invalid, precondition

PATIENCE = 30.0
FIRST_PROCESS = '[ "$1" = host ] || ip link set lo up; : > "$0"; trap "" CHLD; exec tail -f /dev/null'
"""The pod's first process: says that it is ready, and reaps whom nobody waits for, by not wanting to hear of it."""
IN_FRONT = """
if [ -d /sys/fs/cgroup/unified ]; then mount -t tmpfs none /sys/fs/cgroup/unified; fi
if [ -n "$1" ]; then mount -t overlay overlay -o "$1" "$2" || cp -a --reflink=auto "$3/." "$2"; fi
shift 3
exec "$@"
"""
"""Run in a mount namespace, which takes its mounts with it when it ends: the container's writable layer is laid over its
image, and crun, which refuses to start beside two generations of cgroups, is shown one."""
Json = dict[str, Any]


class OciHandler:
    """The handler `oci` of one node."""

    def __init__(self, store: Store, shim: ShimClient, images: ImageStore, network: Network, room: Room) -> None:
        self._store, self._shim, self.images = store, shim, images
        self._network, self._room = network, room
        self._path = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"

    # ---- pods ----

    async def run_sandbox(self, sandbox: Sandbox, cidr: Any) -> None:
        """Make a pod's namespaces and attach it to the network; raise Refusal with the reason when that cannot be."""
        if reasons := await asyncio.to_thread(possible.obstacles):
            raise precondition(f"the runtime handler 'oci' cannot be used on this machine: {'; '.join(reasons)}")
        check.sandbox(sandbox.config)
        folder = self._folder(sandbox)
        folder.mkdir(parents=True, exist_ok=True)
        try:
            holder = await self._hold(sandbox, folder)
            if not sandbox.host_network:
                result = await self._network.add(cidr, sandbox.id, f"/proc/{holder}/ns/net")
                write_aside(folder / "network.json", json.dumps(result))
                sandbox.ip = result["ips"][-1]["address"].partition("/")[0]
        except (NetworkError, ShimError, OSError) as problem:
            await self._kill(sandbox)
            shutil.rmtree(folder, ignore_errors=True)
            raise precondition(f"the pod's namespaces cannot be made: {problem}") from None

    async def stop_sandbox(self, sandbox: Sandbox, cidr: Any) -> None:
        """Detach a pod and end its namespaces; one that is stopped already is none the worse."""
        note = self._folder(sandbox) / "network.json"
        if note.exists():
            try:
                await self._network.delete(cidr, sandbox.id, json.loads(note.read_text()))
            except NetworkError as problem:
                raise precondition(str(problem)) from None
            note.unlink()
        await self._kill(sandbox)

    def remove_sandbox(self, sandbox: Sandbox) -> None:
        """Remove what is left of a pod's files."""
        shutil.rmtree(self._folder(sandbox), ignore_errors=True)

    async def open(self, sandboxes: list[Sandbox], cidr: Any) -> None:
        """After a start of the server: give back the addresses of pods that are gone."""
        if self._network.was_used():
            await self._network.collect(cidr, [sandbox.id for sandbox in sandboxes])

    # ---- containers ----

    def check(self, config: api.ContainerConfig) -> None:
        """Raise Refusal when a container that is asked for cannot be run here."""
        if not config.metadata.name:
            raise invalid("the container has no name: set config.metadata.name")
        check.container(config)
        image = self._image(config)
        if not bundle.command(config, image["config"]):
            raise invalid("the image has no command of its own: give the container a command")
        self._user(config, image)

    def specification(self, container: Container, sandbox: Sandbox, address: str) -> Json:
        """Write a container's bundle and return what the shim is to run; raise Refusal when it cannot be."""
        folder = self._store.container_folder(container)
        image = self._image(container.config)
        user = self._user(container.config, image)
        ours = {"HOSTNAME": sandbox.config.hostname or "localhost", "K8SEXT_BIND_ADDRESS": address}
        where = bundle.Surroundings(self._holder(sandbox), self._target(container), possible.owner_is_root(), ours)
        mounts = self._mounts(container.config, sandbox, folder, image)
        (folder / "rootfs").mkdir(exist_ok=True)
        document = bundle.config(container, sandbox, image["config"], user, mounts, where)
        write_aside(folder / "config.json", json.dumps(document, indent=1))
        layers = self._layers(folder, image["rootfs"])
        crun = self._crun(folder)
        return {
            "wrapper": self._in_front(sandbox, layers),
            "wrapper_forks": 0,
            "argv": [*crun, "run", "--bundle", str(folder), "--pid-file", str(folder / "pid"), container.id],
            "env": {"PATH": self._path},
            "cwd": "/",
            "tty": container.config.tty,
            "stdin": container.config.stdin,
            "stdin_once": container.config.stdin_once,
            "log": container.log_path,
            "oom_score_adj": 0,
            "mount_namespace": str(folder / "mounts"),
        }

    async def started(self, container: Container) -> None:
        """Return when the container's program has been executed; raise ShimError with crun's words when it cannot be."""
        folder, deadline = self._store.container_folder(container), time.monotonic() + PATIENCE
        while not (pid := _text(folder / "pid")):  # crun makes the file, and then fills it
            if container.ended.is_set() or time.monotonic() > deadline:
                raise ShimError(_last_words(folder / "crun.log"))
            await asyncio.sleep(0.004)
        with contextlib.suppress(OSError):  # it may have ended already
            (folder / "mounts").write_text(os.readlink(f"/proc/{pid}/ns/mnt"))  # noqa: PTH115

    def executing(self, container: Container, sandbox: Sandbox, argv: list[str], tty: bool) -> list[str]:
        """Return the command that executes another in a container: as the same user, with the same rights and variables."""
        folder = self._store.container_folder(container)
        process = json.loads((folder / "config.json").read_text())["process"] | {"args": argv, "terminal": tty}
        text = json.dumps(process)
        note = (
            folder / f"exec-{hashlib.sha256(text.encode()).hexdigest()[:16]}.json"
        )  # the same for each round of a probe
        write_aside(note, text)
        return [
            *self._in_front(sandbox, ["", "", ""]),
            *self._crun(folder),
            "exec",
            "--process",
            str(note),
            container.id,
        ]

    def user(self, container: Container) -> api.LinuxContainerUser:
        """Return who a container runs as, once it has been started."""
        try:
            document = json.loads((self._store.container_folder(container) / "config.json").read_text())
        except (OSError, ValueError):
            return api.LinuxContainerUser()
        user = document["process"]["user"]
        return api.LinuxContainerUser(uid=user["uid"], gid=user["gid"], supplemental_groups=user["additionalGids"])

    # ---- the parts ----

    async def _hold(self, sandbox: Sandbox, folder: Path) -> int:
        options = sandbox.config.linux.security_context.namespace_options
        own_network = not sandbox.host_network
        flags = ["--net", "--uts"] if own_network else []
        flags += ["--ipc"] if options.ipc != api.NODE else []
        flags += ["--pid", "--fork", "--kill-child"] if options.pid == api.POD else []
        enter = await asyncio.to_thread(self._room.enter, own_network)
        spec = {
            "wrapper": [*enter, "unshare", *flags, "--"] if flags else enter,
            "wrapper_forks": 0,
            "argv": ["sh", "-c", FIRST_PROCESS, str(folder / "ready"), "own" if own_network else "host"],
            "env": {"PATH": self._path},
            "cwd": "/",
            "cgroups": [],
            "tty": False,
            "stdin": False,
            "stdin_once": False,
            "log": str(folder / "log"),
            "oom_score_adj": 0,
        }
        write_aside(folder / "spec.json", json.dumps(spec))
        await self._shim.ask("start", sandbox.id, spec=str(folder / "spec.json"))
        deadline = time.monotonic() + PATIENCE
        while not (folder / "ready").exists():
            if (folder / "exit.json").exists() or time.monotonic() > deadline:
                raise ShimError(_last_words(folder / "log"))
            await asyncio.sleep(0.004)
        return self._holder(sandbox)

    async def _kill(self, sandbox: Sandbox) -> None:
        """End a pod's first process and wait until it is gone, and its namespaces with it."""
        deadline = time.monotonic() + PATIENCE
        try:
            while time.monotonic() < deadline:
                await self._shim.ask("kill", sandbox.id)
                await asyncio.sleep(0.004)
        except ShimError:
            return  # it does not run any more

    def _image(self, config: api.ContainerConfig) -> Json:
        found = None if config.image.image in (BUILT_IN, IMAGE_ID) else self.images.find(config.image.image)
        if found is not None:
            return {"rootfs": found.rootfs, "config": found.config}
        return {"rootfs": None, "config": {"Env": [f"PATH={DEFAULT_PATH}"]}}

    def _user(self, config: api.ContainerConfig, image: Json) -> User:
        root = image["rootfs"] or Path("/")
        named = image["config"].get("User", "")
        return user_of(config.linux.security_context, named, root, possible.owner_is_root())

    def _mounts(self, config: api.ContainerConfig, sandbox: Sandbox, folder: Path, image: Json) -> list[Mount]:
        """Volumes behind what they stand in: an image's folders first, then the shallow before the deep."""
        mounts = check.mounts(config)
        for mount in mounts:
            if not Path(mount.source).exists():
                Path(mount.source).mkdir(parents=True, exist_ok=True)
        if text := programs.resolver(sandbox.config.dns_config):
            (folder / "resolv.conf").write_text(text)
            mounts.append(Mount(str(folder / "resolv.conf"), "/etc/resolv.conf"))
        mounts.sort(key=lambda mount: len(PurePosixPath(mount.target).parts))
        return [*(built_in_mounts(folder) if image["rootfs"] is None else []), *mounts]

    def _layers(self, folder: Path, lower: Path | None) -> list[str]:
        """Return overlayfs's options, the mount point and the lower layer; three empty words for the built-in image."""
        if lower is None:
            return ["", "", ""]
        for name in ("upper", "overlay"):
            (folder / name).mkdir(exist_ok=True)
        options = f"lowerdir={lower},upperdir={folder / 'upper'},workdir={folder / 'overlay'}"
        return [options, str(folder / "rootfs"), str(lower)]

    def _in_front(self, sandbox: Sandbox, layers: list[str]) -> list[str]:
        enter = self._room.enter(network=not sandbox.host_network)
        return [*enter, "unshare", "--mount", "--", "sh", "-ec", IN_FRONT, "sh", *layers]

    def _crun(self, folder: Path) -> list[str]:
        state, log = str(folder / "state"), str(folder / "crun.log")
        return [str(possible.program_at("crun")), "--root", state, "--log", log, "--cgroup-manager=disabled"]

    def _holder(self, sandbox: Sandbox) -> int:
        try:
            return json.loads((self._folder(sandbox) / "process.json").read_text())["main"]
        except (OSError, ValueError):
            raise precondition("the pod's namespaces are gone: make a new sandbox") from None

    def _target(self, container: Container) -> int | None:
        options = container.config.linux.security_context.namespace_options
        if options.pid != api.TARGET:
            return None
        target = self._store.containers.get(options.target_id)
        if target is None or target.state != api.CONTAINER_RUNNING:
            raise precondition("the container whose processes are to be seen does not run")
        return int((self._store.container_folder(target) / "pid").read_text())

    def _folder(self, sandbox: Sandbox) -> Path:
        return self._store.folder / "containers" / sandbox.id


def built_in_mounts(folder: Path) -> list[Mount]:
    """The workbook's image: the machine's programs and this Python environment, not to be written to, in an empty root folder."""
    (folder / "rootfs" / "tmp").mkdir(parents=True, exist_ok=True)
    (folder / "rootfs" / "tmp").chmod(0o1777)
    there = []
    for place in bundle.machine_folders():
        if Path(place).is_symlink():
            link = folder / "rootfs" / place[1:]
            if not link.is_symlink():
                link.symlink_to(Path(place).readlink())
        else:
            there.append(place)
    for place in dict.fromkeys((sys.prefix, sys.base_prefix, str(SOURCE_ROOT))):
        if not any(PurePosixPath(place).is_relative_to(other) for other in there):
            there.append(place)
    return [Mount(place, place, True) for place in there]


def _text(file: Path) -> str:
    try:
        return file.read_text(errors="replace").strip()
    except OSError:
        return ""


def _last_words(file: Path) -> str:
    lines = [line for line in _text(file).splitlines() if line.strip() and "hybrid mode" not in line]
    return f"cannot start: {lines[-1].strip()}" if lines else "cannot start: it ended without a word"
