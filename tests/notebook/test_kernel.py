"""Our `!` inside a real kernel: interrupting it, killing it, and what a cell shows."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from jupyter_client.manager import start_new_kernel

from k8sext.lab import STARTUP
from tests.notebook.test_shell import PID, running
from tests.support.eventually import eventually

INSTALL = "from k8sext.notebook.shell import Shell; Shell(get_ipython()).install()"


class Cells:
    """A kernel and its cells; `install` is its first one."""

    def __init__(self, install: str = INSTALL) -> None:
        self.manager, self.client = start_new_kernel()
        self.run(install)

    def run(self, code: str, after_first_output: Any = None) -> list[tuple[str, str]]:
        """Run a cell and return what it showed, as (stream or error name, text)."""
        shown: list[tuple[str, str]] = []

        def hook(message: dict[str, Any]) -> None:
            content = message["content"]
            if message["msg_type"] == "stream":
                shown.append((content["name"], content["text"]))
                if after_first_output and len(shown) == 1:
                    after_first_output()
            elif message["msg_type"] == "error":
                shown.append((content["ename"], "\n".join(content["traceback"])))

        self.client.execute_interactive(code, output_hook=hook, timeout=60)
        return shown


def interrupt(cells: Cells) -> None:
    cells.manager.interrupt_kernel()


@pytest.fixture
def cells() -> Iterator[Cells]:
    yield from kernel()


def kernel(install: str = INSTALL) -> Iterator[Cells]:
    """A kernel that ends with its test."""
    cells = Cells(install)
    yield cells
    cells.client.stop_channels()
    cells.manager.shutdown_kernel(now=True)


@pytest.fixture
def unconnected(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Cells]:
    """A kernel of `k8sext lab`, whose start-up file runs after the learner's own; no cluster answers."""
    (own := tmp_path / "own.py").write_text("mine = 7\n")
    for name, value in {
        "KUBECONFIG": "/nowhere",
        "PYTHONSTARTUP": str(STARTUP),
        "K8SEXT_PYTHONSTARTUP": str(own),
    }.items():
        monkeypatch.setenv(name, value)
    yield from kernel("")


def test_a_failing_command_shows_its_message_and_one_line(cells):
    shown = cells.run("!echo no such pod >&2; exit 3")
    assert shown == [
        ("stdout", "no such pod\n"),
        ("CommandFailed", "CommandFailed: exit code 3 from: echo no such pod >&2; exit 3"),
    ]


@pytest.mark.parametrize("cell", ["check('00.1')", "hint('00.1')", "solution('00.1')", "view()", "!kubectl get nodes"])
def test_before_the_first_cell_everything_says_to_run_it(unconnected: Cells, cell: str):
    *_, (name, said) = unconnected.run(cell)
    assert name in ("NotConnected", "CommandFailed")
    assert "first cell, %load_ext k8sext" in said and "\n" not in said.strip()


def test_before_the_first_cell_everything_else_is_as_ever(unconnected: Cells):
    assert "first cell" not in str(unconnected.run("!exit 3"))
    assert unconnected.run("print(mine, '_start' in dir())") == [("stdout", "7 False\n")]


def test_names_of_the_notebook_are_filled_in(cells):
    shown = cells.run("port = 8001\n!echo {port}\nx = !echo {port}\nprint(x)")
    assert "".join(text for _, text in shown) == "8001\n['8001']\n"


def test_interrupting_a_cell_stops_its_command_and_leaves_the_kernel_usable(cells):
    shown = cells.run(f"!echo started; exec sleep {PID}311", after_first_output=cells.manager.interrupt_kernel)
    assert shown[-1][0] == "Interrupted"
    assert not running(f"sleep {PID}311")
    assert cells.run("!echo still here") == [("stdout", "still here\n")]


def test_interrupting_the_wait_for_a_first_line_stops_the_background_command(cells):
    code = f"print('starting', flush=True)\n!exec sleep {PID}315 &"
    shown = cells.run(
        code, after_first_output=lambda: (eventually(lambda: running(f"sleep {PID}315")), interrupt(cells))
    )
    assert shown[-1][0] == "Interrupted"
    eventually(lambda: not running(f"sleep {PID}315"))


def test_a_background_command_never_shows_up_in_a_later_cell(cells):
    cells.run("!echo ready; while sleep 0.01; do echo stray; done &")
    assert cells.run("!sleep 0.3; echo clean") == [("stdout", "clean\n")]


def test_background_commands_end_with_a_kernel_that_shuts_down(cells):
    cells.run(f"!echo ready; exec sleep {PID}312 &")
    cells.client.shutdown()
    eventually(lambda: not running(f"sleep {PID}312"))


def test_background_commands_end_with_a_kernel_that_is_killed(cells):
    cells.run(f"!echo ready; sleep {PID}313 | exec sleep {PID}314 &")
    cells.manager.shutdown_kernel(now=True)
    eventually(lambda: not running(f"sleep {PID}313") and not running(f"sleep {PID}314"))
