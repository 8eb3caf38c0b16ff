"""`kubectl exec-as USER POD [-c CONTAINER] [-it] -- COMMAND`: a command in a running container, as another user."""

from __future__ import annotations

import argparse
import json
import os
import shlex
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from k8sext.clients.kubectl import Kubectl, UserError
from k8sext.clients.plugins import exec_plan, plugin
from k8sext.kube.objects import Json
from k8sext.kube.pod import all_containers

SHELL = ["sh"]
START_WITHIN = 60.0
REASONS = (
    "CreateContainerError",
    "CreateContainerConfigError",
    "RunContainerError",
    "ErrImagePull",
    "ImagePullBackOff",
)


def parser() -> plugin.Parser:
    """Return the plugin's flags."""
    made = plugin.parser(
        "exec-as",
        "Run a command in a running container as a given user (a name or a number).",
        usage="kubectl exec-as USER POD [-c CONTAINER] [-i] [-t] [--dry-run] [flags] [-- COMMAND [ARGUMENT ...]]",
        epilog="Without a command: a shell. The exit code is that of the command.",
    )
    made.add_argument("as_user", metavar="USER", help="a user name of the container, or a number")
    made.add_argument("pod", metavar="POD", help="a running pod")
    made.add_argument("-c", "--container", metavar="NAME", help="[default: the pod's default or first container]")
    made.add_argument("-i", "--stdin", action="store_true", help="pass standard input on")
    made.add_argument("-t", "--tty", action="store_true", help="the command has a terminal")
    made.add_argument(
        "--method", choices=("auto", "exec", "ephemeral"), default="auto", help="[default: auto: exec, if it can]"
    )
    made.add_argument("--image", help="the ephemeral container's image [default: the container's own]")
    made.add_argument("--dry-run", action="store_true", help="say what would be done, and do nothing to the pod")
    return made


def main(arguments: list[str]) -> int:
    """Run the plugin. Returns the exit code of the command (with exec, this process becomes kubectl)."""
    ours, command = _split(arguments)
    options = parser().parse_args(ours)
    options.as_user = exec_plan.number_of(options.as_user) or exec_plan.name_of(options.as_user)
    options.pod = exec_plan.pod_of(options.pod)
    if not command:
        options.stdin, options.tty, command = True, options.tty or sys.stdin.isatty(), SHELL
    kubectl = plugin.kubectl_of(options)
    pod = kubectl.json("get", "pod", options.pod)
    target = exec_plan.container_of(pod, options.container)
    inside = _look(kubectl, options.pod, target, options.as_user)
    if options.method != "ephemeral":
        inner = exec_plan.wrapped(options.as_user, inside, command) if inside else None
        if inner is not None:
            return _exec(kubectl, options, target, inner)
        if options.method == "exec":
            raise UserError(f"exec cannot do it: {exec_plan.why_not(options.as_user, inside)}. Try --method=ephemeral.")
    return _ephemeral(kubectl, options, pod, target, inside, command)


def _split(arguments: list[str]) -> tuple[list[str], list[str]]:
    if "--" not in arguments:
        return arguments, []
    place = arguments.index("--")
    return arguments[:place], arguments[place + 1 :]


def _look(kubectl: Kubectl, pod: str, container: str, user: str) -> exec_plan.Inside | None:
    """Look around in the container; None if that cannot be done there (no shell)."""
    try:
        output = kubectl.run("exec", pod, f"--container={container}", "--", "sh", "-c", exec_plan.PROBE, user)
    except UserError as error:
        if any(word in str(error) for word in ("not found", "no such file", "OCI runtime", "exit code 12")):
            return None
        raise
    return exec_plan.read_probe(output)


def _terminal(options: argparse.Namespace) -> list[str]:
    return [*(["--stdin"] if options.stdin else []), *(["--tty"] if options.tty else [])]


def _exec(kubectl: Kubectl, options: argparse.Namespace, target: str, inner: list[str]) -> int:
    """Become `kubectl exec`: it passes signals, sizes and the exit code on as nobody could better from outside."""
    command = kubectl.command("exec", options.pod, f"--container={target}", *_terminal(options), "--", *inner)
    if options.dry_run:
        print(shlex.join(command))
        return 0
    os.execvp(command[0], command)


def _ephemeral(
    kubectl: Kubectl,
    options: argparse.Namespace,
    pod: Json,
    target: str,
    inside: exec_plan.Inside | None,
    command: list[str],
) -> int:
    user = options.as_user
    number = exec_plan.number_of(user) or (inside.wanted if inside else "")
    reason = exec_plan.why_not(user, inside) if options.method == "auto" else "it was asked for"
    if not number:
        raise UserError(
            f"{reason[:1].upper()}{reason[1:]}, and Kubernetes knows users by number only: give the number of {user}."
        )
    image = options.image or next(c["image"] for c in all_containers(pod) if c["name"] == target)
    name = _free_name(pod, number)
    arguments, fields = exec_plan.ephemeral(
        number, inside.group if inside else "", name, target, image, once=options.stdin
    )
    print(
        f"Using an ephemeral container, because {reason}. It has a root folder of its own (image {image}), "
        f"sees the processes of {target}, and stays in the pod as {name}, ended.",
        file=sys.stderr,
    )
    with tempfile.TemporaryDirectory(prefix="kubectl-exec-as-") as folder:
        custom = Path(folder) / "container.json"
        custom.write_text(json.dumps(fields), encoding="utf-8")
        start = [
            "debug",
            options.pod,
            *arguments,
            f"--custom={custom}",
            "--attach=false",
            "--quiet",
            *_terminal(options),
        ]
        start += ["--", *command]
        follow = _follow(kubectl, options, name)
        if options.dry_run:
            print(f"{json.dumps(fields)} > {custom}\n{shlex.join(kubectl.command(*start))}\n{shlex.join(follow)}")
            return 0
        kubectl.run(*start)
    _started(kubectl, options.pod, name, number)
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        subprocess.call(follow)
    finally:
        signal.signal(signal.SIGINT, before)
    return _ended(kubectl, options.pod, name)


def _follow(kubectl: Kubectl, options: argparse.Namespace, name: str) -> list[str]:
    """Who gives the container no input reads its log, which has all of its output, however soon it ended."""
    if options.stdin or options.tty:
        return kubectl.command("attach", options.pod, f"--container={name}", "--quiet", *_terminal(options))
    return kubectl.command("logs", options.pod, f"--container={name}", "--follow")


def _free_name(pod: Json, number: str) -> str:
    taken = {container["name"] for container in pod["spec"].get("ephemeralContainers") or ()}
    return next(
        name for name in (f"exec-as-{number}-{count}" for count in range(1, len(taken) + 2)) if name not in taken
    )


def _state(kubectl: Kubectl, pod: str, name: str) -> Json:
    statuses = kubectl.json("get", "pod", pod)["status"].get("ephemeralContainerStatuses") or ()
    return next((status.get("state", {}) for status in statuses if status["name"] == name), {})


def _started(kubectl: Kubectl, pod: str, name: str, number: str) -> None:
    """Wait until the container runs or has run. Raises UserError when the node cannot start it."""
    deadline = time.monotonic() + START_WITHIN
    while True:
        state = _state(kubectl, pod, name)
        if "running" in state or "terminated" in state:
            return
        waiting = state.get("waiting", {})
        if waiting.get("reason") in REASONS or time.monotonic() > deadline:
            what = waiting.get("message") or waiting.get("reason") or f"it did not start within {START_WITHIN:.0f} s"
            raise UserError(
                f"The node cannot run a container as user {number} ({what.rstrip('.')}): a runtime with root on the "
                "node can, "
                "or an image whose own user is that one."
            )
        time.sleep(0.1)


def _ended(kubectl: Kubectl, pod: str, name: str) -> int:
    deadline = time.monotonic() + START_WITHIN
    while (ended := _state(kubectl, pod, name).get("terminated")) is None:
        if time.monotonic() > deadline:
            raise UserError(
                f"The connection is over, and the container {name} still runs: `kubectl attach {pod} -c {name} -it`."
            )
        time.sleep(0.1)
    return ended["exitCode"]


def complete(words: list[str], kubectl: Kubectl) -> list[str]:
    """Return what may stand in the place of the last word: after a user, the names of pods."""
    if len([word for word in words if not word.startswith("-")]) < 2:
        return ["root", "nobody"]
    return kubectl.run("get", "pods", "--output=name").replace("pod/", "").split()


def console() -> None:
    """The console script kubectl-exec_as."""
    plugin.run(main)
