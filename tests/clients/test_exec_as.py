"""kubectl exec-as: which way is taken, and that it behaves like exec."""

from __future__ import annotations

import os
import pwd
from typing import Any

import pexpect
import pytest

from k8sext.clients.kubectl import UserError
from k8sext.clients.plugins import exec_as, exec_plan
from k8sext.clients.plugins.exec_plan import Inside, container_of, name_of, pod_of, read_probe, why_not, wrapped
from tests.clients.conftest import Run

ROOT = os.geteuid() == 0
needs_root = pytest.mark.skipif(not ROOT, reason="another user needs a cluster that root runs")
without_root = pytest.mark.skipif(ROOT, reason="shows what happens on a cluster that an ordinary user runs")
ME = str(os.getuid())
ROOT_WITH = Inside(uid="0", wanted="33", group="34", tools=("setpriv", "runuser", "su"), may_change=True)


def inside(**changes: Any) -> Inside:
    return Inside(**(vars(ROOT_WITH) | changes))


@pytest.mark.parametrize(
    ("user", "found", "expected"),
    [
        ("web", inside(), ["setpriv", "--reuid=33", "--regid=34", "--init-groups", "--", "id"]),
        ("99", inside(wanted="", group=""), ["setpriv", "--reuid=99", "--regid=99", "--clear-groups", "--", "id"]),
        ("web", inside(tools=("runuser", "su"), may_change=False), ["runuser", "-u", "web", "--", "id"]),
        (
            "web",
            inside(tools=("su",), may_change=False),
            ["su", "-s", "/bin/sh", "-c", 'exec "$0" "$@"', "--", "web", "id"],
        ),
        ("web", inside(uid="33"), ["id"]),
        ("web", inside(uid="1000"), None),
        ("99", inside(wanted="", tools=("su",), may_change=False), None),
        ("web", inside(tools=(), may_change=False), None),
        ("web", inside(may_change=False), None),
    ],
)
def test_the_way_depends_on_what_the_container_has(user: str, found: Inside, expected: list[str] | None):
    assert wrapped(user, found, ["id"]) == expected


def test_the_reason_is_said_in_words():
    assert "no shell" in why_not("web", None)
    assert "runs as user 1000" in why_not("web", inside(uid="1000"))
    assert "knows no user nix" in why_not("nix", inside(wanted=""))
    assert "no setpriv" in why_not("web", inside(tools=()))
    assert "may not change" in why_not("web", inside(may_change=False))


@pytest.mark.parametrize("user", ["2147483648", "4294967295", "4294967296", "99999999999", "0" * 20 + "4294967296"])
def test_a_number_that_is_no_user_is_refused_before_a_tool_wraps_it_around(user: str):
    with pytest.raises(UserError, match=r"is no user: .* from 0 to 2147483647"):
        exec_as.main([user, "web", "--", "id"])


@pytest.mark.parametrize("user", ["²", "٣", "1_000", " 7", "+7"])
def test_only_plain_digits_are_a_number(user: str):
    nothing = inside(wanted="", group="")
    assert exec_plan.number_of(user) == ""
    assert wrapped(user, nothing, ["id"]) is None
    assert why_not(user, nothing) == f"the container knows no user {user}"


@pytest.mark.parametrize("user", ["1000:1000", "root:", "", "-l"])
def test_what_no_user_can_be_called_is_refused(user: str):
    with pytest.raises(UserError, match="is no user: give a name or a number alone"):
        name_of(user)


def test_a_pod_may_be_named_as_kubectl_prints_it_and_nothing_else_is_one():
    assert [pod_of(name) for name in ("web", "pod/web", "pods/web")] == ["web"] * 3
    for named in ("deploy/web", "pod/", "", "a/b/c"):
        with pytest.raises(UserError, match="is no pod"):
            pod_of(named)


def test_a_number_is_handed_on_without_its_zeros():
    assert (exec_plan.number_of("0"), exec_plan.number_of("0033"), exec_plan.number_of("2147483647")) == (
        "0",
        "33",
        "2147483647",
    )
    assert wrapped("000", inside(wanted="", group=""), ["id"]) == ["id"]


def test_a_probe_is_read_line_by_line():
    assert read_probe("uid=0\nwanted=33\ngroup=34\ntool=setpriv\ntool=su\nmay=yes\n") == inside(tools=("setpriv", "su"))


def test_a_number_from_the_container_is_checked_too():
    with pytest.raises(UserError, match="4294967295 is no user"):
        read_probe("uid=0\nwanted=4294967295\ngroup=0\n")


def test_the_container_is_the_default_one_and_must_run():
    status = {"containerStatuses": [{"name": "b", "state": {"running": {}}}, {"name": "a", "state": {"waiting": {}}}]}
    pod = {"metadata": {"name": "p", "annotations": {"kubectl.kubernetes.io/default-container": "b"}}, "status": status}
    pod["spec"] = {"containers": [{"name": "a"}, {"name": "b"}]}
    assert container_of(pod, None) == "b"
    with pytest.raises(UserError, match="choose one of a, b"):
        container_of(pod, "c")
    with pytest.raises(UserError, match="does not run"):
        container_of(pod, "a")


def test_sidecars_and_ephemeral_containers_are_containers_too():
    running = {"running": {}}
    pod = {
        "metadata": {"name": "p"},
        "spec": {
            "initContainers": [{"name": "side", "restartPolicy": "Always"}],
            "containers": [{"name": "main"}],
            "ephemeralContainers": [{"name": "debugger"}],
        },
        "status": {
            "initContainerStatuses": [{"name": "side", "state": running}],
            "ephemeralContainerStatuses": [{"name": "debugger", "state": running}],
        },
    }
    assert [container_of(pod, name) for name in ("side", "debugger")] == ["side", "debugger"]
    with pytest.raises(UserError, match="main of pod p does not run"):
        container_of(pod, None)


def test_the_containers_own_user_needs_no_tool(kubectl: Run, namespace: str):
    assert kubectl.output("exec-as", ME, "web", "-n", namespace, "--", "id", "-u") == f"{ME}\n"
    text = kubectl.output("exec-as", ME, "web", "-n", namespace, "--dry-run", "--", "id", "-u")
    assert text == f"kubectl --namespace={namespace} exec web --container=main -- id -u\n"


def test_the_exit_code_and_the_input_are_passed_on(kubectl: Run, namespace: str):
    done = kubectl("exec-as", ME, "web", "-n", namespace, "-i", "--", "sh", "-c", "cat; exit 7", input="through")
    assert (done.returncode, done.stdout) == (7, "through")


def test_in_a_terminal_it_is_a_shell_with_sizes_and_signals(kubectl: Run, namespace: str):
    child: Any = pexpect.spawn(
        "kubectl",
        ["exec-as", ME, "web", "-n", namespace, "-it", "--", "sh"],
        env=kubectl.environment,
        timeout=20,
        dimensions=(33, 101),
    )
    child.sendline("stty size")
    child.expect("33 101")
    child.setwinsize(44, 111)
    child.sendline("until stty size | grep -q '44 111'; do sleep 0.1; done; echo re''sized")
    child.expect("resized")
    # One program, in front before it prints: between two commands of its own a shell may miss the interrupt.
    child.sendline("sh -c \"echo sle''eping; exec sleep 1000\"")
    child.expect("sleeping")
    child.sendintr()
    child.sendline("echo al''ive")
    child.expect("alive")
    child.sendline("exit 5")
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 5


@needs_root
def test_another_user_by_name_and_by_number(kubectl: Run, namespace: str):
    nobody = pwd.getpwnam("nobody").pw_uid
    assert kubectl.output("exec-as", "nobody", "web", "-n", namespace, "--", "id", "-u") == f"{nobody}\n"
    assert kubectl.output("exec-as", "12345", "web", "-n", namespace, "-c", "main", "--", "id", "-u") == "12345\n"


@needs_root
def test_an_ephemeral_container_runs_as_the_user_and_says_what_it_is(kubectl: Run, namespace: str):
    command = ["exec-as", "12345", "web", "-n", namespace, "--method=ephemeral"]
    done = kubectl(*command, "--", "sh", "-c", "id -u; exit 4")
    assert (done.returncode, done.stdout) == (4, "12345\n")
    assert "root folder of its own" in done.stderr
    assert "stays in the pod as exec-as-12345-1" in done.stderr
    again = kubectl(*command, "-i", "--", "sh", "-c", "cat; exit 3", input="through\n")
    assert (again.returncode, again.stdout) == (3, "through\n")
    assert "exec-as-12345-2" in again.stderr


@without_root
def test_a_node_without_root_is_said_to_be_one(kubectl: Run, namespace: str):
    done = kubectl("exec-as", "12345", "web", "-n", namespace, "--", "id", "-u")
    assert done.returncode == 1
    assert "Error: The node cannot run a container as user 12345" in done.stderr
    assert "with root on the node can" in done.stderr


def test_a_dry_run_of_an_ephemeral_container_leaves_the_pod_alone(kubectl: Run, namespace: str):
    text = kubectl.output("exec-as", "777", "web", "-n", namespace, "--method=ephemeral", "--dry-run", "--", "id")
    assert '"runAsUser": 777' in text
    assert "kubectl --namespace=clients debug web" in text
    assert "exec-as-777" not in kubectl.output("get", "pod", "web", "-n", namespace, "-o", "json")


def test_a_name_nobody_knows_needs_a_number(kubectl: Run, namespace: str):
    done = kubectl("exec-as", "nix", "web", "-n", namespace, "--", "id")
    assert done.returncode == 1
    assert "give the number of nix" in done.stderr


def test_a_pod_that_is_not_there_is_one_sentence(kubectl: Run, namespace: str):
    done = kubectl("exec-as", "nobody", "nothing", "-n", namespace, "--", "id")
    assert (done.returncode, done.stderr) == (1, 'Error: pods "nothing" not found\n')
