"""check, hint and solution as a learner calls them, and what `k8sext progress` remembers of it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from IPython.core.interactiveshell import InteractiveShell
from typer.testing import CliRunner

from k8sext.cli import app
from k8sext.cluster import ClusterError
from k8sext.notebook.exercises import progress
from k8sext.notebook.exercises.desk import Desk
from k8sext.notebook.exercises.exercise import catalogue

RIGHT = "def missing(wanted, found): return [name for name in wanted if name not in found]"


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("K8SEXT_STATE", str(tmp_path / "state"))
    return tmp_path / "state"


@pytest.fixture
def notebook() -> InteractiveShell:
    shell = InteractiveShell()
    shell.push(Desk(shell).functions())
    return shell


def run(notebook: InteractiveShell, cell: str, capsys: pytest.CaptureFixture[str]) -> str:
    notebook.run_cell(cell).raise_error()
    return capsys.readouterr().out


def shown(*arguments: str) -> str:
    done = CliRunner().invoke(app, ["progress", *arguments], catch_exceptions=False)
    assert done.exit_code == 0
    return done.output


def test_a_check_says_not_yet_and_then_pass(notebook, capsys):
    assert run(notebook, 'check("00.3")', capsys).startswith("not yet: there is no `missing` in this notebook")
    assert run(notebook, f'{RIGHT}\ncheck("00.3")', capsys).startswith("PASS: this is the heart of every controller")


def test_hints_come_one_by_one_and_lead_to_the_solution(notebook, capsys):
    hints = [run(notebook, 'hint("00.3")', capsys) for _ in range(4)]
    assert [hint.split(":")[0] for hint in hints[:2]] == ["Hint 1 of 2", "Hint 2 of 2"]
    assert hints[2] == 'You have seen all 2 hints. solution("00.3") shows one way to do it.\n'
    assert hints[3] == hints[0]


def test_without_a_front_end_the_solution_is_printed(notebook, capsys):
    assert run(notebook, 'solution("00.3")', capsys) == catalogue()["00.3"].solution + "\n"


def test_in_a_front_end_the_solution_goes_into_a_new_cell(notebook, capsys, monkeypatch):
    cells = []
    monkeypatch.setattr(notebook, "kernel", object(), raising=False)
    monkeypatch.setattr(notebook, "set_next_input", cells.append)
    assert "in the cell below" in run(notebook, 'solution("00.3")', capsys)
    assert "already" in run(notebook, 'solution("00.3")', capsys)
    assert cells == [catalogue()["00.3"].solution]
    run(notebook, 'solution("00.3"); solution("00.2"); solution("00.3")', capsys)
    assert cells[1:] == [catalogue()[id].solution for id in ("00.3", "00.2", "00.3")]


@pytest.mark.parametrize("function", ["check", "hint", "solution"])
def test_a_call_without_a_number_asks_for_one(notebook, capsys, function):
    said = run(notebook, f"{function}()", capsys)
    assert said.startswith("Which exercise?") and said.count("\n") == 1


@pytest.mark.parametrize(
    ("number", "near"),
    [("'4.2'", "'04.2'"), ("'00.9'", "'00.1', '00.2', '00.3'"), ("'x'", "'00.1'"), ("4.2", "'04.2'")],
)
@pytest.mark.parametrize("function", ["check", "hint", "solution"])
def test_an_unknown_number_gets_one_sentence_with_near_ones(notebook, capsys, function, number, near):
    said = run(notebook, f"{function}({number})", capsys)
    assert said.startswith(f"There is no exercise {number}. ")
    assert near in said
    assert said.count("\n") == 1


def test_where_no_cluster_answers_a_check_says_so(notebook, capsys, tmp_path, monkeypatch):
    config = tmp_path / "kubeconfig"
    cluster = {"name": "c", "cluster": {"server": "https://127.0.0.1:9"}}
    context = {"name": "c", "context": {"cluster": "c", "user": ""}}
    config.write_text(json.dumps({"clusters": [cluster], "contexts": [context], "current-context": "c"}))
    monkeypatch.setenv("KUBECONFIG", str(config))
    folder = tmp_path / "bin"
    folder.mkdir()
    kubectl = folder / "kubectl"
    kubectl.write_text("#!/bin/sh\necho 'The connection to the server 127.0.0.1:9 was refused' >&2\nexit 1\n")
    kubectl.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
    said = run(notebook, 'check("00.1")', capsys)
    assert said.startswith("not yet: the cluster does not answer: run this notebook's first cell, %load_ext k8sext,")


def test_what_is_solved_is_remembered_until_it_is_reset(notebook, capsys, state):
    assert "00-start-here            0 of 3   00.1 00.2 00.3\n" in shown()
    run(notebook, f'{RIGHT}\ncheck("00.3")', capsys)
    assert "00-start-here            1 of 3   00.1 00.2\n" in shown()
    first = json.loads(shown("-o", "json"))[0]
    assert first["notebook"] == "00-start-here"
    assert [bool(exercise["solved"]) for exercise in first["exercises"]] == [False, False, True]
    assert not [path for path in state.iterdir() if path.name != "progress.json"]
    assert shown("--reset").splitlines()[-1] == f"0 of {len(catalogue())} exercises are solved."


@pytest.mark.parametrize("text", ["{", "[]", '{"passed": {"00.1": 3}}', '{"passed": []}', "{}", ""])
def test_a_damaged_file_is_one_sentence_and_reset_mends_it(notebook, capsys, state, text):
    state.mkdir()
    progress.file().write_text(text)
    with pytest.raises(ClusterError, match="is damaged: begin a new one with `k8sext progress --reset`"):
        progress.solved()
    said = run(notebook, f'{RIGHT}\ncheck("00.3")', capsys)
    assert said.startswith("PASS: ")
    assert "could not be kept" in said
    assert "0 of 3" in shown("--reset")


def test_a_state_folder_that_cannot_be_written_takes_no_pass_away(notebook, capsys, state):
    state.write_text("a file, where the folder should be")
    said = run(notebook, f'{RIGHT}\ncheck("00.3")', capsys)
    assert said.startswith("PASS: ")
    assert "(Your progress could not be kept." in said


def test_every_exercise_belongs_to_a_notebook_of_the_course():
    notebooks = {path.stem for path in (Path(__file__).parents[2] / "notebooks").glob("[0-9][0-9]-*.ipynb")}
    for found in catalogue().values():
        assert found.notebook in notebooks
        assert found.notebook.startswith(found.id[:2])
