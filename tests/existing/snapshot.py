"""All that a cluster holds, in a form in which two moments can be compared."""

from __future__ import annotations

import json
from typing import Any

from k8sext.cluster import Cluster
from tests.support.eventually import eventually

RESTLESS = ("events", "events.events.k8s.io", "leases.coordination.k8s.io", "componentstatuses", "endpoints")
"""Heartbeats, news and health: these change by themselves, or are no objects."""


def snapshot(cluster: Cluster) -> dict[str, Any]:
    """Every object of every kind that can be listed, by its address; without status and what the server notes by
    itself."""
    kinds = cluster.kubectl("api-resources", "--verbs=list", "--output=name").split()
    listed = cluster.kubectl("get", ",".join(set(kinds) - set(RESTLESS)), "--all-namespaces", "--output=json")
    items = json.loads(listed)["items"]
    nodes = {item["metadata"]["name"] for item in items if item["kind"] == "Node"} | {None}
    found = {}
    for item in items:
        if item["kind"] == "Pod" and item["spec"].get("nodeName") not in nodes:
            continue  # of a node that is gone: the control plane removes it in its own time
        if item["kind"] == "CSINode" and not item["spec"].get("drivers"):
            continue  # a kubelet makes it with the first driver and keeps it, empty, after the last
        metadata = item["metadata"]
        address = f"{item['apiVersion']} {item['kind']} {metadata.get('namespace', '')}/{metadata['name']}"
        kept = {key: metadata.get(key) for key in ("uid", "labels", "annotations", "finalizers", "deletionTimestamp")}
        found[address] = {**{key: value for key, value in item.items() if key != "status"}, "metadata": kept}
    return found


def settled(cluster: Cluster) -> dict[str, Any]:
    """A snapshot once two in a row, 1.5 seconds apart, are the same: a young cluster still makes objects of its own."""
    last: dict[str, Any] = {}

    def look() -> dict[str, Any]:
        nonlocal last
        before, last = last, snapshot(cluster)
        assert not (changes := difference(before, last)), changes
        return last

    return eventually(look, every=1.5)


def difference(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    """What came, went and changed, one line each."""
    came = [f"came: {address}" for address in sorted(after.keys() - before.keys())]
    went = [f"went: {address}" for address in sorted(before.keys() - after.keys())]
    both = sorted(before.keys() & after.keys())
    changed = [f"changed: {name}: {before[name]} -> {after[name]}" for name in both if before[name] != after[name]]
    return came + went + changed
