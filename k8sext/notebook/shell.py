"""Our `!`: run a command from a notebook cell, show what it prints while it runs, and fail when it fails.

Jupyter's own `!` runs commands in a pseudo-terminal (lines end in CR LF) and says nothing when a command fails. Ours
uses a pipe, raises `CommandFailed`, and lets a command that ends in `&` run on in the background until the kernel ends.
"""

from __future__ import annotations

import codecs
import os
import re
import selectors
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from types import FrameType
from typing import IO, Any

from IPython.utils.text import SList

from k8sext.notebook.expand import ExpansionError, expand
from k8sext.notebook.processes import ProcessGroups, held_back

A_TERMINAL_INSTEAD = (
    "a cell is no terminal, so this would wait for ever: leave out -t and name a command, as in "
    "`kubectl exec POD -- date`, or type it in a terminal (in JupyterLab: File > New > Terminal)"
)
_KUBECTL = re.compile(r"(?:^|[\s;|&(])kubectl\s(?P<arguments>[^|;&\n]*)")
_TTY = re.compile(r"-(?:t|it|ti)|--tty(?:=true)?")

FIRST_LINE_WITHIN = 5.0
INTERRUPT_GRACE = 2.0
LAST_WORDS = 0.3
"""Seconds after a background command's first line, in which it may turn out that this was an error message, and its
end."""
POLL = 0.02


class OneLineError(Exception):
    """An error of which the reader sees one line in the cell: a traceback through our code would explain nothing."""

    def summary(self) -> str:
        """Return that line."""
        return str(self)

    def _render_traceback_(self) -> list[str]:
        return [f"{type(self).__name__}: {self.summary()}"]


class CommandFailed(OneLineError):
    """A command of a `!` line ended with an exit code other than 0.

    Attributes: `command`, `returncode` (negative: ended by that signal), `output` (all it printed), `advice` (what to
    do, "" for nothing).
    """

    def __init__(self, command: str, returncode: int, output: str, advice: str = "") -> None:
        self.command, self.returncode, self.output, self.advice = command, returncode, output, advice
        lines = [line for line in output.splitlines() if line.strip()]
        super().__init__(f"{self.summary()}: {lines[-1].strip()}" if lines else self.summary())

    def summary(self) -> str:
        """Return one line without the output, which the reader has already seen above it."""
        how = f"exit code {self.returncode}"
        if self.returncode < 0:
            how = f"stopped by {signal.Signals(-self.returncode).name}"
        lines = self.command.strip().splitlines() or [""]
        advice = f" ({self.advice})" if self.advice else ""
        return f"{how} from: {lines[0]}{' ...' if len(lines) > 1 else ''}{advice}"


class Interrupted(KeyboardInterrupt):
    """The reader interrupted a command; the command was interrupted, too. One line, as of all other failures."""

    def __init__(self, command: str) -> None:
        super().__init__(f"stopped: {(command.strip().splitlines() or [''])[0]}")

    def _render_traceback_(self) -> list[str]:
        return [f"Interrupted: {self}"]


class NeedsTerminal(OneLineError):
    """The command would wait for somebody to type."""


class WrongBraces(OneLineError):
    """What stands in braces on a `!` line is an expression of the notebook that has no value now."""


class Shell:
    """The replacement of `ipython.system` (`!cmd`) and `ipython.getoutput` (`x = !cmd`) for one IPython shell."""

    def __init__(self, ipython: Any, advice: Callable[[str], str] = lambda command: "") -> None:
        """`advice` says what a reader whose command failed can do, "" for nothing."""
        self.ipython, self.advice = ipython, advice
        self.groups = ProcessGroups()

    def install(self) -> None:
        """Take over `!` and the cell magic `%%sh` in this IPython shell."""
        self.ipython.system = self.system
        self.ipython.getoutput = self.getoutput
        self.ipython.register_magic_function(self.script, "cell", "sh")

    def system(self, cmd: str) -> None:
        """Run `!cmd` and stream its output into the cell. Raises CommandFailed."""
        command = self._expanded(cmd, sys._getframe(1))
        if is_background(command):
            print(self.start(command), end="")
        else:
            self.run(command, _show, subprocess.STDOUT)

    def getoutput(self, cmd: str, split: bool = True, depth: int = 0) -> Any:
        """Run `x = !cmd` and return its standard output as a list of lines; errors are shown. Raises CommandFailed."""
        command = self._expanded(cmd, sys._getframe(depth + 1))
        text = self.start(command) if is_background(command) else self.run(command, None, subprocess.PIPE)
        return SList(text.splitlines()) if split else text

    def _expanded(self, command: str, caller: FrameType) -> str:
        """The command as `expand` makes it, from the variables of the notebook and of the function that holds the line.

        What IPython itself puts into a notebook (`exit`, `In`) is no variable of it. Raises WrongBraces.
        """
        hidden: Mapping[str, Any] = self.ipython.user_ns_hidden
        own = {k: v for k, v in self.ipython.user_ns.items() if not (k in hidden and hidden[k] is v)}
        if caller.f_locals is not self.ipython.user_ns:  # then the line stands in a function
            own |= caller.f_locals
        try:
            return expand(command, own)
        except ExpansionError as error:
            raise WrongBraces(str(error)) from error

    def script(self, _line: str, cell: str) -> None:
        """Run a `%%sh` cell like one `!` line; it ends at the first command that fails. Raises CommandFailed."""
        self.run(cell, _show, subprocess.STDOUT, option="-ec")

    def run(self, command: str, show: Callable[[str], None] | None, stderr: int, option: str = "-c") -> str:
        """Run `command` to its end and return what it printed on standard output. Raises CommandFailed,
        NeedsTerminal."""
        if wants_terminal(command):
            raise NeedsTerminal(A_TERMINAL_INSTEAD)
        with self._started([option, command], stderr) as process:
            output, errors = _follow(process, show)
            returncode = process.wait()
        if returncode:
            raise CommandFailed(command, returncode, output + errors, self.advice(command))
        return output

    def start(self, command: str) -> str:
        """Start `command &` and return its first line, or all it printed if it ended already. Raises CommandFailed.

        What it prints later goes to a file that vanishes with it, so a later cell never shows stray lines.
        """
        command = command.rstrip().removesuffix("&").rstrip()
        with tempfile.TemporaryFile() as log:
            process = None
            try:
                with held_back():
                    process = self.groups.start(["-c", command], log, subprocess.STDOUT)
                deadline = time.monotonic() + FIRST_LINE_WITHIN
                while process.poll() is None and b"\n" not in _written(log) and time.monotonic() < deadline:
                    time.sleep(POLL)
                with suppress(subprocess.TimeoutExpired):
                    process.wait(LAST_WORDS)
            except KeyboardInterrupt:
                if process:
                    self.groups.interrupt(process, INTERRUPT_GRACE)
                raise Interrupted(command) from None
            output = _written(log).decode(errors="replace").replace("\r\n", "\n")
        if process.poll():
            raise CommandFailed(command, process.returncode, output, self.advice(command))
        return output if process.poll() == 0 else "".join(output.splitlines(keepends=True)[:1])

    @contextmanager
    def _started(self, arguments: list[str], stderr: int) -> Iterator[subprocess.Popen[bytes]]:
        process = None
        try:
            with held_back():
                process = self.groups.start(arguments, subprocess.PIPE, stderr)
            yield process
        except KeyboardInterrupt:
            if process:
                self.groups.interrupt(process, INTERRUPT_GRACE)
            raise Interrupted(arguments[-1]) from None
        finally:
            if process:
                for pipe in (process.stdout, process.stderr):
                    if pipe is not None:
                        pipe.close()
                self.groups.forget(process)


def wants_terminal(script: str) -> bool:
    """Whether a line of a shell script asks kubectl for a terminal: `exec -it`, `run --tty` and the like. What stands
    behind `--` is the command in the container, and a terminal there is its own affair."""
    for found in _KUBECTL.finditer(script.replace("\\\n", " ")):
        words = found["arguments"].partition(" -- ")[0].split()
        if {"exec", "attach", "run", "debug"}.intersection(words) and any(map(_TTY.fullmatch, words)):
            return True
    return False


def is_background(command: str) -> bool:
    """Whether the command line ends in a single `&`."""
    stripped = command.rstrip()
    return stripped.endswith("&") and not stripped.endswith(("&&", "\\&"))


def _show(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()


def _complain(text: str) -> None:
    sys.stderr.write(text)
    sys.stderr.flush()


def _written(log: IO[bytes]) -> bytes:
    return os.pread(log.fileno(), os.fstat(log.fileno()).st_size, 0)


def _follow(process: subprocess.Popen[bytes], show: Callable[[str], None] | None) -> tuple[str, str]:
    """Read both pipes until they end, or until the command has ended and left them to a process that lives on."""
    texts: dict[int, list[str]] = {1: [], 2: []}
    with selectors.DefaultSelector() as selector:
        for number, pipe, forward in ((1, process.stdout, show), (2, process.stderr, _complain)):
            if pipe is not None:
                selector.register(pipe, selectors.EVENT_READ, (number, forward, _Decoder()))
        while selector.get_map():
            ended = process.poll() is not None
            ready = selector.select(timeout=POLL)
            if ended and not ready:
                break
            for key, _ in ready:
                number, forward, decoder = key.data
                data = os.read(key.fd, 65536)
                text = decoder.decode(data, final=not data)
                texts[number].append(text)
                if forward and text:
                    forward(text)
                if not data:
                    selector.unregister(key.fileobj)
    return "".join(texts[1]), "".join(texts[2])


class _Decoder:
    """UTF-8 across chunk borders, with CR LF turned into LF. A CR alone stays: progress is drawn over by it."""

    def __init__(self) -> None:
        self._utf8 = codecs.getincrementaldecoder("utf-8")("replace")
        self._kept = ""

    def decode(self, data: bytes, *, final: bool) -> str:
        text = self._kept + self._utf8.decode(data, final)
        self._kept = "\r" if text.endswith("\r") and not final else ""
        return text.removesuffix(self._kept).replace("\r\n", "\n")
