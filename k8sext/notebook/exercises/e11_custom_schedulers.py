"""Exercises of notebook 11: a binding by hand, the choice, and a scheduler of your own."""

from __future__ import annotations

import json
import os
from typing import Any

from k8sext.notebook.exercises.exercise import NotYet, exercise
from k8sext.notebook.exercises.learner import NAMESPACE, Learner, expect


def _pod(name: str, cpu: str, scheduler: str) -> dict[str, Any]:
    container: dict[str, Any] = {"name": "main", "image": "localhost/k8sext:0.1.0", "command": ["sleep", "infinity"]}
    container["resources"] = {"requests": {"cpu": cpu}}
    spec = {"schedulerName": scheduler, "terminationGracePeriodSeconds": 0, "containers": [container]}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec}


@exercise(
    "11.1",
    "You are the scheduler",
    hints=(
        "Make the pod first, with `schedulerName: nobody` in its spec. It stays Pending.",
        "The binding goes to `/api/v1/namespaces/exercises/pods/orphan/binding`, as in the first section of this "
        "notebook.",
    ),
    solution="""
    %%sh
    kubectl get namespace exercises > /dev/null 2>&1 || kubectl create namespace exercises
    kubectl wait --for=create serviceaccount/default -n exercises --timeout=30s > /dev/null
    kubectl delete pod orphan -n exercises --ignore-not-found --now
    kubectl apply -n exercises -f - <<'EOF'
    apiVersion: v1
    kind: Pod
    metadata: {name: orphan}
    spec:
      schedulerName: nobody
      containers: [{name: main, image: "localhost/k8sext:0.1.0", command: [sleep, infinity]}]
      terminationGracePeriodSeconds: 0
    EOF
    kubectl create --raw /api/v1/namespaces/exercises/pods/orphan/binding -f - > /dev/null <<'EOF'
    {"apiVersion": "v1", "kind": "Binding", "metadata": {"name": "orphan"},
     "target": {"apiVersion": "v1", "kind": "Node", "name": "k8sext-worker2"}}
    EOF
    """,
)
def orphan(learner: Learner) -> str:
    """In a namespace `exercises`, make a pod `orphan` that asks for the scheduler `nobody`, and bind it to
    `k8sext-worker2` by hand."""
    spec = learner.get("pod", "orphan")["spec"]
    scheduler = spec["schedulerName"]
    expect(
        scheduler == "nobody",
        f"the pod `orphan` asks for the scheduler {scheduler}, which may have placed it instead of you",
    )
    expect(spec.get("nodeName"), "the pod `orphan` waits for its binding: send one to its subresource `binding`")
    by_manifest = "its manifest names the node by `nodeName`: take that line out, make it again, and send a binding"
    expect(not learner.wrote_node_name("orphan"), by_manifest)
    node = spec["nodeName"]
    expect(node == "k8sext-worker2", f"it is bound to {node}, and that is for ever: delete the pod and make another")
    return "a scheduler is whoever writes a node's name into a pod; this time it was you"


@exercise(
    "11.2",
    "Find a node",
    hints=(
        "Filter first: what is left on a node is `node['cpu'] - node['used']`.",
        "Then score: the node with the smallest share in use, `node['used'] / node['cpu']`.",
        "`min(fitting, key=lambda node: (share, name))` takes the name when two shares are equal; `default=None` when "
        "none fits.",
    ),
    solution="""
    def find_node(cpu, nodes):
        fitting = [node for node in nodes if node["cpu"] - node["used"] >= cpu]
        best = min(fitting, key=lambda node: (node["used"] / node["cpu"], node["name"]), default=None)
        return best and best["name"]
    """,
)
def find_node(learner: Learner) -> str:
    """Write `find_node(cpu, nodes)`. `cpu` is what a pod wants; a node is a dictionary with `name`, `cpu` (all it has)
    and `used`. Return the name of the node with the smallest share in use among those that have room, of equal ones the
    first by name, and None if there is no room anywhere."""
    a, b, c = ({"name": name, "cpu": cpu, "used": used} for name, cpu, used in (("a", 4, 3), ("b", 4, 1), ("c", 16, 5)))
    learner.same("find_node", 1, [a, b, c], answer="b")
    learner.same("find_node", 1, [a], answer="a")
    learner.same("find_node", 4, [a, b, c], answer="c")
    learner.same("find_node", 20, [a, b, c], answer=None)
    learner.same("find_node", 1, [], answer=None)
    learner.same("find_node", 1, [{**b, "name": "z"}, b], answer="b")
    return "filter, then score: every scheduler has these two halves"


@exercise(
    "11.3",
    "One round of your own",
    hints=(
        "Begin with `one_round` of this notebook. What it lacks is to look at what is left on a node before it "
        "chooses.",
        "What a pod wants: `int(pod.spec.containers[0].resources.requests['cpu'])`. Count only what you place yourself "
        "in this "
        "round, and remember it: the next pod must know of it.",
        "A pod that fits nowhere is left alone: no binding, no error. It waits for the next round.",
    ),
    solution="""
    from kubernetes import client

    def one_round(api, namespace):
        room = {name: 4 for name in ("k8sext-worker", "k8sext-worker2")}
        for pod in api.list_namespaced_pod(namespace, field_selector="spec.nodeName=").items:
            if pod.spec.scheduler_name != "mine":
                continue
            cpu = int(pod.spec.containers[0].resources.requests["cpu"])
            node = max(room, key=room.get)
            if room[node] < cpu:
                continue
            target = client.V1ObjectReference(api_version="v1", kind="Node", name=node)
            binding = client.V1Binding(metadata=client.V1ObjectMeta(name=pod.metadata.name), target=target)
            api.create_namespaced_binding(namespace, binding, _preload_content=False)
            room[node] -= cpu
    """,
)
def one_round(learner: Learner) -> str:
    """Write `one_round(api, namespace)`. It binds the pods of the namespace that wait for the scheduler `mine` to
    `k8sext-worker` and `k8sext-worker2`, each of which has 4 processors, and never gives a node more than it has. `api`
    is a `kubernetes.client.CoreV1Api`; each pod has one container and wants whole processors."""
    from kubernetes import client, config

    learner.named("one_round")
    learner.need_namespace()
    learner.kubectl("wait", "--for=create", "serviceaccount/default", "-n", NAMESPACE, "--timeout=30s")
    names = ("round-1", "round-2", "round-3", "round-other")
    remove = ("delete", "pod", *names, "-n", NAMESPACE, "--ignore-not-found", "--now")
    learner.kubectl(*remove)
    with config.new_client_from_config(os.environ["KUBECONFIG"], persist_config=False) as connection:
        api: Any = client.CoreV1Api(connection)
        try:
            for name in names[:3]:
                api.create_namespaced_pod(NAMESPACE, _pod(name, "3", "mine"))
            api.create_namespaced_pod(NAMESPACE, _pod("round-other", "1", "somebody-else"))
            learner.named("one_round")(api, NAMESPACE)
            return _judge_round(learner)
        except NotYet:
            raise
        except Exception as error:
            reason = getattr(error, "reason", None) or error
            raise NotYet(f"one_round raised {type(error).__name__}: {reason}") from error
        finally:
            learner.kubectl(*remove)


def _judge_round(learner: Learner) -> str:
    pods = json.loads(learner.kubectl("get", "pods", "-n", NAMESPACE, "-o", "json").output)["items"]
    placed = {pod["metadata"]["name"]: pod["spec"].get("nodeName") for pod in pods}
    expect(not placed.get("round-other"), "it also placed a pod that asked for another scheduler, `somebody-else`")
    nodes = [placed.get(f"round-{number}") for number in (1, 2, 3)]
    chosen = [node for node in nodes if node]
    expect(chosen, "three pods wait for `mine`, and after a round none of them has a node")
    twice = "two pods of 3 processors each are on {}, which has 4: remember what you have placed already"
    for node in chosen:
        expect(chosen.count(node) == 1, twice.format(node))
    expect(len(chosen) == 2, f"there is room for two of the three pods, and {len(chosen)} was placed")
    expect(set(chosen) == {"k8sext-worker", "k8sext-worker2"}, f"the pods are on {chosen}, and not on the two workers")
    return "two pods were placed, the third waits, and no kubelet had to refuse anything"
