"""What the notebooks make in a cluster outside of namespaces of their own, by name; and which of it is there but not
the workbook's.

All of it carries an owner's label, put on by an admission policy (see `account`). Only the objects that configure
admission cannot: the API server never shows them to a policy. They are known by name alone.
"""

from __future__ import annotations

from k8sext.cluster.errors import ClusterError
from k8sext.cluster.providers.existing.target import Target

HOME = "k8sext"
"""The namespace of the workbook's own account and lock."""
NAMESPACES = (
    *("start-here", "kubectl-plugins", "generated-clients", "custom-resources", "controllers", "operators", "webhooks"),
    *("webhooks-cel", "webhooks-free", "report-webhooks", "initializers", "placing-pods", "custom-schedulers"),
    *("container-runtime", "container-network", "container-storage", "k8sext-csi", "summary", "exercises"),
)
BOOK_GROUP, EXERCISES = "k8s.packt.com", "exercises.k8sext.io"
"""The API groups of the book and of exercises; webhooks and policies whose names end in one are the workbook's."""
CLUSTER_WIDE: dict[str, tuple[str, ...]] = {
    "CustomResourceDefinition": (
        f"weatherreports.{BOOK_GROUP}",
        f"weatherstations.{BOOK_GROUP}",
        f"initializerconfigurations.initializers.{BOOK_GROUP}",
        f"buoys.{EXERCISES}",
    ),
    "ClusterRole": ("packt-scheduler", "k8sext-csi", "report-webhooks:report-webhooks"),
    "ClusterRoleBinding": ("packt-scheduler", "k8sext-csi", "report-webhooks:report-webhooks", "k8sext-learner"),
    "StorageClass": ("k8sext",),
    "CSIDriver": ("csi.k8sext.dev",),
    "RuntimeClass": ("oci",),
    "PriorityClass": ("urgent",),
    "StorageVersionMigration": ("weatherstations",),
}
SINCE_1_37 = {"StorageVersionMigration": "storageversionmigrations.storagemigration.k8s.io"}
"""Kinds that an older cluster may lack, as `Target.kinds` calls them: asking for one that is not there is an error."""
IN_DEFAULT: dict[str, tuple[str, ...]] = {
    "Pod": ("nginx", "scheduler"),
    "Deployment": ("scheduler",),
    "ServiceAccount": ("packt-scheduler",),
    "Role": ("packt-scheduler",),
    "RoleBinding": ("packt-scheduler",),
    "Lease": ("packt-scheduler",),
}
ADMISSION = (
    *("ValidatingWebhookConfiguration", "MutatingWebhookConfiguration"),
    *("ValidatingAdmissionPolicyBinding", "ValidatingAdmissionPolicy"),
    *("MutatingAdmissionPolicyBinding", "MutatingAdmissionPolicy"),
)
ADMISSION_NAMES = ("extension-points", "few-replicas")
NODES = ("k8sext-worker", "k8sext-worker2")
NODE_LABELS, NODE_TAINTS = ("team", "disk"), ("team", "maintenance")
"""What lessons on scheduling put on nodes of these names."""
DRIVER = CLUSTER_WIDE["CSIDriver"][0]
TOPOLOGY = f"topology.{DRIVER}/node"
"""The label that kubelets give their Nodes in the driver's name, and leave there when it ends."""


def refuse_strangers(target: Target) -> None:
    """Raise ClusterError when something of a name that the notebooks use is there and is not the workbook's."""
    if found := strangers(target):
        raise ClusterError(
            f"This cluster has {', '.join(found)}, names that the notebooks use, and not from the workbook: nothing "
            "was changed. Use "
            "another cluster, or remove what an earlier try left there."
        )


def strangers(target: Target) -> list[str]:
    """What has a name that the notebooks use, and no owner of the workbook, as `StorageClass k8sext`."""
    served = target.kinds(namespaced=False)
    lacking = {kind for kind, name in SINCE_1_37.items() if name not in served}
    known = {"Namespace": (*NAMESPACES, HOME), **CLUSTER_WIDE}
    known = {kind: names for kind, names in known.items() if kind not in lacking}
    found = [f"{kind} {name}" for kind, name, owner in target.owners(known) if name in known[kind] and not owner]
    found += [f"{kind} {name}" for kind, name in admission(target)]
    return found + [
        f"{kind} {name} in the namespace default"
        for kind, name, owner in target.owners(IN_DEFAULT, "default")
        if name in IN_DEFAULT[kind] and not owner
    ]


def admission(target: Target) -> list[tuple[str, str]]:
    """Kind and name of what the notebooks make of the objects that configure admission."""
    return [(kind, name) for kind, name, owner in target.owners(ADMISSION) if not owner and is_admission_of_ours(name)]


def is_admission_of_ours(name: str) -> bool:
    """Whether a notebook gives this name to an object that configures admission."""
    return name in ADMISSION_NAMES or name.endswith((f".{BOOK_GROUP}", f".{EXERCISES}"))
