"""kubectl uptime: what a pod's status tells about its past, and how it is shown."""

from __future__ import annotations

import json
import os
import subprocess
from datetime import UTC, datetime
from typing import Any

import pexpect
import pytest
import yaml

from k8sext.clients.plugins.timeline import Uptime, uptime_of
from k8sext.clients.plugins.uptime_table import bar, duration, percent, table
from k8sext.kube.objects import Json
from tests.clients.conftest import Run, pod

NOW = 1_000_000.0
DAY = 86400.0


def at(seconds: float) -> str:
    return datetime.fromtimestamp(NOW + seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def status(running: float | None = None, last: tuple[float, float] | None = None, restarts: int = 0) -> dict[str, Any]:
    state = (
        {"running": {"startedAt": at(running)}} if running is not None else {"waiting": {"reason": "CrashLoopBackOff"}}
    )
    ended = {"startedAt": at(last[0]), "finishedAt": at(last[1]), "exitCode": 1, "reason": "Error"} if last else None
    return {"name": "c", "state": state, "lastState": {"terminated": ended} if ended else {}, "restartCount": restarts}


def seen(*statuses: dict[str, Any], started: float = -1000.0, window: float = DAY) -> Uptime:
    found = {
        "metadata": {"name": "p", "namespace": "n", "creationTimestamp": at(started)},
        "spec": {"containers": [{"name": "c"}] * len(statuses), "nodeName": "node"},
        "status": {"startTime": at(started), "containerStatuses": list(statuses)},
    }
    return uptime_of(found, NOW, window)


def test_up_counts_from_the_last_start_of_the_last_container():
    assert seen(status(running=-500), status(running=-100)).up == 100


def test_a_pod_with_a_container_that_waits_is_not_up():
    found = seen(status(running=-500), status())
    assert found.up is None
    assert found.availability == 0


def test_the_time_between_two_runs_was_down():
    found = seen(status(running=-400, last=(-1000, -600), restarts=1))
    assert found.availability == pytest.approx(0.8)
    assert found.last_exit == "Error (1)"


def test_after_two_restarts_only_the_last_two_runs_are_known():
    found = seen(status(running=-100, last=(-300, -200), restarts=7))
    assert found.restarts == 7
    assert found.now - found.known == 300
    assert found.availability == pytest.approx(2 / 3)


def test_the_window_cuts_the_past_off():
    assert seen(status(running=-400, last=(-1000, -600), restarts=1), window=200).availability == 1


def test_a_pod_without_containers_yet_has_no_uptime():
    found = uptime_of(
        {
            "metadata": {"name": "p", "namespace": "n", "creationTimestamp": at(0)},
            "spec": {"containers": [{"name": "c"}]},
            "status": {},
        },
        NOW,
        DAY,
    )
    assert (found.up, found.availability) == (None, None)


def test_the_bar_tells_unknown_down_and_up_apart_without_colour():
    found = seen(status(running=-250, last=(-1000, -500), restarts=1), window=2000)
    assert bar(found, 2000) == "··········█████▁▁▁██"
    text = table([found], 2000, wide=False, namespaces=False, colour=True)
    assert text.splitlines()[1].startswith("\x1b[33m")


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [(None, "-"), (0, "0s"), (59, "59s"), (61, "1m1s"), (3600, "1h"), (90061, "1d1h"), (864000, "10d")],
)
def test_a_duration_has_its_two_biggest_units(seconds: float | None, expected: str):
    assert duration(seconds) == expected


def test_what_is_not_quite_all_is_not_100_percent():
    assert [percent(share) for share in (None, 0, 0.5, 0.999999, 1)] == ["-", "0.00%", "50.00%", "99.99%", "100%"]


CRASHED = {"waiting": {"reason": "CrashLoopBackOff"}}
DONE = {"terminated": {"exitCode": 0, "startedAt": at(-900), "finishedAt": at(-800)}}
RUNS = {"running": {"startedAt": at(-100)}}


def of_many(initialized: bool, init: list[dict[str, Any]], side: dict[str, Any], main: dict[str, Any]) -> Json:
    """The status of a pod with an init container, a sidecar and a container."""
    common = {"image": "i", "imageID": "", "ready": True}
    return {
        "phase": "Running",
        "startTime": at(-1000),
        "conditions": [{"type": "Initialized", "status": str(initialized)}],
        "initContainerStatuses": [common | each for each in init] + [common | {"name": "side"} | side],
        "containerStatuses": [common | {"name": "main"} | main],
    }


@pytest.mark.parametrize(
    "status",
    [
        of_many(
            False,
            [{"name": "init", "restartCount": 2, "state": DONE}],
            {"restartCount": 3, "state": CRASHED, "started": False},
            {"restartCount": 0, "state": {"waiting": {"reason": "PodInitializing"}}},
        ),
        of_many(
            True,
            [{"name": "init", "restartCount": 2, "state": DONE}],
            {"restartCount": 3, "state": CRASHED, "started": False},
            {"restartCount": 4, "state": RUNS},
        ),
        of_many(
            False,
            [{"name": "init", "restartCount": 5, "state": RUNS}],
            {"restartCount": 1, "state": {"waiting": {"reason": "PodInitializing"}}},
            {"restartCount": 0, "state": {"waiting": {"reason": "PodInitializing"}}},
        ),
        of_many(
            False,
            [{"name": "init", "restartCount": 1, "state": DONE}],
            {"restartCount": 1, "state": RUNS, "started": True},
            {"restartCount": 6, "state": RUNS},
        ),
    ],
    ids=["a sidecar crashes at the start", "a sidecar crashes later", "an init container runs", "all runs"],
)
def test_restarts_are_counted_as_kubectl_counts_them(kubectl: Run, namespace: str, cluster, status: Json):
    spec = {"schedulerName": "nobody", "containers": [{"name": "main", "image": "i"}]}
    spec["initContainers"] = [
        {"name": "init", "image": "i"},
        {"name": "side", "image": "i", "restartPolicy": "Always"},
    ]
    made = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "many", "namespace": namespace}, "spec": spec}
    cluster.kubectl("create", "-f", "-", input=json.dumps(made))
    try:
        patch = json.dumps({"status": status})
        cluster.kubectl("patch", "pod", "many", "-n", namespace, "--subresource=status", "--type=merge", "-p", patch)
        line = cluster.kubectl("get", "pod", "many", "-n", namespace, "--no-headers").split()
        (ours,) = json.loads(kubectl.output("uptime", "many", "-n", namespace, "-o", "json"))
        assert str(ours["restarts"]) == line[3]
        assert (ours["upSeconds"] is not None) == (line[1] == "2/2" and line[2] == "Running")
    finally:
        cluster.kubectl("delete", "pod", "many", "-n", namespace, "--force", "--grace-period=0")


def test_a_listing_shows_what_is_down_before_what_is_up(kubectl: Run, namespace: str, cluster, eventually):
    cluster.kubectl("apply", "-f", "-", input=json.dumps(pod("crashing", "exit 3", restartPolicy="Never")))
    crashed = lambda: kubectl.output("uptime", "crashing", "-n", namespace, "-o", "json")  # noqa: E731
    eventually(lambda: json.loads(crashed())[0]["lastExit"] == "Error (3)")
    names = [
        row["name"]
        for row in json.loads(kubectl.output("uptime", "-n", namespace, "-o", "json", "-l", "app in (web,crashing)"))
    ]
    assert names == ["crashing", "web"]
    first, second = kubectl.output(
        "uptime", "-n", namespace, "--sort-by=up", "-l", "app in (web,crashing)"
    ).splitlines()[1:]
    assert first.startswith("crashing   -")
    assert second.startswith("web ")
    assert "100%" in second
    cluster.kubectl("delete", "pod", "crashing", "-n", namespace, "--wait=false")


def test_wide_yaml_and_all_namespaces_say_more(kubectl: Run, namespace: str):
    head, *lines = kubectl.output("uptime", "-A", "-o", "wide", "-l", "app=web").splitlines()
    assert head.split()[0] == "NAMESPACE"
    (line,) = [line for line in lines if line.split()[0] == namespace]  # other tests have a `web` of their own
    assert line.split()[-1].startswith("k8sext-")
    (row,) = yaml.safe_load(kubectl.output("uptime", "web", "-n", namespace, "-o", "yaml"))
    assert (row["name"], row["availability"]) == ("web", 1.0)


def test_nothing_found_is_said_on_standard_error(kubectl: Run, namespace: str):
    done = kubectl("uptime", "-n", namespace, "-l", "app=nothing")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "No resources found.\n")


def test_a_pod_that_is_not_there_is_an_error(kubectl: Run, namespace: str):
    done = kubectl("uptime", "nothing", "-n", namespace)
    assert (done.returncode, done.stderr) == (1, 'Error: pods "nothing" not found\n')


def test_a_window_that_is_no_time_is_wrong_usage(kubectl: Run):
    done = kubectl("uptime", "--window=soon")
    assert done.returncode == 2
    assert "write 90s, 15m, 24h or 7d" in done.stderr


def test_colour_is_for_terminals_only(kubectl: Run, namespace: str):
    assert "\x1b" not in kubectl.output("uptime", "web", "-n", namespace)
    arguments = ["uptime", "web", "-n", namespace]
    in_terminal: Any = pexpect.spawn("kubectl", arguments, env=kubectl.environment | {"TERM": "xterm"}, timeout=20)
    assert b"\x1b[32mweb" in in_terminal.read()
    without: Any = pexpect.spawn("kubectl", arguments, env=kubectl.environment | {"NO_COLOR": "1"}, timeout=20)
    assert b"\x1b" not in without.read()


def test_watch_shows_pods_as_they_come(kubectl: Run, namespace: str, cluster):
    process = subprocess.Popen(
        ["kubectl", "uptime", "-n", namespace, "--watch", "-l", "app=late"],
        stdout=subprocess.PIPE,
        text=True,
        env=kubectl.environment,
        start_new_session=True,
    )
    try:
        cluster.kubectl("apply", "-f", "-", input=json.dumps(pod("late", "sleep 1000")))
        assert process.stdout is not None
        assert any("late " in line and "100%" in line for line in process.stdout)
    finally:
        os.killpg(process.pid, 2)
        assert process.wait(20) == 130
    cluster.kubectl("delete", "pod", "late", "-n", namespace, "--wait=false")
