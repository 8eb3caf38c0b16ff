"""What two kubelets said of the same pod, in a form that can be compared; and where they differ."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from tests.infra.kubelet.differential.random_pods import Json

SLOWER = 3.0
"""Seconds by which our kubelet may be done with a deletion after the real one; it is usually faster, as the real one
looks at its runtime once a second."""
ALLOWANCE = 24
REASONS = {
    "BackOff",
    "DeadlineExceeded",
    "Failed",
    "FailedKillPod",
    "FailedMount",
    "FailedPostStartHook",
    "FailedPreStopHook",
    "Killing",
    "Started",
    "Unhealthy",
}
"""The events that are compared."""


def status(pod: Json) -> Json:
    """The status of a pod without times, addresses and names of its run."""
    said = pod.get("status", {})
    result: Json = {key: said.get(key) for key in ("phase", "reason", "message") if said.get(key)}
    result["conditions"] = {
        one["type"]: [one["status"], one.get("reason", ""), plain(one.get("message", ""))]
        for one in said.get("conditions", [])
    }
    for group in ("initContainerStatuses", "containerStatuses"):
        for one in said.get(group, []):
            result[one["name"]] = container(one)
    return result


def container(one: Json) -> Json:
    """The status of a container without times and identifiers."""
    result = {key: value for key, value in one.items() if key not in ("name", "containerID", "imageID")}
    result["state"], result["lastState"] = state(one.get("state", {})), state(one.get("lastState", {}))
    reason = result["state"].get("waiting", {}).get("reason")
    if reason == "CrashLoopBackOff" or (reason == "RunContainerError" and result["lastState"]):
        # the real one says that it waits at its next look at the pod, often only when the wait is over
        result["state"], result["lastState"] = result["lastState"], None
    elif "terminated" in result["state"]:
        result["lastState"] = None
    return result


def state(said: Json) -> Json:
    """A container's state without times and identifiers."""
    return {
        kind: {
            key: plain(value) if isinstance(value, str) else value
            for key, value in part.items()
            if key not in ("startedAt", "finishedAt", "containerID")
        }
        for kind, part in said.items()
    }


def plain(text: str) -> str:
    """A message without what is another one on every node."""
    text = re.sub(r"seed-\d+-(real|ours)", "POD", text)
    text = text.replace("no pod sandbox exists", "pod sandbox is not ready")  # it may be cleared away by then
    return re.sub(r"\([0-9a-f-]{36}\)", "(UID)", text)


def paths(one: Any, other: Any, at: str = "") -> list[str]:
    """Where two values differ, and how: one line for each place."""
    if isinstance(one, dict) and isinstance(other, dict):
        keys = [*one, *(key for key in other if key not in one)]
        return [line for key in keys for line in paths(one.get(key), other.get(key), f"{at}.{key}")]
    return [] if one == other else [f"{at}: real {one!r}, ours {other!r}"]


def settled(said: Json) -> bool:
    """Whether nothing is under way: the pod has ended, or each container runs, is done, or waits for a reason that
    stays."""
    if said.get("phase") in ("Succeeded", "Failed"):
        return True
    waits = {"CrashLoopBackOff", "CreateContainerConfigError", "ErrImageNeverPull", "PodInitializing"}
    mains = [one for one in said.values() if isinstance(one, dict) and "state" in one]
    return bool(mains) and all(
        one["state"].get("waiting", {}).get("reason", "CrashLoopBackOff") in waits for one in mains
    )


def lines(trace: Path) -> list[tuple[float, str]]:
    """What the containers said, with its time."""
    if not trace.exists():
        return []
    return [(float(line.split(" ", 1)[0]), line.split(" ", 1)[1]) for line in trace.read_text().splitlines()]


def sequences(said: list[tuple[float, str]]) -> dict[str, list[str]]:
    """What each container said, in its order."""
    result: dict[str, list[str]] = {}
    for _, line in said:
        name, what = line.split(" ")
        # a postStart hook runs beside what the container does
        said_by = result.setdefault(f"{name} post" if what == "post" else name, [])
        if said_by[-1:] != [what] or what == "start":  # a kill that the deletion meets half way is begun anew
            said_by.append(what)
    return result


def order(real: list[tuple[float, str]], ours: list[tuple[float, str]]) -> list[str]:
    """Pairs of lines that are clearly in one order on one side, and clearly in the other order on the other side."""
    times = [{line: at for at, line in reversed(side)} for side in (real, ours)]
    both = sorted(set(times[0]) & set(times[1]))
    return [
        f"order: real has {first!r} {times[0][second] - times[0][first]:.1f} s before {second!r}, ours after"
        for first in both
        for second in both
        if min(times[0][second] - times[0][first], times[1][first] - times[1][second]) > _margin(first, second)
    ]


def _event(one: Json) -> tuple[str, str, str]:
    return one["reason"], one["involvedObject"].get("fieldPath", ""), plain(one["message"])


def _is_of(probes: set[tuple[str, str]], event: tuple[str, str, str]) -> bool:
    return any(event[1] == place and event[2].startswith(kind.capitalize()) for place, kind in probes)


def _margin(first: str, second: str) -> float:
    """Seconds by which two lines have to be apart to be in an order: many scripts begin at once, and slowly."""
    return 3.0 if first.endswith("start") and second.endswith("start") else 1.0


def events(spec: Json, real: list[Json], ours: list[Json]) -> list[str]:
    """Which events one side has and the other has not. A pod that has said so much that its kubelet may be made
    silent (25 events at once) is left out; so is what a healthy probe says that meets the end of its container."""
    ill = {
        (f"spec.containers{{{one['name']}}}", kind)
        for one in spec["containers"]
        for kind in ("startup", "readiness", "liveness")
        if one.get(f"{kind}Probe", {}).get("exec") == {"command": ["false"]}
    }
    if any(sum(one.get("count", 1) for one in side) >= ALLOWANCE for side in (real, ours)):
        return []
    told = {
        name: {_event(one) for one in side if one["reason"] in REASONS}
        for name, side in (("real", real), ("ours", ours))
    }
    told = {name: {one for one in side if one[0] != "Unhealthy" or _is_of(ill, one)} for name, side in told.items()}
    return [
        f"event only on {name}: {event}"
        for name, other in (("real", "ours"), ("ours", "real"))
        for event in sorted(told[name] - told[other])
    ]


def history(versions: list[tuple[float, Json]]) -> list[str]:
    """What a pod went through, one line for each version that says something new."""
    result: list[str] = []
    for at, pod in versions:
        said = status(pod)
        words = [f"{name} {_brief(one)}" for name, one in said.items() if isinstance(one, dict) and "state" in one]
        line = f"{said.get('phase')} {' | '.join(words)}"
        if not result or result[-1].split(" s ", 1)[1] != line:
            result.append(f"{at - versions[0][0]:.1f} s {line}")
    return result


def _brief(one: Json) -> str:
    kind, part = next(iter(one["state"].items()), ("", {}))
    return f"{kind} {part.get('reason', '')} {part.get('exitCode', '')} x{one['restartCount']} ready={one['ready']}"
