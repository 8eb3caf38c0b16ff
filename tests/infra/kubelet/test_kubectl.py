"""What a learner does with kubectl: logs, exec, attach, cp, debug, drain. The real kubectl, a real terminal."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

import pexpect
import pytest

from tests.infra.kubelet.conftest import IMAGE, Namespace

pytestmark = pytest.mark.cluster


BOTH_WAYS = pytest.mark.parametrize("websockets", ["true", "false"])
"""Streams go over WebSockets, or, as from older clients, over SPDY."""


def kubectl(
    namespace: Namespace, *args: str, websockets: str = "true", **options: Any
) -> subprocess.CompletedProcess[str]:
    """kubectl with its own input, output and exit code."""
    command = [*namespace.command, *args]
    environment = os.environ | {"KUBECTL_REMOTE_COMMAND_WEBSOCKETS": websockets}
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, env=environment, **options)


@pytest.fixture
def talker(namespace: Namespace) -> Namespace:
    namespace.pod("one", "for i in 1 2 3 4 5; do echo line $i; done; echo bad >&2; sleep 1000", wait="Running")
    namespace.until(lambda: len(namespace.kubectl("logs", "one").splitlines()) == 6)
    return namespace


def test_logs_show_both_streams_and_any_part_of_them(talker: Namespace) -> None:
    # Two pipes have no order between them: a runtime may read the second before it has read all of the first.
    whole = talker.kubectl("logs", "one")
    assert [line for line in whole.splitlines() if line != "bad"] == [f"line {number}" for number in range(1, 6)]
    assert whole.splitlines().count("bad") == 1
    assert talker.kubectl("logs", "one", "--tail=1").strip() == whole.splitlines()[-1]
    assert talker.kubectl("logs", "one", "--limit-bytes=6") == whole[:6]
    assert talker.kubectl("logs", "one", "--since=1h") == whole
    assert talker.kubectl("logs", "one", "--timestamps", "--tail=1").split()[0].endswith("Z")


def test_a_log_that_is_gone_is_said_to_be(talker: Namespace) -> None:
    if talker.cluster.provider != "embedded":
        pytest.skip("deletes the log on this machine, where the workbook's own nodes keep it")
    pod = talker.get("pod", "one")
    folder = f"{talker.name}_one_{pod['metadata']['uid']}"
    for log in (talker.cluster.layout.data / "nodes").rglob(f"{folder}/main/*.log"):
        log.unlink()
    answer = kubectl(talker, "logs", "one")
    assert "the log of container main is gone" in answer.stderr


def test_exec_finds_a_program_in_the_containers_own_folder(talker: Namespace) -> None:
    script = "printf '#!/bin/sh\\necho found\\n' > x.sh && chmod +x x.sh"
    talker.kubectl("exec", "one", "--", "sh", "-c", script)
    assert talker.kubectl("exec", "one", "--", "./x.sh") == "found\n"


def test_a_time_without_its_zone_is_the_callers_mistake(talker: Namespace) -> None:
    node = talker.get("pod", "one")["spec"]["nodeName"]
    logs = f"/api/v1/nodes/{node}/proxy/containerLogs/{talker.name}/one/main"
    answer = kubectl(talker, "get", "--raw", f"{logs}?sinceTime=2026-01-01T00:00:00")
    assert answer.returncode == 1 and "BadRequest" in answer.stderr


def test_logs_follow_until_the_container_ends(namespace: Namespace) -> None:
    namespace.pod("one", "for i in 1 2 3; do echo line $i; sleep 0.3; done", restartPolicy="Never", wait="Running")
    assert namespace.kubectl("logs", "--follow", "one").split("\n") == ["line 1", "line 2", "line 3", ""]


def test_logs_of_the_run_before(namespace: Namespace) -> None:
    namespace.pod("one", "echo run $$; exit 1")
    namespace.until(lambda: namespace.status("one").get("restartCount", 0) >= 1)
    namespace.until(lambda: namespace.kubectl("logs", "one", "--previous").startswith("run "))


def test_logs_of_a_container_that_has_not_started_say_so(namespace: Namespace) -> None:
    namespace.pod("one", container={"image": "registry.invalid/nothing:1"})
    namespace.until(
        lambda: (
            namespace.status("one").get("state", {}).get("waiting", {}).get("reason")
            in ("ErrImagePull", "ImagePullBackOff")
        )
    )
    answer = kubectl(namespace, "logs", "one")
    assert answer.returncode == 1
    assert 'container "main" in pod "one" is waiting to start' in answer.stderr


@BOTH_WAYS
def test_exec_carries_input_output_and_exit_code(talker: Namespace, websockets: str) -> None:
    script = "cat; echo err >&2; exit 3"
    answer = kubectl(talker, "exec", "-i", "one", "--", "sh", "-c", script, input="hello\n", websockets=websockets)
    assert (answer.stdout, answer.returncode) == ("hello\n", 3)
    assert "err" in answer.stderr


@BOTH_WAYS
def test_exec_hands_on_large_data_unharmed(talker: Namespace, websockets: str) -> None:
    text = "0123456789abcdef" * 100_000
    assert kubectl(talker, "exec", "-i", "one", "--", "cat", input=text, websockets=websockets).stdout == text


def test_exec_takes_a_long_command(talker: Namespace) -> None:
    words = "x" * 100_000
    assert talker.kubectl("exec", "one", "--", "sh", "-c", f"printf %s {words} | wc -c").split() == ["100000"]


@BOTH_WAYS
def test_exec_with_a_terminal_is_a_terminal(talker: Namespace, websockets: str) -> None:
    command = [*talker.command, "exec", "-it", "one", "--", "sh"]
    environment = os.environ | {"KUBECTL_REMOTE_COMMAND_WEBSOCKETS": websockets}
    shell = pexpect.spawn(command[0], command[1:], encoding="utf-8", timeout=20, dimensions=(33, 99), env=environment)
    shell.sendline("test -t 0 && echo is a ter''minal")
    shell.expect("is a terminal")
    shell.sendline("stty size")
    shell.expect("33 99")
    shell.sendline("exit 4")
    shell.expect(pexpect.EOF)
    shell.close()
    assert shell.exitstatus == 4


def test_exec_into_a_container_that_is_not_there_says_so(talker: Namespace) -> None:
    answer = kubectl(talker, "exec", "one", "-c", "other", "--", "true")
    assert answer.returncode == 1
    assert "other" in answer.stderr


@BOTH_WAYS
def test_attach_and_run_with_input(namespace: Namespace, websockets: str) -> None:
    run = ("run", "one", f"--image={IMAGE}", "--restart=Never", "--rm", "-i", "--", "cat")
    answer = kubectl(namespace, *run, input="hello\n", websockets=websockets)
    assert "hello" in answer.stdout


def test_cp_carries_files_both_ways(talker: Namespace, tmp_path: Path) -> None:
    (tmp_path / "in").write_text("data")
    talker.kubectl("cp", str(tmp_path / "in"), "one:copied")
    talker.kubectl("cp", "one:copied", str(tmp_path / "out"))
    assert (tmp_path / "out").read_text() == "data"


def test_debug_adds_an_ephemeral_container(talker: Namespace) -> None:
    talker.kubectl(
        "debug", "one", f"--image={IMAGE}", "--container=debugger", "--", "sh", "-c", "echo debugging; sleep 1000"
    )
    talker.until(lambda: talker.kubectl("logs", "one", "-c", "debugger").strip() == "debugging")
    (status,) = talker.get("pod", "one")["status"]["ephemeralContainerStatuses"]
    assert "running" in status["state"]


def test_drain_moves_the_pods_to_another_node(namespace: Namespace) -> None:
    namespace.kubectl("create", "deployment", "web", f"--image={IMAGE}", "--replicas=2", "--", "sleep", "1000")
    namespace.kubectl(
        "patch", "deployment", "web", "-p", '{"spec":{"template":{"spec":{"terminationGracePeriodSeconds":1}}}}'
    )
    namespace.kubectl("rollout", "status", "deployment/web", "--timeout=90s")
    try:
        namespace.kubectl(
            "drain",
            "k8sext-worker2",
            "--ignore-daemonsets",
            "--force",
            "--delete-emptydir-data",
            "--timeout=90s",
            "--pod-selector=app=web",
        )
        namespace.kubectl("rollout", "status", "deployment/web", "--timeout=90s")
        namespace.until(lambda: "k8sext-worker2" not in namespace.kubectl("get", "pods", "-o", "wide"))
    finally:
        namespace.kubectl("uncordon", "k8sext-worker2")
