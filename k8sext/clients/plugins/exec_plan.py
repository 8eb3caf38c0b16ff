"""How to run a command in a container as another user, since the API has no way to ask for one.

Who may change the user is root inside the container, with a program that does it: `setpriv`, `runuser` or `su`. Where
there is neither root nor such a program, Kubernetes can start a second container in the pod: an *ephemeral* one, with
`runAsUser`, that shares the process namespace of the first. (KEP-277; a `--user` for exec itself was refused:
kubernetes#30656.)
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from k8sext.clients.kubectl import UserError
from k8sext.kube.objects import Json
from k8sext.kube.pod import all_containers, all_statuses, containers

PROBE = r"""
printf 'uid=%s\n' "$(id -u)"
printf 'wanted=%s\n' "$(id -u -- "$0" 2>/dev/null)"
printf 'group=%s\n' "$(id -g -- "$0" 2>/dev/null)"
for tool in setpriv runuser su; do command -v $tool >/dev/null 2>&1 && printf 'tool=%s\n' $tool; done
setpriv --reuid=65534 --regid=65534 --clear-groups true >/dev/null 2>&1 && echo may=yes
true
"""
LARGEST_USER = 2**31 - 1
EXEC_REST = 'exec "$0" "$@"'


@dataclass(frozen=True)
class Inside:
    """What the probe found in the container: its user, the wanted one (empty: not in its /etc/passwd), its programs."""

    uid: str
    wanted: str
    group: str
    tools: tuple[str, ...]
    may_change: bool


def number_of(user: str) -> str:
    """Return a user that is given by number as plain digits, nothing for a name.

    Raises UserError for a number that Kubernetes does not know. `setpriv` and others would wrap it around: 4294967296
    is root then.
    """
    if not re.fullmatch("[0-9]+", user):
        return ""
    if int(user) > LARGEST_USER:
        raise UserError(f"{user} is no user: give a number from 0 to {LARGEST_USER}, or a name of the container.")
    return str(int(user))


def name_of(user: str) -> str:
    """Return a user that is given by name. Raises UserError for what no user can be called, such as USER:GROUP."""
    if not user or ":" in user or user.startswith("-"):
        raise UserError(f"{user or repr(user)} is no user: give a name or a number alone; its groups come with it.")
    return user


def pod_of(named: str) -> str:
    """Return the name of a pod, which kubectl also takes as pod/NAME. Raises UserError for other resources."""
    kind, separate, name = named.rpartition("/")
    if (separate and kind not in ("pod", "pods", "po")) or not name:
        raise UserError(f"{named or repr(named)} is no pod: name one, as `kubectl get pods` shows them.")
    return name


def read_probe(output: str) -> Inside:
    """Read what the script PROBE printed. Raises UserError when the container gives a name a number that is none."""
    found = dict(re.findall(r"^(uid|wanted|group|may)=(.*)$", output, re.MULTILINE))
    tools = tuple(re.findall(r"^tool=(.*)$", output, re.MULTILINE))
    wanted, group = number_of(found.get("wanted", "")), number_of(found.get("group", ""))
    return Inside(found.get("uid", ""), wanted, group, tools, found.get("may") == "yes")


def container_of(pod: Json, wanted: str | None) -> str:
    """Return the name of the container to enter: the one asked for, the pod's default one, or its first.

    Raises UserError when there is no such container, or when it does not run.
    """
    names = [container["name"] for container in all_containers(pod)]
    annotations = pod["metadata"].get("annotations") or {}
    name = wanted or annotations.get("kubectl.kubernetes.io/default-container") or containers(pod)[0]["name"]
    pod_name = pod["metadata"]["name"]
    if name not in names:
        raise UserError(f"The pod {pod_name} has no container {name}: choose one of {', '.join(names)}.")
    states = {status["name"]: status.get("state", {}) for status in all_statuses(pod)}
    if "running" not in states.get(name, {}):
        raise UserError(f"The container {name} of pod {pod_name} does not run: a command needs one that does.")
    return name


def wrapped(user: str, inside: Inside, command: list[str]) -> list[str] | None:
    """Return the command as it is to be given to `kubectl exec`, None when exec cannot change to that user."""
    number = inside.wanted or number_of(user)
    if number and inside.uid == number:
        return command
    if inside.uid != "0":
        return None
    if "setpriv" in inside.tools and inside.may_change and number:
        group = inside.group or number
        groups = "--init-groups" if inside.wanted else "--clear-groups"
        return ["setpriv", f"--reuid={number}", f"--regid={group}", groups, "--", *command]
    if not inside.wanted or ("setpriv" in inside.tools and not inside.may_change):
        return None
    if "runuser" in inside.tools:
        return ["runuser", "-u", user, "--", *command]
    if "su" in inside.tools:
        return ["su", "-s", "/bin/sh", "-c", EXEC_REST, "--", user, *command]
    return None


def ephemeral(number: str, group: str, name: str, target: str, image: str, *, once: bool) -> tuple[list[str], Json]:
    """Return the arguments of `kubectl debug` and the container fields for its --custom file.

    `once` closes the container's input when the first attached client does, as exec would.
    """
    security = {"runAsUser": int(number), "runAsGroup": int(group or number), "allowPrivilegeEscalation": False}
    arguments = ["--profile=general", f"--container={name}", f"--target={target}", f"--image={image}"]
    return arguments, {"securityContext": security} | ({"stdinOnce": True} if once else {})


def why_not(user: str, inside: Inside | None) -> str:
    """Return why exec cannot do it."""
    if inside is None:
        return "the container has no shell to look around with"
    if inside.uid != "0":
        return f"the container runs as user {inside.uid}, and only root may change the user"
    if not inside.wanted and not number_of(user):
        return f"the container knows no user {user}"
    if "setpriv" in inside.tools and not inside.may_change:
        return "root in this container may not change the user"
    return "the container has no setpriv, runuser or su that could do it"
