"""Our `!` in the hands of a caller: what it shows, what it returns, when it raises."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator

import psutil
import pytest
from IPython.core.interactiveshell import InteractiveShell

from k8sext.notebook.shell import (
    CommandFailed,
    Interrupted,
    NeedsTerminal,
    Shell,
    WrongBraces,
    is_background,
    wants_terminal,
)

# Part of every long sleep, so that test sessions side by side do not see each other's.
PID = os.getpid()


class FakeIPython:
    """As much of IPython as the shell uses: the notebook's variables, and those that IPython put there itself."""

    def __init__(self) -> None:
        self.user_ns_hidden = {"exit": object()}
        self.user_ns = {"port": 8001, **self.user_ns_hidden}


@pytest.fixture
def shell() -> Iterator[Shell]:
    shell = Shell(FakeIPython())
    yield shell
    shell.groups.stop_all()


@pytest.mark.parametrize("end", ["316", "317 &"])
def test_an_interrupt_while_a_command_is_being_started_stops_it(shell, end, monkeypatch):
    command = f"exec sleep {PID}{end}"

    once = iter([signal.SIGINT])

    def tell(change: str, group: int) -> None:
        for number in once:
            signal.raise_signal(number)

    monkeypatch.setattr(shell.groups, "_tell", tell)
    with pytest.raises(Interrupted) as raised:
        shell.system(command)
    monkeypatch.undo()
    assert raised.value._render_traceback_() == [f"Interrupted: stopped: {command.removesuffix('&').strip()}"]
    assert not running(command.removeprefix("exec ").removesuffix(" &"))


def test_output_and_errors_are_shown_in_their_order_with_plain_line_ends(shell, capsys):
    shell.system(r"echo one; echo two >&2; printf 'three\r\n'")
    assert capsys.readouterr() == ("one\ntwo\nthree\n", "")


def test_progress_that_draws_over_its_line_does_so_here(shell, capsys):
    shell.system(r"printf '10%%\r'; sleep 0.1; printf '100%%\r'; sleep 0.1; printf '\ndone\r\n'")
    assert capsys.readouterr().out == "10%\r100%\ndone\n"
    shell.system(r"printf 'ends here\r'")
    assert capsys.readouterr().out == "ends here\r"


def test_names_in_braces_are_filled_in(shell, capsys):
    shell.system("echo {port}")
    assert capsys.readouterr().out == "8001\n"


def test_names_of_the_function_that_holds_the_line_are_filled_in_too(shell, capsys):
    def proxied(path: str) -> None:
        shell.system("echo localhost:{port}/{path}")
        assert shell.getoutput("echo {path}") == ["api"]

    proxied("api")
    assert capsys.readouterr().out == "localhost:8001/api\n"


def test_what_ipython_brought_is_no_variable_and_what_has_no_value_is_one_line(shell, capsys):
    shell.system("echo x | awk '{exit}'")
    with pytest.raises(WrongBraces, match=r"{port\.gone} in this command: AttributeError") as raised:
        shell.system("echo {port.gone}")
    assert len(raised.value._render_traceback_()) == 1
    assert capsys.readouterr().out == ""


def test_a_character_split_between_two_reads_is_shown_whole(shell, capsys):
    shell.system(r"printf '\303'; sleep 0.1; printf '\251\n'")
    assert capsys.readouterr().out == "é\n"


def test_captured_output_comes_as_lines_and_errors_are_shown(shell, capsys):
    assert list(shell.getoutput("echo one; echo two; echo careful >&2")) == ["one", "two"]
    assert capsys.readouterr() == ("", "careful\n")


def test_a_command_that_fails_raises_with_its_message_and_exit_code(shell, capsys):
    with pytest.raises(CommandFailed, match="exit code 3 from: echo no such pod >&2; exit 3: no such pod") as failure:
        shell.system("echo no such pod >&2; exit 3")
    assert failure.value.returncode == 3
    assert failure.value.output == "no such pod\n"
    assert capsys.readouterr().out == "no such pod\n"


def test_a_captured_command_that_fails_raises_as_well(shell):
    with pytest.raises(CommandFailed, match="exit code 1"):
        shell.getoutput("false")


def test_the_reader_sees_one_line_instead_of_a_traceback(shell):
    with pytest.raises(CommandFailed) as failure:
        shell.system("exit 4")
    assert failure.value._render_traceback_() == ["CommandFailed: exit code 4 from: exit 4"]


def test_a_command_stopped_by_a_signal_says_which(shell):
    with pytest.raises(CommandFailed, match="stopped by SIGKILL"):
        shell.system("kill -KILL $$")


def test_a_command_cannot_wait_for_input_that_never_comes(shell, capsys):
    shell.system("cat; echo done")
    assert capsys.readouterr().out == "done\n"


def test_a_script_ends_at_the_first_command_that_fails(shell, capsys):
    with pytest.raises(CommandFailed, match=r"exit code 1 from: echo one \.\.\."):
        shell.script("", "echo one\nfalse\necho two\n")
    assert capsys.readouterr().out == "one\n"


def test_a_process_left_behind_does_not_hold_the_cell(shell, capsys):
    shell.system(f"sleep {PID}300 & echo here")
    assert capsys.readouterr().out == "here\n"


def test_a_background_command_shows_its_first_line_and_runs_on(shell, capsys):
    shell.system(f"echo ready; echo $$; exec sleep {PID}301 &")
    assert capsys.readouterr().out == "ready\n"
    assert running(f"sleep {PID}301")
    shell.groups.stop_all()
    assert not running(f"sleep {PID}301")


def test_a_background_command_that_ends_at_once_shows_all_it_said(shell, capsys):
    shell.system("echo one; echo two &")
    assert capsys.readouterr().out in ("one\ntwo\n", "one\n")


def test_a_background_command_that_fails_at_once_raises(shell):
    with pytest.raises(CommandFailed, match="exit code 127"):
        shell.system("no-such-command-here &")


def test_a_background_command_can_be_captured(shell):
    assert list(shell.getoutput(f"echo ready; exec sleep {PID}302 &")) == ["ready"]


@pytest.mark.parametrize(
    ("command", "answer"),
    [("sleep 1 &", True), ("sleep 1 &  ", True), ("true && true", False), ("echo \\&", False), ("true &&", False)],
)
def test_only_a_single_ampersand_at_the_end_means_background(command, answer):
    assert is_background(command) is answer


def test_stopping_takes_whole_pipelines(shell):
    shell.system(f"sleep {PID}303 | sleep {PID}304 & echo started")
    shell.groups.stop_all()
    assert not running(f"sleep {PID}303")
    assert not running(f"sleep {PID}304")


def test_a_group_that_ignores_the_polite_request_is_killed(shell, monkeypatch):
    monkeypatch.setattr("k8sext.notebook.processes.STOP_GRACE", 0.2)
    shell.system(f"trap '' TERM; echo stubborn; while :; do sleep {PID}305; done &")
    shell.groups.stop_all()
    assert not running(f"sleep {PID}305")


def test_the_watcher_leaves_with_the_last_command(shell):
    shell.system("true")
    watcher: subprocess.Popen[bytes] = shell.groups._watcher
    shell.groups.stop_all()
    assert watcher.poll() is not None


def running(command: str) -> bool:
    """Whether a process with exactly this command line runs."""
    return any(process.info["cmdline"] == command.split() for process in psutil.process_iter(["cmdline"]))


def test_in_a_real_cell_only_the_notebooks_own_names_are_replaced(capsys):
    ipython = InteractiveShell()
    Shell(ipython).install()
    ipython.run_cell("port = 8001\n!echo {port} {exit} {In} | awk '{print}'").raise_error()
    ipython.run_cell("def at(path):\n    !echo {port}/{path}\nat('api')").raise_error()
    ipython.run_cell("import asyncio\nawait asyncio.sleep(0)\n!echo {port} {exit}").raise_error()
    assert capsys.readouterr().out.splitlines() == ["8001 {exit} {In}", "8001/api", "8001 {exit}"]


def test_an_interrupted_command_is_one_line_in_a_real_shell(capsys):
    ipython = InteractiveShell()
    ipython.user_ns["shell"] = Shell(ipython)
    done = ipython.run_cell("import signal\nshell.run('kill -INT $PPID; sleep 60', None, None)")
    assert isinstance(done.error_in_exec, KeyboardInterrupt)
    shown = capsys.readouterr().out
    assert shown.strip().splitlines() == ["Interrupted: stopped: kill -INT $PPID; sleep 60"]


@pytest.mark.parametrize(
    "command",
    [
        "kubectl exec -it web -- sh",
        "kubectl exec web -ti -n shop -- sh",
        "kubectl -n shop exec web --stdin --tty -- sh",
        "kubectl run box --image=busybox --rm -it --restart=Never -- sh",
        "kubectl attach web -t -i",
        "cd x && kubectl debug web --tty=true --image=busybox",
        "kubectl get pods\nkubectl exec web \\\n  -it -- sh",
    ],
)
def test_a_command_that_wants_a_terminal_is_refused_at_once(shell, command):
    for run in (shell.system, shell.getoutput, lambda script: shell.script("", script)):
        with pytest.raises(NeedsTerminal, match="a cell is no terminal"):
            run(command)


@pytest.mark.parametrize(
    "command",
    [
        "kubectl exec web -- ls -t",
        "kubectl exec -i web -- cat < file",
        "kubectl logs web -n exec --timestamps",
        "kubectl get pods -o name | xargs -t echo run",
        "kubectl run box --image=busybox --tty=false",
        "echo kubectl-exec -it",
        "kubectl get pods; ssh -t host",
        "helm exec -it",
    ],
)
def test_what_needs_no_terminal_is_run(command):
    assert not wants_terminal(command)
