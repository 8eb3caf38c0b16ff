"""The next step for a pod, whatever state it is found in."""

from __future__ import annotations

import pytest

from k8sext.infra.kubelet.pod.plan import next_step
from k8sext.infra.kubelet.runtime.cache import PodState
from k8sext.kube.objects import Json
from tests.infra.kubelet.building import Health, container, created, exited, pod, running, sidecar, state

MAIN, OTHER, FIRST, SECOND, PROXY = (
    container("main"),
    container("other"),
    container("first"),
    container("second"),
    sidecar("proxy"),
)
DEBUG = container("debug")


def step(of: Json, seen: PodState, health: Health | None = None, elsewhere: tuple[str, ...] = ()) -> str:
    """The plan in short: what is killed, what is started."""
    seen.sandbox_of |= dict.fromkeys(elsewhere, "old")
    plan = next_step(of, seen, health or Health())
    words = ["sandbox"] * plan.new_sandbox + ["finished"] * plan.finished
    words += [f"kill {run.id}" for run, *_ in plan.kill] + [f"start {spec['name']}" for spec in plan.start]
    return ", ".join(words)


@pytest.mark.parametrize(
    ("of", "seen", "expected"),
    [
        (pod(MAIN), PodState(), "sandbox"),
        (pod(MAIN), state(ready=False), "sandbox"),
        (pod(MAIN, OTHER), state(), "start main, start other"),
        (pod(MAIN), state(created(MAIN)), "start main"),
        (pod(MAIN), state(running(MAIN)), ""),
        (pod(MAIN), state(exited(MAIN, 0)), "start main"),
        (pod(MAIN, policy="OnFailure"), state(exited(MAIN, 1)), "start main"),
        (pod(MAIN, policy="OnFailure"), state(exited(MAIN, 0)), "finished"),
        (pod(MAIN, policy="Never"), state(exited(MAIN, 1)), "finished"),
        (pod(MAIN, OTHER, policy="Never"), state(exited(MAIN, 1), running(OTHER)), ""),
        (pod(MAIN, policy="Never"), state(exited(MAIN, 1), ready=False), "finished"),
        (pod(MAIN, policy="Never"), state(ready=False), "sandbox"),
        (pod(MAIN, status={"phase": "Failed"}), state(running(MAIN)), "finished"),
    ],
)
def test_containers_are_kept_running_as_the_restart_policy_says(of: Json, seen: PodState, expected: str) -> None:
    assert step(of, seen) == expected


@pytest.mark.parametrize(
    ("seen", "expected"),
    [
        (state(), "start first"),
        (state(running(FIRST)), ""),
        (state(exited(FIRST, 1)), "start first"),
        (state(exited(FIRST, 0)), "start second"),
        (state(exited(FIRST, 0), exited(SECOND, 0)), "start main"),
        (state(exited(FIRST, 0), exited(SECOND, 0), running(MAIN)), ""),
        (state(running(MAIN)), ""),
    ],
)
def test_init_containers_run_one_after_the_other(seen: PodState, expected: str) -> None:
    assert step(pod(MAIN, init=(FIRST, SECOND)), seen) == expected


def test_an_init_container_that_fails_for_good_ends_the_pod() -> None:
    assert step(pod(MAIN, init=(FIRST,), policy="Never"), state(exited(FIRST, 1))) == "finished"


def test_a_new_sandbox_runs_the_init_containers_again() -> None:
    of, seen = pod(MAIN, init=(FIRST,)), state(exited(FIRST, 0), exited(MAIN, 137))
    assert step(of, seen, elsewhere=("first-0", "main-0")) == "start first"


@pytest.mark.parametrize(
    ("seen", "health", "expected"),
    [
        (state(), Health(), "start proxy"),
        (state(running(PROXY)), Health(not_started=("proxy-0",)), ""),
        (state(running(PROXY)), Health(), "start main"),
        (state(exited(PROXY, 0), running(MAIN)), Health(), "start proxy"),
        (state(running(PROXY), exited(MAIN, 0)), Health(), "start main"),
    ],
)
def test_a_sidecar_starts_in_its_turn_and_stays(seen: PodState, health: Health, expected: str) -> None:
    assert step(pod(MAIN, init=(PROXY,)), seen, health) == expected


def test_a_sidecar_does_not_keep_a_finished_pod_alive() -> None:
    assert step(pod(MAIN, init=(PROXY,), policy="Never"), state(running(PROXY), exited(MAIN, 0))) == "finished"


@pytest.mark.parametrize("grace", [None, 3])
@pytest.mark.parametrize("kind", ["liveness", "startup"])
def test_what_a_probe_finds_dead_is_killed_in_the_time_that_the_probe_gives(kind: str, grace: int | None) -> None:
    spec = container("main", **{f"{kind}Probe": {"terminationGracePeriodSeconds": grace} if grace else {}})
    plan = next_step(pod(spec), state(running(spec)), Health(failed={"main-0": kind}))
    ((_, reason, seconds, again),) = plan.kill
    assert again == spec
    assert (reason, seconds) == (f"Container main failed {kind} probe, will be restarted", grace)


def test_a_sidecar_that_a_probe_finds_dead_starts_again_whatever_the_pods_policy() -> None:
    spec = sidecar("proxy", livenessProbe={})
    plan = next_step(
        pod(MAIN, init=(spec,), policy="Never"), state(running(spec)), Health(failed={"proxy-0": "liveness"})
    )
    ((_, reason, _, again),) = plan.kill
    assert (reason, again) == ("Init container proxy failed liveness probe", spec)


def test_the_last_container_of_a_pod_that_never_restarts_is_stopped_as_the_pod() -> None:
    spec = container("main", livenessProbe={"terminationGracePeriodSeconds": 1})
    found = Health(failed={"main-0": "liveness"})
    (kill,) = next_step(pod(spec, policy="Never"), state(running(spec)), found).kill
    assert (kill.reason, kill.grace, kill.again) == ("Stopping container main", None, None)
    of = pod(spec, container("other"), policy="Never")
    (kill,) = next_step(of, state(running(spec), running(container("other"))), found).kill
    assert (kill.reason, kill.grace, kill.again) == ("Container main failed liveness probe", 1, None)


def test_a_new_image_replaces_the_container() -> None:
    of = pod(container("main", image="busybox:2"))
    assert step(of, state(running(MAIN))) == "kill main-0"


def test_of_two_runs_of_one_container_the_newest_stays() -> None:
    assert step(pod(MAIN), state(running(MAIN, attempt=1), running(MAIN))) == "kill main-0"


def test_ephemeral_containers_start_once() -> None:
    of = pod(MAIN, ephemeralContainers=[DEBUG])
    assert step(of, state(running(MAIN))) == "start debug"
    assert step(of, state(running(MAIN), exited(DEBUG, 1))) == ""
