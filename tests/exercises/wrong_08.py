"""Wrong answers to the exercises of notebook 08, each with words of the reason that the learner gets."""

_POLICY = """%%sh
kubectl apply -f - <<'EOF'
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicy
metadata: {{name: few-replicas}}
spec:
  matchConstraints:
    resourceRules:
    - {{apiGroups: [apps], apiVersions: [v1], operations: [CREATE, UPDATE], resources: [deployments]}}
  validations:
  - expression: object.spec.replicas {limit}
    message: this team gets three replicas at most
EOF
"""
_BINDING = """
kubectl apply -f - <<'EOF'
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicyBinding
metadata: {name: few-replicas}
spec:
  policyName: few-replicas
  validationActions: [Deny]
EOF
"""

WRONG = {
    "08.1": [
        (
            """
from k8sext.admission import Denied, validating

@validating("configmaps", namespaces=["exercises"])
def keep(config, request):
    raise Denied("no")
""",
            "it is asked about CREATE, UPDATE, and never about DELETE",
        ),
        (
            """
from k8sext.admission import Denied, validating

@validating("configmaps", on=["DELETE"])
def keep(config, request):
    raise Denied("no")
""",
            'say `namespaces=["exercises"]`',
        ),
        (
            """
from k8sext.admission import Denied, validating

@validating("configmaps", on=["DELETE"], namespaces=["exercises"])
def keep(config, request):
    if config["metadata"]["marks"]["keep"] == "yes":
        raise Denied("this one is to be kept")
""",
            "it crashed: KeyError: 'marks'",
        ),
        (
            """
from k8sext.admission import Denied, validating

@validating("configmaps", on=["DELETE"], namespaces=["exercises"])
def keep(config, request):
    raise Denied("this one is to be kept")
""",
            "the ConfigMap `plain`, without keep=yes, could not be deleted",
        ),
        (
            """
from k8sext.admission import Denied, validating

@validating("configmaps", on=["DELETE"], namespaces=["exercises"])
def keep(config, request):
    if config["metadata"]["labels"]["keep"] == "yes":
        raise Denied("this one is to be kept")
""",
            "the ConfigMap `bare`, without keep=yes, could not be deleted",
        ),
    ],
    "08.2": [
        (
            """
from k8sext.admission import mutating

@mutating("pods", on=["CREATE"], namespaces=["exercises"])
def companion(pod, request):
    pod["spec"]["containers"].append({"name": "companion", "image": "localhost/companion:1"})
""",
            "look before you append",
        ),
        (
            """
from k8sext.admission import mutating

@mutating("pods", on=["CREATE"], namespaces=["exercises"])
def companion(pod, request):
    pod["spec"]["containers"].append({"name": "companion", "image": "companion"})
""",
            "the companion's image is companion",
        ),
    ],
    "08.3": [
        (_POLICY.format(limit="<= 3"), "no ValidatingAdmissionPolicyBinding"),
        (_POLICY.format(limit="<= 4") + _BINDING, "a Deployment with four replicas gets through"),
        (_POLICY.format(limit="<= 3") + _BINDING, "the rule holds in the namespace `default`, too"),
    ],
}
