"""Wrong answers to the exercises of notebook 09, each with words of the reason that the learner gets."""

_OWNER = """
from k8sext.admission import Denied
from k8sext.admission.initializers import initializer

@initializer("owner.initializers.k8s.packt.com", "deployments.apps")
def owner(deployment, client):
    {body}
"""


def _pod(spec: str) -> str:
    return f"""%%sh
kubectl get namespace exercises > /dev/null 2>&1 || kubectl create namespace exercises
kubectl wait --for=create serviceaccount/default -n exercises --timeout=30s > /dev/null
kubectl delete pod patient -n exercises --ignore-not-found --now
kubectl apply -n exercises -f - <<'EOF'
apiVersion: v1
kind: Pod
metadata: {{name: patient}}
spec:
  {spec}
  containers: [{{name: main, image: "localhost/k8sext:0.1.0", command: [sleep, infinity]}}]
  terminationGracePeriodSeconds: 0
EOF
"""


WRONG = {
    "09.1": [
        (
            'def whose_turn(deployment): return deployment["metadata"]["annotations"]'
            '["initializers.k8s.packt.com/pending"].split(",")[0]',
            "returns '' and should return None",
        ),
        (
            'def whose_turn(deployment): return deployment["metadata"].get("annotations", {})'
            '.get("initializers.k8s.packt.com/pending", "").split(",")[-1]',
            "returns 'sidecar.example.k8s.packt.com' and should return 'limit.example.k8s.packt.com'",
        ),
    ],
    "09.2": [
        (
            _OWNER.format(
                body='mail = deployment["metadata"]["annotations"]["mail"]; '
                'deployment["metadata"]["labels"] = {"owner": mail.split("@")[0]}'
            ),
            "another label of the Deployment was lost",
        ),
        (
            _OWNER.format(
                body='deployment["metadata"].setdefault("labels", {}).setdefault("owner", '
                'deployment["metadata"]["annotations"]["mail"].split("@")[0])'
            ),
            "without annotations it crashes, KeyError",
        ),
        (_OWNER.format(body="return deployment"), "without owner: anna"),
    ],
    "09.3": [
        (_pod("schedulerName: nobody"), "has no `schedulingGates`"),
        (_pod("schedulingGates: [{name: exercises.k8sext.io/other}]"), "its gates are exercises.k8sext.io/other"),
        (_pod("nodeName: k8sext-worker"), "was placed on k8sext-worker"),
    ],
}
