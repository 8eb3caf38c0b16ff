"""What `down` removes: everything with the label, and of what cannot have one, what has a name of the notebooks.

The order matters. Webhooks and policies go first, as they may stand in the way of the rest; then namespaces, whose
custom objects lose their finalizers, since nobody is left who would answer to them; then what is cluster-wide; and the
account and its policies last.
"""

from __future__ import annotations

import json
import time
from typing import Any

from k8sext.cluster.errors import ClusterError
from k8sext.cluster.programs.progress import Progress
from k8sext.cluster.providers.existing import account, inventory
from k8sext.cluster.providers.existing.inventory import ADMISSION, HOME
from k8sext.cluster.providers.existing.target import OWNER, Target

LIMIT = 180.0
LATER = ("customresourcedefinitions.apiextensions.k8s.io", "namespaces", "events", "events.events.k8s.io")
"""Removed in their own turn, or, as events, ended by themselves."""


def remove_all(target: Target, before: dict[str, Any], progress: Progress) -> None:
    """Remove all that the workbook made; `before` is what nodes() said at the beginning. Raises ClusterError when
    something stays."""
    with progress.step(f"Removing what the notebooks made from the cluster of {target.context}"):
        _remove_admission(target)
        _remove_namespaces(target)
        _remove_labelled(target)
        _remove_unlabelled(target)
        _restore_nodes(target, before)
        _remove_account(target)


def _remove_admission(target: Target) -> None:
    for kind, name in inventory.admission(target):
        target.run("delete", kind, name, "--ignore-not-found", "--wait=false")


def _remove_namespaces(target: Target) -> None:
    """All labelled namespaces but the workbook's home; volumes of our driver go with the claims in them."""
    if ours := _owned(target, "Namespace"):
        target.run("delete", "namespace", *ours, "--ignore-not-found", "--wait=false")
        _wait_for_the_end(target, "Namespace")


def _owned(target: Target, kind: str) -> list[str]:
    """The names of the labelled objects of one kind; the account's own namespace and binding, which go last, not
    counted."""
    return [name for _, name, owner in target.owners([kind]) if owner and name not in (HOME, account.BINDING)]


def _wait_for_the_end(target: Target, kind: str) -> None:
    deadline = time.monotonic() + LIMIT
    while left := _owned(target, kind):
        if time.monotonic() > deadline:
            raise ClusterError(
                f"{kind} {', '.join(left)} does not end: `kubectl get {kind} {left[0]} -o yaml` says why."
            )
        _free_custom_objects(target)
        time.sleep(0.5)


def _free_custom_objects(target: Target) -> None:
    """Take the finalizers off custom objects of our kinds that are to be deleted: their controllers are going, too."""
    for crd in _owned(target, "CustomResourceDefinition"):
        for item in _custom_objects(target, crd):
            if item["metadata"].get("finalizers") and item["metadata"].get("deletionTimestamp"):
                _unbind(target, crd, item)


def _custom_objects(target: Target, crd: str) -> list[dict[str, Any]]:
    try:
        return target.json(crd, "--all-namespaces")["items"]
    except ClusterError as error:
        if "could not find the requested resource" in str(error) or "have a resource type" in str(error):
            return []  # the kind went between two looks
        raise


def _unbind(target: Target, resource: str, item: dict[str, Any]) -> None:
    metadata = item["metadata"]
    place = [f"--namespace={metadata['namespace']}"] if "namespace" in metadata else []
    patch = json.dumps({"metadata": {"finalizers": None}})
    try:
        target.run("patch", resource, metadata["name"], *place, "--type=merge", f"--patch={patch}")
    except ClusterError as error:
        if "not found" not in str(error):
            raise


def _remove_labelled(target: Target) -> None:
    """What carries the label elsewhere: first what is in namespaces, as in `default`, then what is cluster-wide, then
    our kinds."""
    for namespaced in (True, False):
        kinds = [kind for kind in target.kinds(namespaced) if kind not in LATER and "admissionregistration" not in kind]
        place = ["--all-namespaces"] if namespaced else []
        listed = target.json(",".join(kinds), *place, f"--selector={OWNER}")["items"]
        if found := [item for item in listed if not _goes_last(item["metadata"])]:
            options = ("--ignore-not-found", "--cascade=foreground", f"--timeout={LIMIT:.0f}s")
            target.run("delete", "--filename=-", *options, input=found, wait="0")
    if ours := _owned(target, "CustomResourceDefinition"):
        target.run("delete", "customresourcedefinition", *ours, "--ignore-not-found", "--wait=false")
        _wait_for_the_end(target, "CustomResourceDefinition")


def _goes_last(metadata: dict[str, Any]) -> bool:
    return metadata.get("namespace") == HOME or metadata["name"] == account.BINDING


def _remove_unlabelled(target: Target) -> None:
    """What programs in pods made, not the account: a scheduler's lease, volumes whose driver is gone, and its label on
    nodes."""
    target.run("label", "nodes", "--all", f"{inventory.TOPOLOGY}-")
    target.run("delete", "lease", *inventory.IN_DEFAULT["Lease"], "--namespace=default", "--ignore-not-found")
    for volume in target.json("persistentvolumes")["items"]:
        if (volume["spec"].get("csi") or {}).get("driver") == inventory.DRIVER:
            target.run("delete", "persistentvolume", volume["metadata"]["name"], "--ignore-not-found", "--wait=false")
            _unbind(target, "persistentvolume", volume)


def nodes(target: Target) -> dict[str, Any]:
    """The labels and taints of the nodes that lessons on scheduling change, by name."""
    found = target.json("nodes")["items"]
    return {
        node["metadata"]["name"]: {
            "labels": node["metadata"].get("labels", {}),
            "taints": node["spec"].get("taints", []),
        }
        for node in found
        if node["metadata"]["name"] in inventory.NODES
    }


def _restore_nodes(target: Target, before: dict[str, Any]) -> None:
    """Take the labels and taints of the lessons off the nodes again, unless they were there before."""
    for name, now in nodes(target).items():
        was = before.get(name, {"labels": {}, "taints": []})
        labels = [f"{key}-" for key in inventory.NODE_LABELS if key in now["labels"] and key not in was["labels"]]
        had = {taint["key"] for taint in was["taints"]}
        taints = {
            f"{taint['key']}-"
            for taint in now["taints"]
            if taint["key"] in inventory.NODE_TAINTS and taint["key"] not in had
        }
        if labels:
            target.run("label", "node", name, *labels)
        if taints:
            target.run("taint", "node", name, *taints)


def _remove_account(target: Target) -> None:
    target.run("delete", ",".join(ADMISSION), f"--selector={OWNER}", "--ignore-not-found")
    target.run("delete", "clusterrolebinding", account.BINDING, "--ignore-not-found")
    target.run("delete", "namespace", HOME, "--ignore-not-found", f"--timeout={LIMIT:.0f}s", wait="0")
