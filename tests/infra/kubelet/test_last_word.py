"""The last status of a pod: what ended has its end, what never came to be keeps waiting."""

from __future__ import annotations

import pytest

from k8sext.kube.objects import Json
from tests.infra.kubelet.building import Health, container, exited, pod, running, sidecar, state
from tests.infra.kubelet.test_status import condition, status_of

MAIN, OTHER, INIT, SECOND, PROXY = (
    container("main"),
    container("other"),
    container("init"),
    container("second"),
    sidecar("proxy"),
)


def ends(status: Json) -> dict[str, object]:
    """How each container ended: its exit code, or why it waits."""
    groups = ("initContainerStatuses", "containerStatuses")
    return {
        one["name"]: one["state"].get("terminated", {}).get("exitCode", one["state"].get("waiting", {}).get("reason"))
        for group in groups
        for one in status.get(group, [])
    }


@pytest.mark.parametrize(
    ("of", "seen", "expected"),
    [
        (pod(MAIN), state(), {"main": 137}),
        (pod(MAIN, OTHER), state(exited(MAIN, 0)), {"main": 0, "other": 137}),
        (pod(MAIN, init=(INIT,)), state(), {"init": 137, "main": "PodInitializing"}),
        (
            pod(MAIN, init=(INIT, SECOND)),
            state(exited(INIT, 143)),
            {"init": 143, "second": "PodInitializing", "main": "PodInitializing"},
        ),
        (pod(MAIN, init=(INIT,)), state(exited(INIT, 0)), {"init": 0, "main": 137}),
        (pod(MAIN, init=(PROXY,)), state(exited(PROXY, 143)), {"proxy": 143, "main": "PodInitializing"}),
    ],
)
def test_what_had_its_turn_has_an_end(of: Json, seen: object, expected: dict[str, object]) -> None:
    status = status_of(of, seen, ended=True)  # type: ignore[arg-type]
    assert status["phase"] == "Failed"
    assert ends(status) == expected


def test_a_pod_that_was_initialised_once_stays_so_although_its_sidecar_has_ended() -> None:
    of = pod(MAIN, init=(PROXY,))
    before = status_of(of, state(running(PROXY)), health=Health())
    assert condition(before, "Initialized")["status"] == "True"
    after = status_of(of | {"status": before}, state(exited(PROXY, 0)), ended=True)
    assert condition(after, "Initialized")["status"] == "True"
    assert ends(after) == {"proxy": 0, "main": 137}


def test_a_sidecar_that_had_ended_before_takes_the_turn_back() -> None:
    of = pod(MAIN, init=(PROXY,))
    before = status_of(of, state(exited(PROXY, 143)))
    assert ends(status_of(of | {"status": before}, state(exited(PROXY, 143)), ended=True)) == {
        "proxy": 143,
        "main": "PodInitializing",
    }
    of = pod(MAIN, OTHER, init=(PROXY,))
    after = status_of(of | {"status": before}, state(exited(PROXY, 143), exited(MAIN, 1)), ended=True)
    assert ends(after) == {"proxy": 143, "main": 1, "other": 137}


def test_the_conditions_are_those_of_the_moment_before() -> None:
    status = status_of(pod(MAIN), state(), ended=True)
    assert condition(status, "Ready")["reason"] == "ContainersNotReady"
    assert status["phase"] == "Failed"
