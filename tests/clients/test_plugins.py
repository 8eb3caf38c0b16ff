"""What holds for all plugins: kubectl finds them, their flags are kubectl's, their errors are one sentence."""

from __future__ import annotations

import pytest
import yaml

from k8sext.clients import kubectl as kubectl_module
from k8sext.clients.kubectl import UserError, check, sentence
from tests.clients.conftest import Run

PLUGINS = ("ctx-auto", "uptime", "exec-as")
each_plugin = pytest.mark.parametrize("name", PLUGINS)
AGAINST_THE_SERVER = {"uptime": (), "exec-as": ("nobody", "web", "--", "true")}


def test_kubectl_lists_all_plugins_without_a_warning_about_one(kubectl: Run):
    done = kubectl("plugin", "list")
    for name in PLUGINS:
        assert f"kubectl-{name.replace('-', '_')}\n" in done.stdout
    assert "overshadow" not in done.stderr
    assert "not identified as executable" not in done.stderr


@each_plugin
def test_the_help_is_written_as_a_kubectl_command_and_names_the_global_flags(kubectl: Run, name: str):
    text = kubectl.output(name, "--help")
    assert text.startswith(f"usage: kubectl {name} ")
    for flag in ("--context", "--kubeconfig", "--namespace"):
        assert flag in text


@each_plugin
def test_wrong_usage_is_one_sentence_and_exit_code_2(kubectl: Run, name: str):
    done = kubectl(name, "a", "b", "--no-such-flag")
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "--no-such-flag" in done.stderr
    assert f"`kubectl {name} --help`" in done.stderr


@pytest.mark.parametrize("name", AGAINST_THE_SERVER)
@pytest.mark.parametrize(
    ("trouble", "expected"),
    [
        ("unreachable", "The API server does not answer"),
        ("expired", "does not accept your credentials"),
        ("context", 'There is no context "nowhere"'),
        ("malformed", "makes no sense"),
        ("missing", "There is no kubeconfig"),
    ],
)
def test_trouble_is_one_sentence_and_exit_code_1(kubectl: Run, namespace: str, name: str, trouble: str, expected: str):
    flags = _trouble(kubectl, trouble)
    done = kubectl(name, *flags, *AGAINST_THE_SERVER[name])
    assert done.returncode == 1, done.stderr
    assert done.stderr.startswith("Error: ")
    assert done.stderr.count("\n") == 1
    assert expected in done.stderr


def _trouble(kubectl: Run, trouble: str) -> list[str]:
    config = yaml.safe_load(kubectl.output("config", "view", "--raw", "--flatten"))
    path = kubectl.folder / "config"
    if trouble == "unreachable":
        config["clusters"][0]["cluster"]["server"] = "https://127.0.0.1:1"
    elif trouble == "expired":
        config["users"][0]["user"] = {"token": "an-old-one"}
    elif trouble == "context":
        return ["--context=nowhere"]
    if trouble != "missing":
        path.write_text("a: [" if trouble == "malformed" else yaml.safe_dump(config))
    return [f"--kubeconfig={path}"]


def test_a_machine_without_kubectl_is_told_so(monkeypatch: pytest.MonkeyPatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(kubectl_module.UserError, match="no kubectl on PATH"):
        kubectl_module.Kubectl().run("version")


def test_log_lines_and_prefixes_are_not_part_of_a_sentence():
    said = 'E1122 10:00:00.000000 1 memcache.go:1] "Unhandled"\nError from server (NotFound): pods "a" not found\n'
    assert sentence(said) == 'pods "a" not found'


def test_completion_proposes_contexts_pods_and_flags(kubectl: Run, namespace: str):
    context = kubectl.output("config", "current-context").strip()
    assert context in kubectl.output("__complete", "ctx-auto", "").splitlines()
    assert kubectl.output("__complete", "exec-as", "-n", namespace, "nobody", "w").splitlines() == ["web", ":4"]
    assert kubectl.output("__complete", "uptime", "--namesp").splitlines() == ["--namespace", ":4"]


def test_completion_is_silent_when_the_cluster_does_not_answer(kubectl: Run):
    assert kubectl.output("__complete", "uptime", "", KUBECONFIG="/nowhere").splitlines() == [":4"]


@each_plugin
def test_the_krew_template_names_the_executable(name: str):
    from importlib.resources import files

    text = (files("k8sext.clients") / "krew" / f"{name}.yaml").read_text()
    filled = [line for line in text.splitlines() if "addURIAndSha" not in line]
    manifest = yaml.safe_load("\n".join(filled).replace("{{ .TagName }}", "v0.1.0"))
    assert manifest["metadata"]["name"] == name
    assert manifest["spec"]["platforms"][0]["bin"] == f"kubectl-{name.replace('-', '_')}"
    assert len(manifest["spec"]["shortDescription"]) <= 50


def test_a_kubectl_that_ctrl_c_ended_first_is_an_interrupt_and_no_failure():
    check(0, "")
    with pytest.raises(KeyboardInterrupt):
        check(-2, "")
    with pytest.raises(UserError, match="no such thing"):
        check(1, "error: no such thing")
