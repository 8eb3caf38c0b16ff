"""Wrong answers to the exercises of notebook 11, each with words of the reason that the learner gets."""


def _pod(spec: str, then: str = "") -> str:
    return f"""%%sh
kubectl get namespace exercises > /dev/null 2>&1 || kubectl create namespace exercises
kubectl wait --for=create serviceaccount/default -n exercises --timeout=30s > /dev/null
kubectl delete pod orphan -n exercises --ignore-not-found --now
kubectl apply -n exercises -f - <<'EOF'
apiVersion: v1
kind: Pod
metadata: {{name: orphan}}
spec:
  {spec}
  containers: [{{name: main, image: "localhost/k8sext:0.1.0", command: [sleep, infinity]}}]
  terminationGracePeriodSeconds: 0
EOF
{then}
"""


_BIND = """
kubectl create --raw /api/v1/namespaces/exercises/pods/orphan/binding -f - > /dev/null <<'EOF'
{"apiVersion": "v1", "kind": "Binding", "metadata": {"name": "orphan"},
 "target": {"apiVersion": "v1", "kind": "Node", "name": "k8sext-worker"}}
EOF
"""
_ROUND = """
from kubernetes import client

def one_round(api, namespace):
    found = api.list_namespaced_pod(namespace, field_selector="spec.nodeName=").items
    for number, pod in enumerate(pod for pod in found if {whose}):
        node = ("k8sext-worker", "k8sext-worker2", "k8sext-worker")[number]
        target = client.V1ObjectReference(api_version="v1", kind="Node", name=node)
        binding = client.V1Binding(metadata=client.V1ObjectMeta(name=pod.metadata.name), target=target)
        api.create_namespaced_binding(namespace, binding, _preload_content=False)
"""

WRONG = {
    "11.1": [
        (_pod("schedulerName: nobody"), "waits for its binding"),
        (_pod("schedulerName: nobody\n  nodeName: k8sext-worker2"), "its manifest names the node by `nodeName`"),
        (_pod("nodeSelector: {kubernetes.io/hostname: k8sext-worker2}"), "asks for the scheduler default-scheduler"),
        (_pod("schedulerName: nobody", _BIND), "it is bound to k8sext-worker, and that is for ever"),
    ],
    "11.2": [
        (
            'def find_node(cpu, nodes): return max(nodes, key=lambda n: n["cpu"] - n["used"])["name"]',
            "returns 'c' and should return 'b'",
        ),
        (
            "def find_node(cpu, nodes): "
            'return min((n["used"] / n["cpu"], n["name"]) for n in nodes if n["cpu"] - n["used"] >= cpu)[1]',
            "raised ValueError",
        ),
    ],
    "11.3": [
        (
            _ROUND.format(whose='pod.spec.scheduler_name == "mine"'),
            "two pods of 3 processors each are on k8sext-worker, which has 4",
        ),
        (
            _ROUND.format(whose='pod.metadata.name == "round-1"'),
            "there is room for two of the three pods, and 1 was placed",
        ),
        (_ROUND.format(whose='pod.metadata.name == "round-other"'), "asked for another scheduler"),
    ],
}
