"""What the runtime knows: sandboxes and containers, in memory and as JSON files.

A new server goes on where the old one was killed.

    sandboxes/<id>.json
    containers/<id>/container.json          what was asked for and how far it came (written by the server)
    containers/<id>/spec.json               what the supervisor is to run (written by the server)
    containers/<id>/{process,exit}.json     what runs, how it ended (written by the supervisor)
    containers/<id>/work/                   the container's working folder and HOME
    containers/<sandbox id>/                the pause container of a pod of handler `oci`, in the same files
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import secrets
import shutil
import stat
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from google.protobuf.json_format import MessageToDict, ParseDict

from k8sext.infra.cri.proto import api_pb2 as api
from k8sext.infra.cri.shim.processes import children, start_time

log = logging.getLogger(__name__)


@dataclass
class Sandbox:
    """What the containers of one pod share: an address and a name, and what else its handler gives them."""

    config: api.PodSandboxConfig
    runtime_handler: str
    ip: str
    id: str = field(default_factory=lambda: secrets.token_hex(32))
    created_at: int = field(default_factory=time.time_ns)
    ready: bool = True
    handler: str = "process"
    """The handler that made it, also where the request (`runtime_handler`) named none."""

    @property
    def host_network(self) -> bool:
        """Whether the pod asked for the node's own address."""
        return self.config.linux.security_context.namespace_options.network == api.NODE


@dataclass
class Container:
    """One container, from created over running to exited."""

    sandbox_id: str
    config: api.ContainerConfig
    id: str = field(default_factory=lambda: secrets.token_hex(32))
    created_at: int = field(default_factory=time.time_ns)
    started_at: int = 0
    finished_at: int = 0
    exit_code: int = 0
    state: api.ContainerState = api.CONTAINER_CREATED
    reason: str = ""
    message: str = ""
    log_path: str = ""
    image_id: str = ""
    ended: asyncio.Event = field(default_factory=asyncio.Event)

    def end(self, code: int, finished_at: int, reason: str = "", message: str = "") -> None:
        """Note how the container ended and wake who waits for it."""
        self.state, self.exit_code, self.finished_at = api.CONTAINER_EXITED, code, finished_at
        self.reason = reason or ("Completed" if code == 0 else "Error")
        self.message = message
        self.ended.set()


class Store:
    """All sandboxes and containers of a node, by id. Ids of requests are only ever looked up, never made part of a
    path."""

    def __init__(self, folder: Path) -> None:
        """Load what stands in `folder`; a file that cannot be read (a disk was full) is left aside and said so."""
        self.folder = folder
        self.sandboxes: dict[str, Sandbox] = {}
        self.containers: dict[str, Container] = {}
        for part in ("sandboxes", "containers"):
            (folder / part).mkdir(parents=True, exist_ok=True)
        self._load()

    def container_folder(self, container: Container) -> Path:
        """Where a container's files stand."""
        return self.folder / "containers" / container.id

    def save_sandbox(self, sandbox: Sandbox) -> None:
        """Keep a sandbox as it is now."""
        self.sandboxes[sandbox.id] = sandbox
        _write(self._sandbox_file(sandbox), sandbox, ("id", "created_at", "runtime_handler", "ip", "ready", "handler"))

    def save_container(self, container: Container) -> None:
        """Keep a container as it is now."""
        folder = self.container_folder(container)
        (folder / "work").mkdir(parents=True, exist_ok=True)
        keys = (
            "id",
            "sandbox_id",
            "created_at",
            "started_at",
            "finished_at",
            "exit_code",
            "state",
            "reason",
            "message",
            "log_path",
            "image_id",
        )
        _write(folder / "container.json", container, keys)
        self.containers[container.id] = container

    def exit_of(self, container: Container) -> dict[str, int] | None:
        """Return what the supervisor wrote when the container ended: `code` and `finished_at`."""
        return _read(self.container_folder(container) / "exit.json")

    def process_of(self, thing: Container | Sandbox) -> dict[str, int] | None:
        """Return the pids the supervisor wrote at the start, `init` and `main`; None when they have ended, and may be
        others' now."""
        found = _read(self.folder / "containers" / thing.id / "process.json")
        if found is None or start_time(found["init"]) != found["started"]:
            return None
        return found if found["main"] in children(found["init"]) else None

    def containers_in(self, sandbox: Sandbox) -> list[Container]:
        """Return the containers of a sandbox."""
        return [container for container in self.containers.values() if container.sandbox_id == sandbox.id]

    def forget_sandbox(self, sandbox: Sandbox) -> None:
        """Remove a sandbox and its file."""
        self._sandbox_file(sandbox).unlink(missing_ok=True)
        self.sandboxes.pop(sandbox.id, None)

    async def forget_container(self, container: Container) -> None:
        """Remove a container and its files."""
        (self.container_folder(container) / "container.json").unlink(missing_ok=True)
        self.containers.pop(container.id, None)
        await asyncio.to_thread(remove_tree, self.container_folder(container))

    def _sandbox_file(self, sandbox: Sandbox) -> Path:
        return self.folder / "sandboxes" / f"{sandbox.id}.json"

    def _load(self) -> None:
        for file in (self.folder / "sandboxes").glob("*.json"):
            if (found := _read(file)) is not None:
                config = ParseDict(found.pop("config"), api.PodSandboxConfig())
                if found.pop("oci", False):  # as the first release wrote it
                    found["handler"] = "oci"
                self.sandboxes[found["id"]] = Sandbox(config=config, **found)
        for folder in (self.folder / "containers").iterdir():
            if (found := _read(folder / "container.json")) is not None:
                config = ParseDict(found.pop("config"), api.ContainerConfig())
                container = self.containers[found["id"]] = Container(config=config, **found)
                if container.state == api.CONTAINER_EXITED:
                    container.ended.set()
            elif folder.name not in self.sandboxes:
                remove_tree(folder)  # its removal or creation was interrupted


def remove_tree(folder: Path) -> None:
    """Remove a folder, also where its owner forbade himself to write."""

    def allow_and_retry(remove: Any, path: str, failure: Any) -> None:
        if isinstance(failure[1], FileNotFoundError):
            return
        parent = Path(path).parent
        try:
            parent.chmod(parent.stat().st_mode | stat.S_IRWXU)
            Path(path).chmod(stat.S_IRWXU, follow_symlinks=False) if Path(path).is_dir() else None
            shutil.rmtree(path) if Path(path).is_dir() else Path(path).unlink(missing_ok=True)
        except OSError as problem:
            log.warning("%s stays behind: %s", path, problem)

    shutil.rmtree(folder, onerror=allow_and_retry)


def _write(path: Path, thing: Sandbox | Container, keys: tuple[str, ...]) -> None:
    content = {key: getattr(thing, key) for key in keys}
    content["config"] = MessageToDict(thing.config, preserving_proto_field_name=True)
    write_aside(path, json.dumps(content, indent=1))


def write_aside(path: Path, text: str) -> None:
    """Replace a file in one step: whoever reads sees the old content or the new. Only its owner may read it."""
    new = path.with_name(f"{path.name}.new")
    with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
        file.write(text)
    new.replace(path)


def _read(path: Path) -> dict[str, Any] | None:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except ValueError as problem:
        log.warning("%s is not readable and is left out: %s", path, problem)
        return None
