"""Wrong answers to the exercises of notebook 10, each with words of the reason that the learner gets."""


def _pod(name: str, spec: str) -> str:
    return f"""%%sh
kubectl get namespace exercises > /dev/null 2>&1 || kubectl create namespace exercises
kubectl wait --for=create serviceaccount/default -n exercises --timeout=30s > /dev/null
kubectl delete pod {name} -n exercises --ignore-not-found --now
kubectl apply -n exercises -f - <<'EOF'
apiVersion: v1
kind: Pod
metadata: {{name: {name}}}
spec:
  {spec}
  containers: [{{name: main, image: "localhost/k8sext:0.1.0", command: [sleep, infinity]}}]
  terminationGracePeriodSeconds: 0
EOF
"""


def _pair(affinity: str) -> str:
    return f"""%%sh
kubectl get namespace exercises > /dev/null 2>&1 || kubectl create namespace exercises
kubectl apply -n exercises -f - <<'EOF'
apiVersion: apps/v1
kind: Deployment
metadata: {{name: pair}}
spec:
  replicas: 2
  selector: {{matchLabels: {{app: pair}}}}
  template:
    metadata: {{labels: {{app: pair}}}}
    spec:
      affinity: {affinity}
      containers: [{{name: main, image: "localhost/k8sext:0.1.0", command: [sleep, infinity]}}]
      terminationGracePeriodSeconds: 0
EOF
"""


_TERM = "{topologyKey: KEY, labelSelector: {matchLabels: {app: APP}}}"
_HARD = "{podAntiAffinity: {requiredDuringSchedulingIgnoredDuringExecution: [" + _TERM + "]}}"
_SOFT = (
    "{podAntiAffinity: {preferredDuringSchedulingIgnoredDuringExecution: [{weight: 100, podAffinityTerm: "
    + _TERM
    + "}]}}"
)


def _term(affinity: str, key: str, app: str) -> str:
    return affinity.replace("KEY", key).replace("APP", app)


_TOLERATES = "{key: node-role.kubernetes.io/control-plane, operator: Exists, effect: NoSchedule}"

WRONG = {
    "10.1": [
        (_pod("sailor", "nodeName: k8sext-worker2"), "the pod says nothing about its zone"),
        (_pod("sailor", "nodeSelector: {zone: lab-b}"), "nodes have their zone in `topology.kubernetes.io/zone`"),
        (_pod("sailor", "nodeSelector: {topology.kubernetes.io/zone: lab-c}"), "the pod `sailor` waits: 0/"),
        (_pod("sailor", "nodeSelector: {topology.kubernetes.io/zone: lab-a}"), "in zone lab-a"),
    ],
    "10.2": [
        (
            _pod("guest", f"tolerations: [{_TOLERATES}]\n  nodeSelector: {{topology.kubernetes.io/zone: lab-b}}"),
            "something must draw",
        ),
        (_pod("guest", "nodeSelector: {kubernetes.io/hostname: k8sext-control-plane}"), "the pod `guest` waits: 0/"),
        (_pod("guest", "nodeName: k8sext-control-plane"), "no scheduler placed `guest`"),
        (
            _pod(
                "guest",
                "tolerations: [{operator: Exists}]\n  nodeSelector: {kubernetes.io/hostname: k8sext-control-plane}",
            ),
            "it tolerates every taint there is",
        ),
    ],
    "10.3": [
        (_pair(_term(_SOFT, "kubernetes.io/hostname", "pair")), "it is only a wish"),
        (_pair(_term(_HARD, "kubernetes.io/hostname", "other")), "does not fit the template's own labels"),
        (
            _pair(_term(_HARD, "topology.kubernetes.io/zone", "pair")),
            "they are kept apart by topology.kubernetes.io/zone",
        ),
    ],
}
