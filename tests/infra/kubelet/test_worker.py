"""A pod's worker against a runtime in memory: the whole life of a pod, and death at every instruction of it."""

from __future__ import annotations

import asyncio

import pytest

from k8sext.infra.kubelet.pod.admission import Rejection
from k8sext.kube.objects import Json
from k8sext.kube.request import request
from tests.infra.kubelet.building import container, pod, sidecar
from tests.infra.kubelet.stage import Stage
from tests.support.eventually import eventually_async

FAILED = 'MountVolume.SetUp failed for volume "v"'
MAIN, FIRST, PROXY = container("main"), container("first"), sidecar("proxy")


async def test_a_pod_lives_from_sandbox_to_deletion(stage: Stage) -> None:
    stage.play(pod(MAIN))
    await stage.until(lambda: stage.api.phases == ["Pending", "Running"])
    assert stage.runtime.calls == ["RunPodSandbox", "CreateContainer", "StartContainer"]
    stage.delete()
    await stage.until(lambda: stage.api.deleted == ["/api/v1/namespaces/shop/pods/web"])
    assert stage.runtime.calls[3:] == ["StopContainer", "StopPodSandbox", "StopPodSandbox", "RemovePodSandbox"]
    assert stage.api.phases == ["Pending", "Running", "Failed"]
    stage.worker.gone()
    await asyncio.wait_for(stage.task, 15)
    assert [reason for reason, _ in stage.api.events] == ["Pulled", "Created", "Started", "Killing"]


@pytest.mark.parametrize("deadly", range(1, 8))
async def test_death_after_any_call_while_starting_loses_and_doubles_nothing(stage: Stage, deadly: int) -> None:
    of = pod(MAIN, init=(FIRST,))
    count = 0

    def kill(name: str) -> None:
        nonlocal count
        count += 1
        if name == "StartContainer" and stage.runtime.running() == ["first"]:
            stage.runtime.end("first")
        if count == deadly:
            stage.task.cancel()

    stage.runtime.hook = kill
    stage.play(of)
    stage.worker.wake()
    await stage.until(lambda: stage.task.done() or stage.runtime.running() == ["main"] or waking(stage))
    await stage.die()
    stage.play(of)
    await stage.until(lambda: stage.runtime.running() == ["main"] or waking(stage))
    await stage.until(lambda: stage.api.phases[-1:] == ["Running"])
    assert sorted(c.metadata.name for c in stage.runtime.containers.values()) == ["first", "main"]
    assert len(stage.runtime.sandboxes) == 1


def waking(stage: Stage) -> bool:
    """What the watch of the runtime does: wake the worker now and then."""
    stage.worker.wake()
    return False


@pytest.mark.parametrize("deadly", ["StopContainer", "StopPodSandbox", "RemovePodSandbox"])
async def test_death_while_ending_still_lets_the_pod_go(stage: Stage, deadly: str) -> None:
    stage.play(pod(MAIN))
    await stage.until(lambda: stage.api.phases == ["Pending", "Running"])
    stage.runtime.hook = lambda name: stage.task.cancel() if name == deadly else None  # type: ignore[assignment, return-value]
    stage.delete()
    await stage.until(stage.task.done)
    stage.runtime.hook = lambda _: None
    stage.play(stage.worker.pod)
    await stage.until(lambda: stage.api.deleted)
    assert not stage.runtime.sandboxes
    assert not stage.runtime.containers
    assert stage.api.statuses[-1]["containerStatuses"][0]["state"]["terminated"]["exitCode"] == 143


async def test_a_deletion_interrupts_whatever_is_under_way(stage: Stage) -> None:
    slow = container("main", lifecycle={"postStart": {"sleep": {"seconds": 600}}})
    stage.play(pod(slow))
    await stage.until(lambda: stage.runtime.running() == ["main"])
    stage.delete()
    await stage.until(lambda: stage.api.deleted)


async def test_a_status_that_another_wrote_over_is_told_again(stage: Stage) -> None:
    stage.play(pod(MAIN))
    await stage.until(lambda: stage.api.phases == ["Pending", "Running"])
    told = stage.api.statuses[-1]
    wrong = [one | {"status": "False"} if one["type"] == "Ready" else one for one in told["conditions"]]
    for changed in ({"conditions": wrong}, {"podIPs": [{"ip": "10.9.9.9"}]}, {"containerStatuses": []}):
        count = len(stage.api.statuses)
        stage.show(told | changed, "1000")
        await stage.until(lambda before=count: len(stage.api.statuses) > before)
        assert stage.api.statuses[-1] == told


async def test_what_the_server_showed_before_it_was_told_is_no_reason_to_tell_it_again(stage: Stage) -> None:
    stage.play(pod(MAIN))
    await stage.until(lambda: stage.api.phases == ["Pending", "Running"])
    count = len(stage.api.statuses)
    stage.show(stage.api.statuses[0], "1")
    stage.delete()
    await stage.until(lambda: stage.api.deleted)
    assert [status["phase"] for status in stage.api.statuses[count:]] == ["Failed"]


async def test_conditions_of_others_are_theirs(stage: Stage) -> None:
    stage.play(pod(MAIN))
    await stage.until(lambda: stage.api.phases == ["Pending", "Running"])
    told, count = stage.api.statuses[-1], len(stage.api.statuses)
    stage.show(told | {"conditions": [*told["conditions"], {"type": "shop/paid", "status": "True"}]}, "1000")
    stage.delete()
    await stage.until(lambda: stage.api.deleted)
    assert [status["phase"] for status in stage.api.statuses[count:]] == ["Failed"]


async def test_a_status_that_is_refused_for_good_does_not_keep_a_pod_from_going(stage: Stage) -> None:
    stage.play(pod(MAIN))
    await stage.until(lambda: stage.api.phases == ["Pending", "Running"])
    stage.api.refuses_statuses = True
    stage.delete()
    await stage.until(lambda: stage.api.deleted)


async def test_a_crash_waits_and_says_so(stage: Stage) -> None:
    stage.play(pod(MAIN))
    for starts in (1, 2):  # the first crash is forgiven
        await stage.until(lambda n=starts: stage.runtime.calls.count("StartContainer") == n)
        stage.runtime.end("main", 1)
        stage.worker.wake()
    await stage.until(lambda: "BackOff" in [reason for reason, _ in stage.api.events])
    await stage.until(lambda: "waiting" in stage.api.statuses[-1]["containerStatuses"][0]["state"])
    status = stage.api.statuses[-1]["containerStatuses"][0]
    assert status["state"]["waiting"]["reason"] == "CrashLoopBackOff"
    assert status["restartCount"] == 1


async def test_sidecars_end_after_the_others(stage: Stage) -> None:
    ended: list[str] = []
    stage.play(pod(MAIN, init=(PROXY,)))
    await stage.until(lambda: stage.runtime.running() == ["main", "proxy"])

    def note(name: str) -> None:
        if name == "StopContainer":
            ended.append(",".join(stage.runtime.running()))

    stage.runtime.hook = note
    stage.delete()
    await stage.until(lambda: stage.api.deleted)
    assert ended == ["proxy", ""]


async def test_sidecars_that_do_not_listen_share_the_grace_period(stage: Stage) -> None:
    """As the real kubelet: six seconds for the container, and two more for all that waited for it, not six each."""
    stage.runtime.ignore_sigterm = True
    sidecars = [sidecar(f"side-{number}") for number in range(3)]
    stage.play(pod(MAIN, init=tuple(sidecars), terminationGracePeriodSeconds=3))
    await stage.until(lambda: len(stage.runtime.running()) == 4)
    stage.delete(grace=3)
    began = asyncio.get_running_loop().time()
    await stage.until(lambda: stage.api.deleted)
    assert sorted(stage.runtime.stopped) == [("main", 3), ("side-0", 2), ("side-1", 2), ("side-2", 2)]
    assert 5 <= asyncio.get_running_loop().time() - began < 9


async def test_a_container_waits_for_the_hook_of_the_one_before(stage: Stage) -> None:
    first = container("first", lifecycle={"postStart": {"sleep": {"seconds": 600}}})
    stage.play(pod(first, MAIN))
    await stage.until(lambda: stage.runtime.running() == ["first"])
    await stage.until(lambda: stage.runtime.calls[-1] == "StartContainer")
    stage.delete()
    await stage.until(lambda: stage.api.deleted)
    assert stage.runtime.calls.count("CreateContainer") == 1


async def test_readiness_is_told_while_a_pod_ends(stage: Stage) -> None:
    probe = {"exec": {"command": ["ready"]}, "periodSeconds": 0.05, "failureThreshold": 1}
    dead = {"exec": {"command": ["alive"]}, "periodSeconds": 0.05, "failureThreshold": 1}
    stage.play(pod(container("main", readinessProbe=probe, livenessProbe=dead)))
    await stage.until(lambda: stage.api.statuses and stage.api.statuses[-1]["containerStatuses"][0]["ready"])
    stage.runtime.ignore_sigterm = True
    stage.delete(grace=3)
    await stage.until(lambda: stage.runtime.stopped)
    stage.runtime.exec_exit_code = 1
    await stage.until(lambda: not stage.api.statuses[-1]["containerStatuses"][0]["ready"])
    assert stage.runtime.running() == ["main"]
    assert not [message for _, message in stage.api.events if message.startswith("Liveness")]


async def test_a_running_pod_whose_volume_cannot_be_refreshed_is_restarted_all_the_same(stage: Stage) -> None:
    where = "/api/v1/namespaces/shop/configmaps/here"
    stage.api.objects[where] = {"metadata": {"name": "here"}, "data": {"a": "1"}}
    mount = {"name": "v", "mountPath": "/v"}
    of = pod(container("main", volumeMounts=[mount]), volumes=[{"name": "v", "configMap": {"name": "here"}}])
    stage.play(of)
    await stage.until(lambda: stage.api.phases == ["Pending", "Running"])
    await stage.die()
    del stage.api.objects[where]

    async def is_gone() -> bool:
        return await stage.parts.references.get("configmaps", "shop", "here") is None

    await eventually_async(is_gone)
    stage.runtime.end("main", 1)
    stage.play(of)
    await stage.until(lambda: stage.runtime.calls.count("StartContainer") == 2)
    await stage.until(lambda: ("FailedMount", f'{FAILED} : configmap "here" not found') in stage.api.events)


async def test_a_missing_image_is_asked_for_and_then_waited_for(stage: Stage) -> None:
    stage.play(pod(container("main", image="missing:1")))
    await stage.until(
        lambda: ("Failed", 'Failed to pull image "missing:1": no such image anywhere') in stage.api.events
    )
    waiting = [s["containerStatuses"][0]["state"]["waiting"]["reason"] for s in stage.api.statuses]
    await stage.until(lambda: ("BackOff", 'Back-off pulling image "missing:1"') in stage.api.events)
    assert waiting[0] == "ContainerCreating"
    await stage.until(
        lambda: stage.api.statuses[-1]["containerStatuses"][0]["state"]["waiting"]["reason"] == "ImagePullBackOff"
    )


async def test_a_rejected_pod_fails_and_starts_nothing(stage: Stage) -> None:
    stage.play(pod(MAIN), Rejection("OutOfcpu", "Node didn't have enough resource: cpu"))
    await stage.until(lambda: stage.api.statuses)
    assert (stage.api.statuses[0]["phase"], stage.api.statuses[0]["reason"]) == ("Failed", "OutOfcpu")
    assert stage.runtime.calls == []


async def test_the_loss_of_a_sandbox_starts_everything_again_in_a_new_one(stage: Stage) -> None:
    stage.play(pod(MAIN))
    await stage.until(lambda: stage.api.phases == ["Pending", "Running"])
    stage.runtime.end("main", 137)
    for sandbox in stage.runtime.sandboxes.values():
        sandbox.state = 1
    stage.worker.wake()
    # A look that began before the loss may still start the container in the old one: the next look sees it.
    ready = lambda: [sandbox for sandbox in stage.runtime.sandboxes.values() if sandbox.state == 0]  # noqa: E731
    await stage.until(lambda: stage.runtime.running() == ["main"] and len(ready()) == 1)
    await stage.until(lambda: stage.api.statuses[-1]["containerStatuses"][0]["restartCount"] >= 1)


async def test_a_volume_that_cannot_be_had_holds_the_pod_until_it_can(stage: Stage) -> None:
    stage.play(
        pod(
            container("main", volumeMounts=[{"name": "v", "mountPath": "/v"}]),
            volumes=[{"name": "v", "configMap": {"name": "late"}}],
        )
    )
    await stage.until(
        lambda: any(reason == "FailedMount" and '"late" not found' in text for reason, text in stage.api.events)
    )
    assert stage.runtime.running() == []
    stage.api.objects["/api/v1/namespaces/shop/configmaps/late"] = {"kind": "ConfigMap", "data": {"a": "b"}}
    await stage.until(lambda: stage.runtime.running() == ["main"])


async def test_nobody_hears_of_the_end_of_a_pod_while_something_of_it_runs(stage: Stage) -> None:
    probe = {"exec": {"command": ["ready"]}, "periodSeconds": 0.05, "failureThreshold": 1}
    stage.play(pod(container("main", readinessProbe=probe), activeDeadlineSeconds=600, terminationGracePeriodSeconds=3))
    await stage.until(lambda: stage.api.statuses and stage.api.statuses[-1]["containerStatuses"][0]["ready"])
    stage.runtime.ignore_sigterm = True
    stage.worker.pod["status"]["startTime"] = "2020-01-01T00:00:00Z"
    stage.worker.wake()
    await stage.until(lambda: stage.runtime.stopped)
    stage.runtime.exec_exit_code = 1
    await stage.until(lambda: not stage.api.statuses[-1]["containerStatuses"][0]["ready"])
    assert stage.runtime.running() == ["main"]
    await stage.until(lambda: stage.api.phases[-1] == "Failed")
    running = [one for one in stage.api.statuses if "running" in one["containerStatuses"][0]["state"]]
    assert {one["phase"] for one in running} == {"Running"}
    assert not any("reason" in one for one in running)
    assert stage.api.statuses[-1]["reason"] == "DeadlineExceeded"


@pytest.mark.parametrize(("policy", "again"), [("OnFailure", True), ("Always", True), ("Never", False)])
async def test_what_a_probe_finds_dead_starts_again_however_it_ends(stage: Stage, policy: str, again: bool) -> None:
    """As the real kubelet, which decides on both at once, before it knows the exit code."""
    probe = {"exec": {"command": ["alive"]}, "periodSeconds": 0.05, "failureThreshold": 1}
    stage.runtime.exec_exit_code = 1
    stage.play(pod(container("main", livenessProbe=probe), policy=policy))
    await stage.until(lambda: "Killing" in [reason for reason, _ in stage.api.events])
    said = next(message for reason, message in stage.api.events if reason == "Killing")
    assert said == ("Container main failed liveness probe, will be restarted" if again else "Stopping container main")
    if again:
        await stage.until(lambda: stage.runtime.calls.count("StartContainer") > 1)
    else:
        await stage.until(lambda: stage.api.phases[-1] == "Failed")
        assert stage.runtime.calls.count("StartContainer") == 1


async def test_a_wait_is_told_once(stage: Stage) -> None:
    stage.play(pod(MAIN))
    for starts in (1, 2):
        await stage.until(lambda n=starts: stage.runtime.calls.count("StartContainer") == n)
        stage.runtime.end("main", 1)
        stage.worker.wake()
    await stage.until(lambda: "waiting" in stage.api.statuses[-1]["containerStatuses"][0]["state"])
    for _ in range(3):
        looks = stage.runtime.lists
        stage.worker.wake()
        await stage.until(lambda before=looks: stage.runtime.lists > before)
    await stage.until(lambda: "BackOff" in [reason for reason, _ in stage.api.events])
    assert [reason for reason, _ in stage.api.events].count("BackOff") == 1


async def test_a_deletion_that_meets_a_conflict_is_tried_again(stage: Stage) -> None:
    stage.play(pod(MAIN))
    await stage.until(lambda: stage.api.phases == ["Pending", "Running"])
    stage.api.conflicts = ["the object has been modified"]
    stage.delete()
    await stage.until(lambda: stage.api.deleted)


async def test_the_name_of_another_is_left_alone(stage: Stage) -> None:
    stage.play(pod(MAIN))
    await stage.until(lambda: stage.api.phases == ["Pending", "Running"])
    stage.api.conflicts = ["Precondition failed: UID in precondition: u1, UID in object meta: u2"]
    stage.delete()
    await stage.until(lambda: not stage.api.conflicts)
    stage.worker.gone()
    await asyncio.wait_for(stage.task, 15)
    assert not stage.api.deleted


async def test_a_status_that_an_unforeseen_error_held_up_is_told_with_the_next_look(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    failures: list[Exception] = []

    async def fail_once(*arguments: object, **options: object) -> Json:
        if failures:
            raise failures.pop()
        return await request(*arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr("k8sext.infra.kubelet.pod.status_manager.request", fail_once)
    stage.play(pod(MAIN, policy="Never"))
    await stage.until(lambda: stage.api.phases[-1:] == ["Running"])
    failures.append(ZeroDivisionError("of a patch"))
    stage.runtime.end("main", 0)
    await stage.until(lambda: waking(stage) or stage.api.phases[-1] == "Succeeded")
    assert not failures
