"""kubectl ctx-auto: rules, names, the previous context, the picker, and a shell of its own."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pexpect
import pytest

from k8sext.clients.kubectl import UserError
from k8sext.clients.plugins import picker, rules
from tests.clients.conftest import Run

CONTEXTS = ("blue", "green", "red")


@pytest.fixture
def shared(kubectl: Run) -> Path:
    """A kubeconfig with three contexts, `blue` current, in KUBECONFIG."""
    path = kubectl.folder / "shared"
    path.write_text(kubectl.output("config", "view", "--raw", "--flatten"))
    original = kubectl.output(
        "config", "view", "-o", "jsonpath={.contexts[0].context.cluster} {.contexts[0].context.user}"
    )
    cluster_name, user = original.split()
    kubectl.environment["KUBECONFIG"] = str(path)
    old = kubectl.output("config", "current-context").strip()
    for name in CONTEXTS:
        kubectl.output("config", "set-context", name, f"--cluster={cluster_name}", f"--user={user}")
    kubectl.output("config", "use-context", "blue")
    kubectl.output("config", "delete-context", old)
    return path


def current(kubectl: Run) -> str:
    return kubectl.output("config", "current-context").strip()


def write_rules(kubectl: Run, text: str) -> None:
    path = Path(kubectl.environment["XDG_CONFIG_HOME"]) / "kubectl-ctx-auto.toml"
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)


def test_a_list_marks_the_current_context(kubectl: Run, shared: Path):
    assert kubectl.output("ctx-auto", "--list") == "* blue\n  green\n  red\n"


def test_a_name_switches_and_a_dash_goes_back_and_forth(kubectl: Run, shared: Path):
    assert kubectl.output("ctx-auto", "red") == "Switched to red.\n"
    assert kubectl.output("ctx-auto", "-") == "Switched to blue.\n"
    assert kubectl.output("ctx-auto", "-") == "Switched to red.\n"
    assert current(kubectl) == "red"


def test_without_a_previous_context_a_dash_says_so(kubectl: Run, shared: Path):
    done = kubectl("ctx-auto", "-")
    assert (done.returncode, done.stderr) == (
        1,
        "Error: There is no previous context yet: switch once by name first.\n",
    )


def test_an_unknown_name_changes_nothing(kubectl: Run, shared: Path):
    before = shared.read_bytes()
    done = kubectl("ctx-auto", "pink")
    assert done.returncode == 1
    assert done.stderr == 'Error: There is no context "pink" in your kubeconfig: it has blue, green, red.\n'
    assert shared.read_bytes() == before


def test_the_context_of_a_folder_is_chosen_below_it_too(kubectl: Run, shared: Path):
    write_rules(kubectl, f'[[rule]]\ncontext = "green"\nfolder = "{kubectl.folder}/shop"\n')
    kubectl.folder = kubectl.folder / "shop" / "deep"
    kubectl.folder.mkdir(parents=True)
    assert kubectl.output("ctx-auto").startswith("Switched to green (folder ")
    assert kubectl.output("ctx-auto", "--quiet") == ""


def test_the_context_of_a_git_remote_is_chosen(kubectl: Run, shared: Path):
    write_rules(kubectl, '[[rule]]\ncontext = "red"\ngit = "example.com/acme/*"\n')
    assert kubectl("ctx-auto").returncode == 1
    subprocess.run(["git", "init", "-q"], cwd=kubectl.folder, check=True)
    subprocess.run(["git", "remote", "add", "origin", "git@example.com:acme/shop.git"], cwd=kubectl.folder, check=True)
    assert kubectl.output("ctx-auto") == "Switched to red (git example.com/acme/*).\n"


def test_the_first_rule_whose_conditions_all_hold_wins(kubectl: Run, shared: Path):
    write_rules(
        kubectl,
        '[[rule]]\ncontext = "red"\nfolder = "/"\nenvironment = "STAGE=prod*"\n[[rule]]\ncontext = "green"\nfolder = '
        '"/"\n',
    )
    assert "Would switch to green" in kubectl.output("ctx-auto", "--dry-run")
    assert "Would switch to red" in kubectl.output("ctx-auto", "--dry-run", STAGE="production")
    assert current(kubectl) == "blue"


@pytest.mark.parametrize(
    "text",
    [
        "[[rule",
        '[[rule]]\ncontext = "red"\n',
        '[[rule]]\ncontext = "red"\nfolders = "/"\n',
        '[rule]\ncontext = "red"\nfolder = "/"\n',
        '[[rules]]\ncontext = "red"\nfolder = "/"\n',
        "rule = [1]\n",
        'rule = "red"\n',
    ],
)
def test_rules_that_make_no_sense_are_refused_with_their_place(kubectl: Run, shared: Path, text: str):
    write_rules(kubectl, text)
    done = kubectl("ctx-auto")
    assert done.returncode == 1
    assert "kubectl-ctx-auto.toml" in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_folder_is_known_by_all_its_names(kubectl: Run, shared: Path):
    real, link = kubectl.folder / "real [old]", kubectl.folder / "link"
    (real / "deep").mkdir(parents=True)
    link.symlink_to(real)
    for rule, folder in ((link, real), (real, link), (link / "deep", link / "deep"), (real, real / "deep")):
        write_rules(kubectl, f'[[rule]]\ncontext = "green"\nfolder = "{rule}"\n')
        kubectl.output("config", "use-context", "blue")
        kubectl.folder = folder
        assert kubectl.output("ctx-auto", PWD=str(folder)).startswith("Switched to green"), (rule, folder)


def test_in_a_folder_that_was_deleted_the_other_rules_still_hold(kubectl: Run, shared: Path):
    write_rules(
        kubectl, '[[rule]]\ncontext = "red"\nfolder = "/"\n[[rule]]\ncontext = "green"\nenvironment = "STAGE"\n'
    )
    script = "mkdir gone; cd gone; rmdir ../gone; kubectl ctx-auto --quiet && STAGE=1 kubectl ctx-auto"
    done = subprocess.run(
        ["sh", "-c", script], cwd=kubectl.folder, env=kubectl.environment, capture_output=True, text=True
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "Switched to green (environment STAGE).\n", "")


def test_a_switch_whose_note_cannot_be_written_is_made_and_says_so(kubectl: Run, shared: Path):
    Path(kubectl.environment["XDG_STATE_HOME"]).write_text("a file where the folder should be")
    done = kubectl("ctx-auto", "red")
    assert (done.returncode, done.stdout) == (0, "Switched to red.\n")
    assert "will not go back" in done.stderr and done.stderr.count("\n") == 1
    back = kubectl("ctx-auto", "-")
    assert back.returncode == 1 and back.stderr.startswith("Error: ") and back.stderr.count("\n") == 1


def test_a_context_may_be_called_like_a_flag(kubectl: Run, shared: Path):
    kubectl.output("config", "rename-context", "--", "red", "-dash")
    assert kubectl.output("ctx-auto", "-n", "default", "--", "-dash") == "Switched to -dash.\n"
    assert current(kubectl) == "-dash"
    done = kubectl("ctx-auto", "--shell", "--", "-dash", SHELL="/bin/true")
    assert (done.returncode, done.stdout) == (0, "")


def test_a_namespace_is_set_with_the_switch(kubectl: Run, shared: Path):
    kubectl.output("ctx-auto", "red", "-n", "kube-system")
    assert kubectl.output("config", "view", "--minify", "-o", "jsonpath={..namespace}") == "kube-system"


def test_with_several_files_in_kubeconfig_no_context_is_lost(kubectl: Run, shared: Path):
    other = kubectl.folder / "other"
    kubectl.output("config", "set-context", "yellow", f"--kubeconfig={other}")
    kubectl.environment["KUBECONFIG"] = f"{other}:{shared}"
    assert kubectl.output("ctx-auto", "yellow") == "Switched to yellow.\n"
    assert kubectl.output("ctx-auto", "--list") == "  blue\n  green\n  red\n* yellow\n"


def test_a_shell_of_its_own_leaves_the_shared_kubeconfig_alone(kubectl: Run, shared: Path):
    before = shared.read_bytes()
    script = kubectl.folder / "shell"
    script.write_text(
        "#!/bin/sh\nkubectl config current-context\nkubectl ctx-auto green\nkubectl get ns default -o name\nexit 3\n"
    )
    script.chmod(0o755)
    done = kubectl("ctx-auto", "red", "--shell", SHELL=str(script))
    assert done.returncode == 3
    assert done.stdout == "red\nSwitched to green.\nnamespace/default\n"
    assert shared.read_bytes() == before


def test_in_a_terminal_the_picker_finds_by_search(kubectl: Run, shared: Path):
    child: Any = pexpect.spawn(
        "kubectl", ["ctx-auto", "--pick"], env=kubectl.environment, cwd=str(kubectl.folder), timeout=20
    )
    child.expect("search: ")
    child.send("gre")
    child.expect("search: gre")
    child.send("\r")
    child.expect("Switched to green")
    child.expect(pexpect.EOF)
    assert current(kubectl) == "green"


def test_without_a_terminal_the_picker_asks_for_a_name(kubectl: Run, shared: Path):
    done = kubectl("ctx-auto", "--pick")
    assert (done.returncode, done.stderr) == (
        1,
        "Error: The picker needs a terminal: give the name of a context instead.\n",
    )


def test_keys_that_come_in_one_piece_are_keys_each():
    pieces = iter([f"gr{picker.DOWN}{picker.UP}", "é\r", ""])
    expected = ["g", "r", picker.DOWN, picker.UP, "é", "\r", ""]
    assert list(picker._keys(lambda: next(pieces))) == expected


def test_in_a_narrow_terminal_a_long_name_takes_one_line(kubectl: Run, shared: Path):
    kubectl.output("config", "rename-context", "red", "r" * 60)
    child: Any = pexpect.spawn(
        "kubectl",
        ["ctx-auto", "--pick"],
        env=kubectl.environment,
        cwd=str(kubectl.folder),
        timeout=20,
        dimensions=(9, 20),
    )
    child.expect("search: ")
    child.send("rr\r")
    child.expect("Switched to r{60}")
    child.expect(pexpect.EOF)
    assert b"r" * 20 not in child.before


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        (["\r"], "blue"),
        ([picker.DOWN, picker.DOWN, picker.DOWN, "\r"], "red"),
        (["R", "\r"], "green"),
        (["x", "\r", picker.BACKSPACE, "\r"], "blue"),
        ([picker.LEAVE], None),
    ],
)
def test_the_picker_follows_its_keys(keys: list[str], expected: str | None):
    pressed = iter(keys)
    assert picker.choose(CONTEXTS, "blue", lambda: next(pressed), lambda *_: None) == expected


@pytest.mark.parametrize(
    "remote",
    [
        "git@example.com:acme/shop.git",
        "https://example.com/acme/shop",
        "ssh://git@example.com/acme/shop.git",
        "https://me:x@example.com/acme/shop/",
    ],
)
def test_a_remote_has_one_address_however_it_is_written(remote: str):
    assert rules.address(remote) == "example.com/acme/shop"


def test_a_rules_file_that_cannot_be_read_is_an_error_and_none_is_not(tmp_path: Path):
    assert rules.read(tmp_path / "none.toml") == []
    with pytest.raises(UserError, match="cannot be read"):
        rules.read(tmp_path)
