"""Hold the containers of a node: start, signal, kill, log, attach; remember how they ended."""

# pathlib would cost a tenth of this process's memory: os it is
# ruff: noqa: PTH105, PTH110, PTH123

from __future__ import annotations

import contextlib
import gc
import json
import os
import selectors
import signal
import socket
import time
from typing import Any

from k8sext.infra.cri.shim import processes
from k8sext.infra.cri.shim.logs import CriLog
from k8sext.infra.cri.shim.stdio import Session, Stdio

LARGEST_PACKET = 200_000
LOOK_SECONDS = 5.0


class Program:
    """A container's main program, or a command executed beside it."""

    def __init__(self, container: str, forks: int, started: processes.Started, stdio: Stdio) -> None:
        self.container, self.forks, self.started, self.stdio = container, forks, started, stdio
        self.code: int | None = None

    def main_process(self) -> int | None:
        """The process that is to get the signals: below those of a wrapper that forks (bwrap, proot), once it is
        there."""
        found = self.started.main
        if self.code is not None or found not in processes.children(self.started.init):
            return None  # it has ended, and its number may be another's
        for _ in range(self.forks):
            found = next(iter(processes.children(found)), found)
        return found

    def signal(self, number: int) -> None:
        """Send a signal to the main process, if it runs."""
        if (pid := self.main_process()) is not None:
            processes.send_signal(pid, number, lambda: self.main_process() == pid)

    def kill(self) -> None:
        """Let init kill everything. Until we have waited for init its number is its own."""
        if self.code is None:
            _send_signal(self.started.init, signal.SIGTERM)


class Supervisor:
    """Serves the requests listed in the package's docstring."""

    def __init__(self, listener: socket.socket, folder: str) -> None:
        """`listener` is bound and listening; `folder` holds containers/ID/ for each container."""
        self.selector = selectors.DefaultSelector()
        self._folder = folder
        self._containers: dict[str, Program] = {}
        self._programs: dict[int, Program] = {}  # by the pid of their init
        self._clients: list[socket.socket] = []
        self._entrances: set[str] = set()  # to the cgroups of all containers
        self._ending = False
        self.selector.register(listener, selectors.EVENT_READ, lambda: self._accept(listener))
        wake_read, wake_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.signal(signal.SIGTERM, lambda *_: self._end())
        self.selector.register(wake_read, selectors.EVENT_READ, lambda: self._reap(wake_read))

    def serve(self) -> None:
        """Serve until SIGTERM has come, or the node's folder is gone, and the last container has ended."""
        while self._programs or not self._ending:
            for key, _ in self.selector.select(timeout=1 if self._ending else LOOK_SECONDS):
                key.data()
            self._finish_ended()
            if not self._ending and not os.path.exists("shim.json"):  # somebody removed the whole cluster by hand
                self._end()
        if not os.path.exists("shim.json"):  # and nobody else knows of the containers' cgroups any more
            from k8sext.infra.cri import cleanup  # here, as it needs pathlib

            cleanup.remove_groups(self._entrances)

    def _accept(self, listener: socket.socket) -> None:
        client, _ = listener.accept()
        client.setblocking(True)
        self._clients.append(client)
        self.selector.register(client, selectors.EVENT_READ, lambda: self._request(client))

    def _request(self, client: socket.socket) -> None:
        try:
            packet, fds, _, _ = socket.recv_fds(client, LARGEST_PACKET, 1)
        except OSError:
            packet, fds = b"", []
        if not packet:
            self._forget(client)
            return
        request = json.loads(packet)
        session = socket.socket(fileno=fds[0]) if fds else None
        try:
            answer = {"ok": self._do(request, session)}
        except (processes.StartError, OSError, KeyError, ValueError) as problem:
            answer = {"error": str(problem)}
            if session is not None:
                session.close()
        self._tell(client, {"id": request["id"], **answer})

    def _do(self, request: dict[str, Any], session: socket.socket | None) -> dict[str, Any]:
        do, container = request["do"], request.get("container", "")
        if do == "list":
            return {name: {"pid": program.started.main} for name, program in self._containers.items()}
        if do == "start":
            return self._start(container, request["spec"])
        program = self._containers.get(container)
        if program is None:
            raise ValueError("the container is not running")
        if do == "exec" and session is not None:
            self._exec(container, request, session)
        elif do == "attach" and session is not None:
            program.stdio.attach(Session(session, takes_input=request["stdin"], owns_program=False))
        elif do == "signal":
            program.signal(request["signal"])
        elif do == "kill":
            self._kill(container)
        elif do == "reopen":
            program.stdio.reopen_log()
        else:
            raise ValueError(f"unknown request {do!r}")
        return {}

    def _start(self, container: str, spec_path: str) -> dict[str, Any]:
        if container in self._containers:
            raise ValueError("the container is running already")
        spec = _read_spec(spec_path)
        log = CriLog(spec["log"]) if spec["log"] else None
        self._entrances.update(spec["cgroups"])
        program = self._run(container, spec, log, hold_stdin=not spec["stdin_once"])
        self._containers[container] = program
        record = {"init": program.started.init, "main": program.started.main}
        record["started"] = processes.start_time(program.started.init) or 0
        self._record(container, "process.json", record)
        return {"pid": program.started.main}

    def _exec(self, container: str, request: dict[str, Any], session: socket.socket) -> None:
        spec = _read_spec(f"{self._folder}/containers/{container}/spec.json")
        spec |= {key: request[key] for key in ("argv", "tty", "stdin", "wrapper") if key in request}
        if spec["tty"]:
            spec["env"].setdefault("TERM", "xterm")
        spec.pop("root_of", None)  # a command's end is not the container's
        program = self._run(container, spec, log=None, hold_stdin=False)
        program.stdio.on_session_lost = program.kill
        program.stdio.attach(Session(session, takes_input=request["stdin"], owns_program=True))

    def _run(self, container: str, spec: dict[str, Any], log: CriLog | None, hold_stdin: bool) -> Program:
        gc.freeze()  # keeps the memory of the forked init shared with ours
        started = processes.start(spec)
        program = Program(container, spec["wrapper_forks"], started, Stdio(self.selector, started, log, hold_stdin))
        self._programs[started.init] = program
        return program

    def _kill(self, container: str) -> None:
        for program in self._programs.values():
            if program.container == container:
                program.kill()

    def _reap(self, wake: int) -> None:
        os.read(wake, 4096)
        killed = False
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                break
            if pid == 0:
                break
            code = os.waitstatus_to_exitcode(status)
            killed = killed or code < 0
            if pid in self._programs:
                self._programs[pid].code = code if code >= 0 else 128 - code
                self._end_commands_of(self._programs[pid])
        if killed:
            self._kill_orphans()

    def _end_commands_of(self, program: Program) -> None:
        """What was executed in a container ends with it."""
        if self._containers.get(program.container) is program:
            self._kill(program.container)

    def _kill_orphans(self) -> None:
        """Processes whose init was killed have become our children, whose numbers are theirs until we have waited for
        them."""
        for pid in processes.children(os.getpid()):
            if pid not in self._programs:
                _send_signal(pid, signal.SIGKILL)

    def _finish_ended(self) -> None:
        for init, program in list(self._programs.items()):
            if program.code is not None and program.stdio.conclude(program.code):
                del self._programs[init]
                if self._containers.get(program.container) is program:
                    del self._containers[program.container]
                    self._record(program.container, "exit.json", {"code": program.code, "finished_at": time.time_ns()})
                    self._announce({"exited": program.container})

    def _end(self) -> None:
        self._ending = True
        for container in self._containers:
            self._kill(container)

    def _record(self, container: str, name: str, content: dict[str, int]) -> None:
        path = f"{self._folder}/containers/{container}/{name}"
        try:
            with open(f"{path}.new", "w", encoding="ascii") as file:
                json.dump(content, file)
            os.replace(f"{path}.new", path)
        except OSError:
            pass  # the folder is gone: nobody will ask

    def _announce(self, message: dict[str, Any]) -> None:
        for client in list(self._clients):
            self._tell(client, message)

    def _tell(self, client: socket.socket, message: dict[str, Any]) -> None:
        try:
            client.send(json.dumps(message).encode(), socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)
        except OSError:
            self._forget(client)

    def _forget(self, client: socket.socket) -> None:
        if client in self._clients:
            self._clients.remove(client)
            self.selector.unregister(client)
            client.close()


def _read_spec(path: str) -> dict[str, Any]:
    with open(path, encoding="utf-8") as file:
        return json.load(file)


def _send_signal(pid: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)
