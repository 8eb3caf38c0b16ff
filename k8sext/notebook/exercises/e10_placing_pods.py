"""Exercises of notebook 10: a zone, a taint to tolerate, and two pods that must not fall together."""

from __future__ import annotations

import json
from typing import Any

from k8sext.notebook.exercises.exercise import exercise
from k8sext.notebook.exercises.learner import NAMESPACE, Learner, expect

ZONE = "topology.kubernetes.io/zone"
CONTROL_PLANE = "node-role.kubernetes.io/control-plane"


def _placed(learner: Learner, name: str) -> dict[str, Any]:
    """A pod that the scheduler has placed."""

    def look() -> dict[str, Any]:
        pod = learner.get("pod", name)
        conditions = pod["status"].get("conditions", [])
        scheduled = next((c for c in conditions if c["type"] == "PodScheduled"), {"status": "Unknown"})
        why = scheduled.get("message", "the scheduler has not looked at it yet")
        expect(pod["spec"].get("nodeName"), f"the pod `{name}` waits: {why}")
        return pod

    return learner.eventually(look)


def _not_by_hand(learner: Learner, pod: dict[str, Any]) -> None:
    """A pod that was made with a node's name in it passes every scheduler by, and taints with it: the scheduler left no
    event."""
    name = pod["metadata"]["name"]
    selector = f"reason=Scheduled,involvedObject.uid={pod['metadata']['uid']}"

    def look() -> None:
        events = learner.kubectl("get", "events", "-n", NAMESPACE, f"--field-selector={selector}", "-o", "name").output
        expect(
            events.strip(), f"no scheduler placed `{name}`: its manifest names a node by `nodeName`; take that line out"
        )

    learner.eventually(look)


@exercise(
    "10.1",
    "In this zone",
    hints=(
        "Begin with a pod as in the manifest of notebook 02 (`kind: Pod`, one container of the workbook's image), and "
        "add one "
        "field to its `spec`.",
        "The field is `nodeSelector`, and the label of the zone is `topology.kubernetes.io/zone`.",
    ),
    solution="""
    %%sh
    kubectl get namespace exercises > /dev/null 2>&1 || kubectl create namespace exercises
    kubectl wait --for=create serviceaccount/default -n exercises --timeout=30s > /dev/null
    kubectl delete pod sailor -n exercises --ignore-not-found --now
    kubectl apply -n exercises -f - <<'EOF'
    apiVersion: v1
    kind: Pod
    metadata: {name: sailor}
    spec:
      nodeSelector: {topology.kubernetes.io/zone: lab-b}
      containers: [{name: main, image: "localhost/k8sext:0.1.0", command: [sleep, infinity]}]
      terminationGracePeriodSeconds: 0
    EOF
    """,
)
def zone(learner: Learner) -> str:
    """In a namespace `exercises`, run a pod `sailor` that may only land in the zone `lab-b`, whichever node that is."""
    spec = learner.get("pod", "sailor")["spec"]
    said = json.dumps([spec.get("nodeSelector"), spec.get("affinity")])
    key = f"no label that the pod asks for is the zone's: nodes have their zone in `{ZONE}`"
    expect(ZONE in said or "lab-b" not in said, key)
    expect(ZONE in said, "the pod says nothing about its zone; if it landed in lab-b, that was luck")
    pod = _placed(learner, "sailor")
    node = learner.find("node", pod["spec"]["nodeName"])
    found = node["metadata"]["labels"].get(ZONE)
    expect(found == "lab-b", f"`sailor` is on {node['metadata']['name']}, in zone {found}")
    _not_by_hand(learner, pod)
    return "the pod names a zone and no machine, so it will find its way when machines change"


@exercise(
    "10.2",
    "Where nobody may go",
    hints=(
        "`kubectl get node k8sext-control-plane -o jsonpath='{.spec.taints}'` shows what keeps pods away.",
        "A toleration has `key`, `operator: Exists` and `effect`. It is a permission only.",
        "What draws the pod there is a nodeSelector with the label `kubernetes.io/hostname`.",
    ),
    solution="""
    %%sh
    kubectl get namespace exercises > /dev/null 2>&1 || kubectl create namespace exercises
    kubectl wait --for=create serviceaccount/default -n exercises --timeout=30s > /dev/null
    kubectl delete pod guest -n exercises --ignore-not-found --now
    kubectl apply -n exercises -f - <<'EOF'
    apiVersion: v1
    kind: Pod
    metadata: {name: guest}
    spec:
      nodeSelector: {kubernetes.io/hostname: k8sext-control-plane}
      tolerations: [{key: node-role.kubernetes.io/control-plane, operator: Exists, effect: NoSchedule}]
      containers: [{name: main, image: "localhost/k8sext:0.1.0", command: [sleep, infinity]}]
      terminationGracePeriodSeconds: 0
    EOF
    """,
)
def guest(learner: Learner) -> str:
    """In the namespace `exercises`, get a pod `guest` placed by the scheduler on the node of the control plane, which
    keeps pods away."""
    pod = _placed(learner, "guest")
    expect(
        pod["spec"]["nodeName"] == "k8sext-control-plane",
        f"`guest` is on {pod['spec']['nodeName']}: a toleration only permits; something must draw it to the control "
        "plane",
    )
    _not_by_hand(learner, pod)
    everything = "it tolerates every taint there is, also that of a node that failed: name the key"
    expect(all(toleration.get("key") for toleration in pod["spec"].get("tolerations", [])), everything)
    return "it takes both, the node's taint tolerated and the node chosen, to use a dedicated node"


@exercise(
    "10.3",
    "Never together",
    hints=(
        "Both replicas come from one template, so the rule stands in the template's `spec`, and speaks of the "
        "template's labels.",
        "`podAntiAffinity` with `requiredDuringScheduling...` is a condition, with `preferred...` a wish. Near means: "
        "the same "
        "`topologyKey`, here `kubernetes.io/hostname`.",
    ),
    solution="""
    %%sh
    kubectl get namespace exercises > /dev/null 2>&1 || kubectl create namespace exercises
    kubectl delete deployment pair -n exercises --ignore-not-found
    kubectl apply -n exercises -f - <<'EOF'
    apiVersion: apps/v1
    kind: Deployment
    metadata: {name: pair}
    spec:
      replicas: 2
      selector: {matchLabels: {app: pair}}
      template:
        metadata: {labels: {app: pair}}
        spec:
          affinity:
            podAntiAffinity:
              requiredDuringSchedulingIgnoredDuringExecution:
              - topologyKey: kubernetes.io/hostname
                labelSelector: {matchLabels: {app: pair}}
          containers: [{name: main, image: "localhost/k8sext:0.1.0", command: [sleep, infinity]}]
          terminationGracePeriodSeconds: 0
    EOF
    """,
)
def pair(learner: Learner) -> str:
    """Make a Deployment `pair` with two replicas in the namespace `exercises` that can never stand on the same node, so
    that one machine's end is not the end of both."""
    deployment = learner.get("deployment", "pair")["spec"]
    expect(deployment["replicas"] == 2, f"`pair` wants {deployment['replicas']} replicas, not 2")
    template = deployment["template"]
    apart = template["spec"].get("affinity", {}).get("podAntiAffinity", {})
    terms = apart.get("requiredDuringSchedulingIgnoredDuringExecution", [])
    spread = [
        entry
        for entry in template["spec"].get("topologySpreadConstraints", [])
        if entry["whenUnsatisfiable"] == "DoNotSchedule" and entry["maxSkew"] == 1
    ]
    soft = "preferredDuringSchedulingIgnoredDuringExecution" in apart
    expect(
        terms or spread or not soft,
        "it is only a wish (`preferred...`): when room is short, both will stand on one node",
    )
    expect(terms or spread, "the template says nothing that keeps the two apart")
    keys = [entry["topologyKey"] for entry in (*terms, *spread)]
    expect(
        "kubernetes.io/hostname" in keys, f"they are kept apart by {keys[0]}; one node each is `kubernetes.io/hostname`"
    )
    labels = template["metadata"]["labels"]
    wanted = [entry.get("labelSelector", {}).get("matchLabels") or {} for entry in (*terms, *spread)]
    own = any(part and part.items() <= labels.items() for part in wanted)
    expect(own, f"the rule's labelSelector, {wanted[0]}, does not fit the template's own labels, {labels}")
    learner.eventually(lambda: _two_nodes(learner, labels))
    return "two replicas, two nodes, whatever the scheduler would rather do"


def _two_nodes(learner: Learner, labels: dict[str, str]) -> None:
    selector = ",".join(f"{key}={value}" for key, value in labels.items())
    found = learner.kubectl("get", "pods", "-n", NAMESPACE, "-l", selector, "-o", "json").output
    nodes = {pod["spec"].get("nodeName") for pod in json.loads(found)["items"]} - {None}
    expect(len(nodes) == 2, f"its pods stand on {len(nodes)} nodes so far, not on 2")
