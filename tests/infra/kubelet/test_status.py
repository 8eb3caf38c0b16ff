"""Phase, conditions and container states, as Kubernetes defines them."""

from __future__ import annotations

import json

import pytest

from k8sext.infra.cri.proto import api_pb2 as cri
from k8sext.infra.kubelet.pod.status import Observation, pod_status
from k8sext.infra.kubelet.runtime.cache import RESOURCES, PodState
from k8sext.kube.objects import Json
from tests.infra.kubelet.building import Health, container, created, exited, pod, running, sidecar, state

MAIN, OTHER, INIT, PROXY = container("main"), container("other"), container("init"), sidecar("proxy")
NOW = "2026-11-22T18:00:00Z"


def status_of(
    of: Json, seen: PodState, *, health: Health | None = None, reasons: Json | None = None, ended: bool = False
) -> Json:
    observed = Observation(seen, health or Health(), "test", "10.244.1.1", reasons or {}, {}, ended)
    return pod_status(of, observed, NOW)


def condition(status: Json, kind: str) -> Json:
    return next(c for c in status["conditions"] if c["type"] == kind)


@pytest.mark.parametrize(
    ("of", "seen", "phase"),
    [
        (pod(MAIN), PodState(), "Pending"),
        (pod(MAIN), state(), "Pending"),
        (pod(MAIN), state(created(MAIN)), "Pending"),
        (pod(MAIN), state(running(MAIN)), "Running"),
        (pod(MAIN, OTHER), state(running(MAIN)), "Pending"),
        (pod(MAIN, OTHER), state(running(MAIN), exited(OTHER, 1)), "Running"),
        (pod(MAIN), state(exited(MAIN, 0)), "Running"),
        (pod(MAIN, policy="OnFailure"), state(exited(MAIN, 0)), "Succeeded"),
        (pod(MAIN, policy="OnFailure"), state(exited(MAIN, 1)), "Running"),
        (pod(MAIN, policy="Never"), state(exited(MAIN, 0)), "Succeeded"),
        (pod(MAIN, policy="Never"), state(exited(MAIN, 1)), "Failed"),
        (pod(MAIN, OTHER, policy="Never"), state(exited(MAIN, 1), running(OTHER)), "Running"),
        (pod(MAIN, OTHER, policy="Never"), state(exited(MAIN, 1), exited(OTHER, 0)), "Failed"),
        (pod(MAIN, init=(INIT,)), state(running(INIT)), "Pending"),
        (pod(MAIN, init=(INIT,)), state(exited(INIT, 0)), "Pending"),
        (pod(MAIN, init=(INIT,)), state(exited(INIT, 1)), "Pending"),
        (pod(MAIN, init=(INIT,), policy="Never"), state(exited(INIT, 1)), "Failed"),
        (pod(MAIN, init=(INIT,)), state(exited(INIT, 0), running(MAIN)), "Running"),
        (pod(MAIN, init=(PROXY,)), state(running(PROXY)), "Pending"),
        (pod(MAIN, init=(PROXY,)), state(running(PROXY), running(MAIN)), "Running"),
        (pod(MAIN, init=(PROXY,), policy="Never"), state(running(PROXY), exited(MAIN, 0)), "Running"),
        (pod(MAIN, init=(PROXY,), policy="Never"), state(exited(PROXY, 143), exited(MAIN, 0)), "Succeeded"),
    ],
)
def test_the_phase_follows_from_the_containers(of: Json, seen: PodState, phase: str) -> None:
    assert status_of(of, seen)["phase"] == phase


@pytest.mark.parametrize(("code", "phase"), [(0, "Succeeded"), (137, "Failed")])
def test_a_deleted_pod_ends_terminal_whatever_its_restart_policy(code: int, phase: str) -> None:
    assert status_of(pod(MAIN), state(exited(MAIN, code)), ended=True)["phase"] == phase


def test_a_terminal_phase_is_for_ever() -> None:
    of = pod(MAIN, status={"phase": "Failed", "reason": "Evicted"})
    assert status_of(of, state(running(MAIN)))["phase"] == "Failed"


def test_a_container_between_two_runs_waits_and_remembers_the_last() -> None:
    reasons = {"main": ("CrashLoopBackOff", "back-off 10s")}
    status = status_of(pod(MAIN), state(exited(MAIN, 3, attempt=2)), reasons=reasons)
    (main,) = status["containerStatuses"]
    assert main["state"] == {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 10s"}}
    assert main["lastState"]["terminated"]["exitCode"] == 3
    assert main["lastState"]["terminated"]["reason"] == "Error"
    assert main["restartCount"] == 2
    assert status["phase"] == "Running"


def test_a_run_after_a_run_shows_the_one_before_as_last_state() -> None:
    (main,) = status_of(pod(MAIN), state(running(MAIN, attempt=1), exited(MAIN, 7)))["containerStatuses"]
    assert main["state"] == {"running": {"startedAt": "1970-01-01T00:16:40Z"}}
    assert main["lastState"]["terminated"]["exitCode"] == 7
    assert main["restartCount"] == 1
    assert main["containerID"] == "test://main-1"
    assert (main["ready"], main["started"]) == (True, True)


def test_a_container_that_the_runtime_lost_counts_as_a_restart() -> None:
    known = {"name": "main", "restartCount": 4, "state": {"running": {}}, "containerID": "test://old"}
    (main,) = status_of(pod(MAIN, status={"containerStatuses": [known]}), state())["containerStatuses"]
    assert main["restartCount"] == 5
    assert main["lastState"]["terminated"]["reason"] == "ContainerStatusUnknown"


def test_a_container_known_to_have_ended_stays_so_when_the_runtime_has_forgotten_it() -> None:
    ended = {"terminated": {"exitCode": 0, "reason": "Completed"}}
    known = {"name": "main", "restartCount": 0, "state": ended, "containerID": "test://old"}
    of = pod(MAIN, policy="Never", status={"phase": "Succeeded", "containerStatuses": [known]})
    assert status_of(of, PodState())["containerStatuses"][0]["state"] == ended


def test_containers_wait_for_the_init_containers_by_name() -> None:
    status = status_of(pod(MAIN, init=(INIT,)), state(running(INIT)))
    assert status["containerStatuses"][0]["state"] == {"waiting": {"reason": "PodInitializing"}}
    initialized = condition(status, "Initialized")
    assert initialized["status"] == "False"
    assert initialized["reason"] == "ContainersNotInitialized"
    assert initialized["message"] == "containers with incomplete status: [init]"


def test_all_conditions_of_a_pod_that_is_well_are_true() -> None:
    status = status_of(pod(MAIN), state(running(MAIN)))
    assert {c["type"]: c["status"] for c in status["conditions"]} == dict.fromkeys(
        ("PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady", "PodScheduled"), "True"
    )


def test_a_container_that_is_not_ready_makes_the_pod_not_ready() -> None:
    status = status_of(pod(MAIN), state(running(MAIN)), health=Health(not_ready=("main-0",)))
    for kind in ("Ready", "ContainersReady"):
        found = condition(status, kind)
        assert found["reason"] == "ContainersNotReady"
        assert found["message"] == "containers with unready status: [main]"


@pytest.mark.parametrize(("code", "reason"), [(0, "PodCompleted"), (1, "PodFailed")])
def test_a_pod_that_has_ended_is_not_ready_and_says_why(code: int, reason: str) -> None:
    status = status_of(pod(MAIN, policy="Never"), state(exited(MAIN, code)))
    assert (condition(status, "Ready")["status"], condition(status, "Ready")["reason"]) == ("False", reason)


@pytest.mark.parametrize(
    ("gate", "ready"),
    [([], "False"), ([{"type": "lb", "status": "False"}], "False"), ([{"type": "lb", "status": "True"}], "True")],
)
def test_readiness_gates_have_their_say(gate: list[Json], ready: str) -> None:
    of = pod(MAIN, readinessGates=[{"conditionType": "lb"}], status={"conditions": gate})
    status = status_of(of, state(running(MAIN)))
    assert condition(status, "Ready")["status"] == ready
    assert condition(status, "ContainersReady")["status"] == "True"


def test_a_condition_that_stays_keeps_its_time() -> None:
    old = {"type": "Ready", "status": "True", "lastTransitionTime": "2020-01-01T00:00:00Z"}
    of = pod(MAIN, status={"conditions": [old]})
    assert condition(status_of(of, state(running(MAIN))), "Ready")["lastTransitionTime"] == "2020-01-01T00:00:00Z"
    assert condition(status_of(of, state()), "Ready")["lastTransitionTime"] == NOW


def test_a_reason_that_no_longer_holds_is_taken_away() -> None:
    old = {
        "type": "Ready",
        "status": "False",
        "reason": "ContainersNotReady",
        "message": "main",
        "lastTransitionTime": NOW,
    }
    found = condition(status_of(pod(MAIN, status={"conditions": [old]}), state(running(MAIN))), "Ready")
    assert found["reason"] is None
    assert found["message"] is None


def test_addresses_and_start_time_are_told_once_and_kept() -> None:
    status = status_of(pod(MAIN, status={"startTime": "2020-01-01T00:00:00Z", "podIP": "10.244.1.9"}), PodState())
    assert (status["startTime"], status["podIP"], status["hostIP"]) == (
        "2020-01-01T00:00:00Z",
        "10.244.1.9",
        "10.244.1.1",
    )


def test_why_containers_cannot_start() -> None:
    assert (
        condition(status_of(pod(MAIN), PodState()), "PodReadyToStartContainers")["message"] == "no pod sandbox exists"
    )
    stopped = state(exited(MAIN, 0))
    stopped.sandboxes[0].state = cri.SANDBOX_NOTREADY
    found = condition(status_of(pod(MAIN), stopped), "PodReadyToStartContainers")
    assert (found["status"], found["reason"]) == ("False", "PodSandboxNotReady")
    assert found["message"] == "pod sandbox is not ready"


def test_mounts_and_user_are_told() -> None:
    mounts = [{"name": "a", "mountPath": "/a"}, {"name": "b", "mountPath": "/b", "readOnly": True}]
    of, seen = pod(container("main", volumeMounts=mounts)), running(MAIN)
    seen.user.linux.CopyFrom(cri.LinuxContainerUser(uid=1000, gid=7, supplemental_groups=[7, 8]))
    (main,) = status_of(of, state(seen))["containerStatuses"]
    assert main["volumeMounts"] == [mounts[0], mounts[1] | {"recursiveReadOnly": "Disabled"}]
    assert main["user"] == {"linux": {"uid": 1000, "gid": 7, "supplementalGroups": [7, 8]}}
    (main,) = status_of(of, state(running(MAIN)))["containerStatuses"]
    assert "user" not in main


def test_a_change_of_resources_waits_for_the_next_start_and_says_so() -> None:
    small, large = {"requests": {"cpu": "1"}}, {"requests": {"cpu": "2"}}
    run = running(MAIN)
    run.annotations[RESOURCES] = json.dumps(small)
    status = status_of(pod(container("main", resources=large)), state(run))
    assert status["containerStatuses"][0]["resources"] == small
    assert status["containerStatuses"][0]["allocatedResources"] == small["requests"]
    pending = condition(status, "PodResizePending")
    assert (pending["status"], pending["reason"]) == ("True", "Deferred")
    assert pending["message"].endswith("started again: [main]")
    run.annotations[RESOURCES] = json.dumps(large)
    status = status_of(pod(container("main", resources=large), status=status), state(run))
    assert "PodResizePending" not in [one["type"] for one in status["conditions"]]
    assert status["containerStatuses"][0]["resources"] == large
