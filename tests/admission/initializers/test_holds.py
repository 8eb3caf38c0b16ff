"""What holds an object of each kind, that release puts everything back, and that nobody gets around it."""

from __future__ import annotations

import copy

import pytest

from k8sext.admission.initializers.holds import GATE, HELD, PLACES, check, is_held, settle
from k8sext.admission.initializers.model import Initializers, Invalid
from k8sext.kube.objects import Json
from k8sext.kube.resource import CONFIG_MAPS, DEPLOYMENTS, PODS, Resource
from tests.admission.initializers.objects import of, pod

PENDING = Initializers(("a.init.example",))
TEMPLATE = {"spec": {"containers": []}}
STATEFUL_SETS = Resource("apps", "v1", "statefulsets")


@pytest.mark.parametrize(
    ("resource", "item"),
    [
        (PODS, of("Pod", containers=[])),
        (PODS, of("Pod", containers=[], schedulingGates=[{"name": "another/gate"}])),
        (DEPLOYMENTS, of("Deployment", replicas=2)),
        (DEPLOYMENTS, of("Deployment", paused=True)),
        (DEPLOYMENTS, of("Deployment", paused=False)),
        (Resource("batch", "v1", "jobs"), of("Job", suspend=False)),
        (Resource("batch", "v1", "cronjobs"), of("CronJob", suspend=True)),
        (Resource("apps", "v1", "replicasets"), of("ReplicaSet", replicas=0)),
        (STATEFUL_SETS, of("StatefulSet", replicas=3)),
        (Resource("apps", "v1", "daemonsets"), of("DaemonSet", template={"spec": {"nodeSelector": {"a": "b"}}})),
        (CONFIG_MAPS, {"metadata": {"name": "web"}, "data": {}}),
    ],
    ids=lambda value: str(value) if isinstance(value, Resource) else "",
)
def test_an_object_is_held_and_after_release_it_is_as_it_was(resource: Resource, item: Json):
    before = copy.deepcopy(item)
    settle(item, resource, PENDING)
    assert is_held(item, resource)
    check(item, resource, PENDING)
    once = copy.deepcopy(item)
    settle(item, resource, PENDING, old=once)
    assert item == once
    settle(item, resource, None, old=once)
    assert {**item, "metadata": {"name": "web"}} | {} == _with_empty_gates(before, item)
    assert not item["metadata"].get("annotations")
    assert not item["metadata"].get("labels")


def _with_empty_gates(before: Json, after: Json) -> Json:
    """An empty list of gates says the same as none."""
    if after.get("spec", {}).get("schedulingGates") == []:
        before["spec"]["schedulingGates"] = []
    return before


def test_every_place_is_tested_above():
    assert {plural for _, plural in PLACES} == {
        *("deployments", "jobs", "cronjobs", "replicasets", "statefulsets", "daemonsets")
    }


def test_what_is_asked_for_while_it_is_held_comes_true_on_release():
    held = of("StatefulSet", replicas=3)
    settle(held, STATEFUL_SETS, PENDING)
    changed = copy.deepcopy(held)
    changed["spec"]["replicas"] = 5
    settle(changed, STATEFUL_SETS, PENDING, old=held)
    assert changed["spec"]["replicas"] == 0
    settle(changed, STATEFUL_SETS, None, old=held)
    assert changed["spec"]["replicas"] == 5


def test_a_replacement_that_forgets_what_was_held_gets_it_from_the_stored_object():
    held = of("StatefulSet", replicas=3)
    settle(held, STATEFUL_SETS, PENDING)
    replaced = copy.deepcopy(held)
    del replaced["metadata"]["annotations"][HELD]
    settle(replaced, STATEFUL_SETS, PENDING, old=held)
    settle(replaced, STATEFUL_SETS, None, old=held)
    assert replaced["spec"]["replicas"] == 3


def test_the_gate_of_a_pod_goes_with_the_last_initializer_and_not_before():
    held = pod()
    settle(held, PODS, PENDING)
    opened = copy.deepcopy(held)
    opened["spec"]["schedulingGates"].remove(GATE)
    settle(opened, PODS, PENDING, old=held)
    with pytest.raises(Invalid, match=r"spec\.schedulingGates: it holds the object until"):
        check(opened, PODS, PENDING)


def test_our_gate_on_a_pod_without_initializers_is_taken_off():
    forged = pod()
    forged["spec"]["schedulingGates"] = [GATE]
    settle(forged, PODS, None)
    assert forged["spec"]["schedulingGates"] == []
