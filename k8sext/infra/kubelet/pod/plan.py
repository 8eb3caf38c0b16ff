"""What to do next for a pod: compare what it should be with what the runtime has, and name the difference.

A pure function of what is seen, so it does not matter how often it is asked, or what was under way when the last
kubelet died.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from k8sext.infra.cri.proto import api_pb2 as cri
from k8sext.infra.kubelet.pod import podspec
from k8sext.infra.kubelet.runtime.cache import CREATED, EXITED, HASH, RUNNING, PodState
from k8sext.infra.kubelet.runtime.translate import container_hash
from k8sext.kube.objects import Json
from k8sext.kube.pod import containers, ephemeral_containers, init_containers, is_sidecar


class Health(Protocol):
    """What the probes say about a run of a container."""

    def started(self, run_id: str) -> bool: ...

    def failure(self, run_id: str) -> str: ...


class Kill(NamedTuple):
    """A run to end, the reason that the event gives, the seconds it has, if not the pod's own, and the container to
    start again at once, however the run ends."""

    run: cri.ContainerStatus
    reason: str
    grace: int | None = None
    again: Json | None = None


@dataclass
class Plan:
    """The next step. Nothing in it: the pod is as it should be, or waits."""

    new_sandbox: bool = False
    kill: list[Kill] = field(default_factory=list)
    start: list[Json] = field(default_factory=list)
    """Containers to start, by their spec; those only created are started as they are."""
    finished: bool = False
    """Nothing of this pod will run again."""


def next_step(pod: Json, state: PodState, health: Health) -> Plan:
    """Compare the pod with what the runtime has of it."""
    plan = Plan()
    if podspec.is_terminal(pod) or _has_finished(pod, state):
        plan.finished = True
        return plan
    if state.sandbox is None:
        plan.new_sandbox = True
        return plan
    _kill_doubles(plan, state)
    _start_ephemeral(plan, pod, state)
    if _initialise(plan, pod, state, health):
        for container in containers(pod):
            _keep_running(plan, pod, container, state, health)
        if _ends_the_pod(plan, pod, state):  # then it is the pod that is stopped, in the pod's own time
            plan.kill = [Kill(kill.run, f"Stopping container {kill.run.metadata.name}") for kill in plan.kill]
    return plan


def _ends_the_pod(plan: Plan, pod: Json, state: PodState) -> bool:
    """Whether nothing but sidecars is left once what is to be killed is gone."""
    killed = {kill.run.id for kill in plan.kill}
    latest = [state.latest(container["name"]) for container in containers(pod)]
    return (
        bool(killed)
        and not plan.start
        and not any(kill.again for kill in plan.kill)
        and all(run and (run.id in killed or run.state == EXITED) for run in latest)
    )


def _has_finished(pod: Json, state: PodState) -> bool:
    """Every container has ended for good, or an init container has failed for good."""
    for container in init_containers(pod):
        run = state.latest(container["name"])
        if run and run.state == EXITED and run.exit_code and not podspec.should_restart(pod, container, run.exit_code):
            return True
    runs = [(container, state.latest(container["name"])) for container in containers(pod)]
    return all(
        run and run.state == EXITED and not podspec.should_restart(pod, spec, run.exit_code) for spec, run in runs
    )


def _kill_doubles(plan: Plan, state: PodState) -> None:
    """Two runs of one container: a kubelet died between asking and knowing. The newest stays."""
    for run in state.running():
        newest = state.latest(run.metadata.name)
        if newest is not None and newest.id != run.id:
            plan.kill.append(Kill(run, f"Container {run.metadata.name} runs twice"))


def _start_ephemeral(plan: Plan, pod: Json, state: PodState) -> None:
    for container in ephemeral_containers(pod):
        run = state.latest(container["name"])
        if run is None or run.state == CREATED:
            plan.start.append(container)


def _initialise(plan: Plan, pod: Json, state: PodState, health: Health) -> bool:
    """Start the init containers one after the other; True once the containers proper may run."""
    begun = any((run := state.latest(container["name"])) and state.is_here(run) for container in containers(pod))
    for container in init_containers(pod):
        run = state.latest(container["name"])
        run = run if run and state.is_here(run) else None
        if is_sidecar(container):
            _keep_running(plan, pod, container, state, health)
            ready_to_go_on = run and run.state == RUNNING and health.started(run.id)
            if not begun and not ready_to_go_on:
                return False
        elif not begun and not (run and run.state == EXITED and run.exit_code == 0):
            if run is None or run.state != RUNNING:
                plan.start.append(container)
            return False
    return True


def _keep_running(plan: Plan, pod: Json, container: Json, state: PodState, health: Health) -> None:
    run = state.latest(container["name"])
    if run is None or run.state == CREATED:
        plan.start.append(container)
    elif run.state == RUNNING:
        if not state.is_here(run):
            plan.kill.append(Kill(run, f"Container {container['name']} belongs to a sandbox that is gone"))
        elif run.annotations.get(HASH) != container_hash(container):
            reason = f"Container {container['name']} definition changed, will be restarted"
            plan.kill.append(Kill(run, reason, again=container))
        elif failure := health.failure(run.id):
            again = container if podspec.restart_policy(pod, container) != "Never" else None
            reason = f"Container {container['name']} failed {failure} probe{', will be restarted' if again else ''}"
            if is_sidecar(container):
                reason = f"Init container {container['name']} failed {failure} probe"
            grace = container[f"{failure}Probe"].get("terminationGracePeriodSeconds")
            plan.kill.append(Kill(run, reason, grace, again))
    elif run.state != EXITED or podspec.should_restart(pod, container, run.exit_code):
        plan.start.append(container)
