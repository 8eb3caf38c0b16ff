"""The parts that every object has."""

from __future__ import annotations

from datetime import datetime

from k8sext.kube import objects


def test_a_key_is_namespace_and_name_or_name_alone() -> None:
    assert objects.key_of({"metadata": {"name": "web", "namespace": "shop"}}) == "shop/web"
    assert objects.key_of({"metadata": {"name": "node-1"}}) == "node-1"
    assert objects.split_key("shop/web") == ("shop", "web")
    assert objects.split_key("node-1") == ("", "node-1")


def test_only_the_managing_owner_counts() -> None:
    owners = [{"name": "friend"}, {"name": "boss", "controller": True}]
    assert objects.controller_of({"metadata": {"ownerReferences": owners}}) == owners[1]
    assert objects.controller_of({"metadata": {"ownerReferences": owners[:1]}}) is None
    assert objects.controller_of({"metadata": {}}) is None


def test_times_are_written_as_the_api_writes_them() -> None:
    assert objects.timestamp(0) == "1970-01-01T00:00:00Z"
    assert objects.micro_time(1.5) == "1970-01-01T00:00:01.500000Z"
    assert datetime.fromisoformat(objects.timestamp()).tzinfo is not None


def test_the_time_of_a_transition_stays_while_the_status_stays() -> None:
    first = objects.condition("Ready", False, {}, now="10:00", reason="New", message="")
    assert first == {
        "type": "Ready",
        "status": "False",
        "reason": "New",
        "message": "",
        "lastTransitionTime": "10:00",
    }
    assert objects.condition("Ready", "False", first, now="11:00")["lastTransitionTime"] == "10:00"
    assert objects.condition("Ready", True, first, now="11:00")["lastTransitionTime"] == "11:00"
    assert objects.condition_of({"status": {"conditions": [first]}}, "Ready") == first
    assert objects.condition_of({"status": {"conditions": None}}, "Ready") == {}
    assert objects.condition_of({}, "Ready") == {}


def test_an_owner_is_named_with_its_uid() -> None:
    owner = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "worker", "uid": "u"}}
    reference = {"apiVersion": "v1", "kind": "Node", "name": "worker", "uid": "u"}
    assert objects.owner_reference(owner) == reference
    assert objects.owner_reference(owner, controller=True) == reference | {"controller": True}
