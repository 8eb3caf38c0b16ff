"""Before anything is made: may we, can the cluster do it, is anything in the way, and what will be made, in words."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass

from k8sext.cluster.errors import ClusterError
from k8sext.cluster.providers.existing import account, callback, inventory, lock, removal
from k8sext.cluster.providers.existing.target import OWNER, Target
from k8sext.kube.resource import group_path


@dataclass(frozen=True)
class Server:
    """The API server that answered."""

    address: str
    version: str


def check(target: Target, owner: str) -> Server:
    """Ask the cluster, change nothing. Raises ClusterError with the first reason against it."""
    version = json.loads(target.run("version", "--output=json"))["serverVersion"]["gitVersion"]
    served = json.loads(target.run("get", "--raw", group_path("admissionregistration.k8s.io", "v1")))["resources"]
    if not any(entry["name"] == "mutatingadmissionpolicies" for entry in served):
        raise ClusterError(
            "The workbook marks what it makes by a MutatingAdmissionPolicy, which Kubernetes has from v1.36 on, and "
            "this server is "
            f"{version}: use another cluster, or the provider embedded or kind."
        )
    if not _may_do_everything(target):
        raise ClusterError(_NO_ADMINISTRATOR.format(context=target.context))
    lock.refuse_if_held(target, owner)
    inventory.refuse_strangers(target)
    return Server(target.entry()["server"], version)


def _may_do_everything(target: Target) -> bool:
    try:
        return target.run("auth", "can-i", "*", "*", "--all-namespaces").strip() == "yes"
    except ClusterError:  # kubectl's way to say no
        return False


_NO_ADMINISTRATOR = (
    "The context {context!r} may not do everything in its cluster, and lessons on roles, webhooks and kinds need that: "
    "use one of an "
    "administrator, on a cluster for trials."
)


def plan(target: Target, server: Server, owner: str) -> str:
    """What the notebooks will make, for a person to agree to."""
    image = os.environ.get("K8SEXT_IMAGE")
    pods = (
        f"Pods run the image {image}."
        if image
        else (
            f"Pods run the image {account.IMAGE}, which the nodes must have; K8SEXT_IMAGE names another, from a "
            "registry of yours."
        )
    )
    cluster_wide = [f"  {kind}: {', '.join(names)}" for kind, names in inventory.CLUSTER_WIDE.items()]
    in_default = ", ".join(f"{kind} {', '.join(names)}" for kind, names in inventory.IN_DEFAULT.items())
    admission = ", ".join((*inventory.ADMISSION_NAMES, *account.POLICIES, callback.NAME))
    return "\n".join(
        [
            f"The notebooks will work in the cluster of the context {target.context}, Kubernetes {server.version} at "
            f"{server.address},",
            f"as the account {account.USER}, which may do everything there. They make, some for minutes only:",
            f"  Namespace: {', '.join((inventory.HOME, *inventory.NAMESPACES))}",
            *cluster_wide,
            f"  webhooks and admission policies: names that end in .{inventory.BOOK_GROUP} or .{inventory.EXERCISES}, "
            f"and {admission}",
            f"  in the namespace default: {in_default}",
            f"All of it but webhooks and policies gets the label {OWNER}={owner}. `k8sext down` removes it, and "
            "nothing else.",
            pods,
            *_nodes_missing(target),
        ]
    )


def _nodes_missing(target: Target) -> list[str]:
    if missing := [name for name in inventory.NODES if name not in removal.nodes(target)]:
        return [
            f"Notebooks 10, 11 and 14 work with nodes by name, and {' and '.join(missing)} are not here: leave them "
            "out."
        ]
    return []
