"""From recorded objects to what the view says about them."""

from __future__ import annotations

import pytest

from k8sext.notebook.view.model import Ring, happening_of, pod_of, world_of
from k8sext.notebook.view.words import describe
from tests.notebook_view.recorded import NODES, crashing, event, node, pod, report, unschedulable

KIND = "weatherreports.k8s.packt.com"


def test_the_view_reads_as_text():
    pods = [pod("web-2", "worker-2"), pod("web-1", "worker-1"), unschedulable("fast"), crashing("bad", "worker-1")]
    world = world_of(NODES, pods, {KIND: [report("oslo"), report("lima", state="Collecting")], "x.example.com": None})
    assert describe(world, "web").splitlines() == [
        "The cluster, with the pods of the namespace web:",
        "zone lab-a",
        "  boss [control-plane:NoSchedule]: -",
        "  worker-1: bad (In trouble: CrashLoopBackOff: back-off 10s restarting failed container), web-1 (Running)",
        "zone lab-b",
        "  worker-2: web-2 (Running)",
        "waiting: fast: 0/3 nodes are available: 1 node(s) had untolerated taint(s), "
        "2 node(s) didn't match Pod's node affinity/selector",
        "weatherreports.k8s.packt.com: lima (Collecting), oslo (Ready)",
        "x.example.com: no such kind yet",
    ]


def test_only_the_chosen_namespace_is_shown_and_every_node():
    pods = [pod("mine", "worker-1"), pod("theirs", "worker-1", namespace="other")]
    world = world_of(NODES, pods, {KIND: [report("mine"), report("theirs", "other")]})
    assert "theirs" not in describe(world, "web")
    assert "other/theirs (Running), web/mine (Running)" in describe(world, None)
    assert len(world.only("web").nodes) == 3


def test_objects_of_a_kind_without_namespaces_are_shown_in_every_namespace():
    item = report("everywhere")
    del item["metadata"]["namespace"]
    assert "everywhere (Ready)" in describe(world_of(NODES, [], {KIND: [item]}), "web")


@pytest.mark.parametrize(
    ("item", "state"),
    [
        (pod("a", "worker-1"), "Running"),
        (pod("a", "worker-1", conditions=[]), "Not ready"),
        (pod("a", "worker-1", "Pending"), "Starting"),
        (pod("a", "worker-1", "Succeeded"), "Succeeded"),
        (pod("a", "worker-1", "Failed"), "Failed"),
        (pod("a", phase="Pending"), "Waiting"),
        (crashing("a", "worker-1"), "In trouble"),
        ({"metadata": {"name": "a", "namespace": "b"}, "spec": {}}, "Waiting"),
    ],
)
def test_every_pod_has_a_state(item, state):
    assert pod_of(item).state == state


def test_a_pod_that_is_being_made_is_not_in_trouble():
    creating = [{"name": "main", "state": {"waiting": {"reason": "ContainerCreating"}}}]
    assert pod_of(pod("a", "worker-1", "Pending", containerStatuses=creating)).state == "Starting"


def test_a_pod_that_is_being_deleted_says_so():
    item = pod("a", "worker-1")
    item["metadata"]["deletionTimestamp"] = "2026-06-15T10:00:00Z"
    assert pod_of(item).state == "Terminating"


def test_a_pod_at_which_no_scheduler_has_looked_says_so():
    assert pod_of(pod("a", phase="Pending")).why == "no scheduler has looked at it"


def test_a_node_that_is_not_ready_says_so():
    assert "  worker-1 (not ready): -" in describe(world_of([node("worker-1", ready=False)], [], {}), None)


def test_a_resource_whose_status_makes_no_sense_is_shown_without_a_state():
    items = [report("a") | {"status": "odd"}, report("b") | {"status": {"conditions": ["odd"], "state": {}}}]
    assert f"{KIND}: a, b" in describe(world_of([], [], {KIND: items}), "web")


def test_the_ring_forgets_the_oldest_event_and_keeps_each_once():
    ring = Ring(size=3)
    for number in (1, 2, 3, 1, 4):
        ring.put(happening_of(event(number)))
    assert [found.uid for found in ring.all()] == ["event 3", "event 1", "event 4"]


def test_events_of_both_ages_have_a_time():
    old, new = event(1), event(2)
    new |= {"lastTimestamp": None, "eventTime": "2026-06-15T11:00:00.000000Z"}
    assert [happening_of(item).time[11:16] for item in (old, new)] == ["10:00", "11:00"]
