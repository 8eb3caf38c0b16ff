"""Exercises of notebook 08: a webhook that protects, one that changes, and a rule without a server."""

from __future__ import annotations

import json
import os
from typing import Any

from k8sext.notebook.exercises.exercise import NotYet, exercise
from k8sext.notebook.exercises.learner import NAMESPACE, Learner, expect

TOO_MANY = "this team gets three replicas at most"


def _webhook(learner: Learner, name: str, kind: str) -> Any:
    from k8sext.admission import AdmissionWebhook

    found = learner.named(name)
    expect(isinstance(found, AdmissionWebhook), f"`{name}` is a plain function: put `@{kind}(...)` above it")
    expect(found.kind == kind, f"`{name}` is {found.kind}, and should be {kind}")
    for rule in found.rules:
        wide = f'it asks about every namespace: say `namespaces=["{NAMESPACE}"]`, so that it can stop nobody else'
        expect(list(found.namespaces) == [NAMESPACE], wide)
        expect(rule["operations"], "it asks about no operation")
    reached = os.environ.get("K8SEXT_CALLBACK_HOST") != ""
    expect(reached, "this cluster's control plane cannot call this machine: check it on the provider embedded or kind")
    return found


@exercise(
    "08.1",
    "Not this one",
    hints=(
        'For deletions one has to ask: `on=["DELETE"]`. The object that the function gets is then the one to be '
        "deleted.",
        'Not every object has labels: `config["metadata"].get("labels", {})` is never missing.',
    ),
    solution="""
    from k8sext.admission import Denied, validating

    @validating("configmaps", on=["DELETE"], namespaces=["exercises"])
    def keep(config, request):
        if config["metadata"].get("labels", {}).get("keep") == "yes":
            raise Denied("this one is to be kept")
    """,
)
def keep(learner: Learner) -> str:
    """Write a validating webhook `keep` that forbids to delete ConfigMaps with the label `keep=yes` in the namespace
    `exercises`, and lets every other one go."""
    from k8sext.admission import serve

    webhook = _webhook(learner, "keep", "validating")
    operations = {operation for rule in webhook.rules for operation in rule["operations"]}
    expect(operations & {"DELETE", "*"}, f"it is asked about {', '.join(sorted(operations))}, and never about DELETE")
    learner.need_namespace()
    names = ("precious", "plain", "bare")
    for name, labels in zip(names, ({"keep": "yes"}, {"keep": "no"}, {}), strict=True):
        config = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "labels": labels}}
        learner.kubectl("apply", "-n", NAMESPACE, "-f", "-", input=json.dumps(config))
    try:
        with serve(webhook) as server:
            kept, *others = (_delete(learner, name) for name in names)
            expect(not kept.ok, "a ConfigMap with the label keep=yes could be deleted: raise Denied for it")
            raised = (server.log.splitlines() or [kept.errors])[-1]
            crashed = f"your function did not refuse, it crashed: {raised}"
            expect("crashed" not in kept.errors and "denied the request" in kept.errors, crashed)
            for name, answer in zip(names[1:], others, strict=True):
                expect(answer.ok, f"the ConfigMap `{name}`, without keep=yes, could not be deleted: {answer.errors}")
    finally:
        learner.kubectl("delete", "configmap", *names, "-n", NAMESPACE, "--ignore-not-found")
    return "a request of the real API server came to your function, and ended there"


def _delete(learner: Learner, name: str) -> Any:
    return learner.kubectl("delete", "configmap", name, "-n", NAMESPACE, "--dry-run=server")


@exercise(
    "08.2",
    "A companion, once",
    hints=(
        'The containers are a list, `pod["spec"]["containers"]`: append a dictionary with `name` and `image` to it.',
        "The function may be asked twice about the same pod. Look first whether a container of that name is there.",
        "Only new pods: the list of containers of a pod that is there cannot be changed.",
    ),
    solution="""
    from k8sext.admission import mutating

    @mutating("pods", on=["CREATE"], namespaces=["exercises"], reinvocation="IfNeeded")
    def companion(pod, request):
        containers = pod["spec"]["containers"]
        if all(container["name"] != "companion" for container in containers):
            containers.append({"name": "companion", "image": "localhost/companion:1"})
    """,
)
def companion(learner: Learner) -> str:
    """Write a mutating webhook `companion` that gives every new pod in the namespace `exercises` one more container,
    called `companion`, with the image `localhost/companion:1`. Asked again about the same pod, it changes nothing."""
    from k8sext.admission import serve

    webhook = _webhook(learner, "companion", "mutating")
    main = {"name": "main", "image": "localhost/web:1"}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "tried"}, "spec": {"containers": [main]}}
    learner.need_namespace()
    with serve(webhook):
        _need_account(learner)
        once = learner.dry_run(pod)
        expect(once.ok, f"a new pod was refused: {once.errors}")
        containers = _containers(once.output)
        expect("companion" in containers, f"the new pod has the containers {', '.join(containers)}, and no companion")
        image = containers["companion"]
        expect(image == "localhost/companion:1", f"the companion's image is {image}, not localhost/companion:1")
        expect("main" in containers, "the pod has lost its own container, main")
        again = learner.dry_run({**pod, "spec": {"containers": [main, {"name": "companion", "image": image}]}})
        twice = (
            f"a pod that has its companion is changed again: look before you append. The server says: {again.errors}"
        )
        expect(again.ok, twice)
    return "your function changed a pod on its way to etcd, and knows when its work is done"


def _need_account(learner: Learner) -> None:
    """A new namespace gets its service account a moment later, and no pod before it."""
    learner.kubectl("wait", "--for=create", "serviceaccount/default", "-n", NAMESPACE, "--timeout=30s")


def _containers(pod: str) -> dict[str, str]:
    return {container["name"]: container["image"] for container in json.loads(pod)["spec"]["containers"]}


@exercise(
    "08.3",
    "A rule without a server",
    hints=(
        "Two objects, as in `../manifests/admission/validating-policy.yaml`: the policy says what, the binding says "
        "where.",
        "`matchConstraints.resourceRules` says what to ask about: apiGroups [apps], resources [deployments]. The "
        "expression is "
        "`object.spec.replicas <= 3`.",
        "The binding needs `policyName`, `validationActions: [Deny]`, and `matchResources.namespaceSelector` with the "
        "label "
        "`kubernetes.io/metadata.name: exercises`, which every namespace carries.",
    ),
    solution="""
    %%sh
    kubectl apply -f - <<'EOF'
    apiVersion: admissionregistration.k8s.io/v1
    kind: ValidatingAdmissionPolicy
    metadata: {name: few-replicas}
    spec:
      matchConstraints:
        resourceRules:
        - {apiGroups: [apps], apiVersions: [v1], operations: [CREATE, UPDATE], resources: [deployments]}
      validations:
      - expression: object.spec.replicas <= 3
        message: this team gets three replicas at most
    ---
    apiVersion: admissionregistration.k8s.io/v1
    kind: ValidatingAdmissionPolicyBinding
    metadata: {name: few-replicas}
    spec:
      policyName: few-replicas
      validationActions: [Deny]
      matchResources:
        namespaceSelector:
          matchLabels: {kubernetes.io/metadata.name: exercises}
    EOF
    """,
)
def few_replicas(learner: Learner) -> str:
    """Write a ValidatingAdmissionPolicy `few-replicas` and a binding of the same name: in the namespace `exercises`,
    and only there, a Deployment with more than three replicas is refused with the message "this team gets three
    replicas at most"."""
    expect(
        learner.find("validatingadmissionpolicy", "few-replicas"),
        "there is no ValidatingAdmissionPolicy `few-replicas`",
    )
    binding = learner.find("validatingadmissionpolicybinding", "few-replicas")
    expect(binding, "there is a policy, but no ValidatingAdmissionPolicyBinding `few-replicas`, so it holds nowhere")
    actions = binding["spec"].get("validationActions", [])
    expect("Deny" in actions, f"the binding's validationActions are {actions}, without Deny: nobody is stopped")
    learner.need_namespace()
    learner.eventually(lambda: _replicas(learner))
    return "the API server keeps your rule by itself, and no server of yours can be down"


def _replicas(learner: Learner) -> None:
    four = learner.dry_run(_deployment(4))
    expect(not four.ok, "a Deployment with four replicas gets through")
    if TOO_MANY not in four.errors:
        raise NotYet(f'four replicas are refused, but with other words than "{TOO_MANY}": {four.errors}')
    three = learner.dry_run(_deployment(3))
    expect(three.ok, f"a Deployment with three replicas is refused: {three.errors}")
    elsewhere = learner.dry_run(_deployment(4), namespace="default")
    expect(elsewhere.ok, "the rule holds in the namespace `default`, too: narrow the binding by a namespaceSelector")


def _deployment(replicas: int) -> dict[str, Any]:
    labels = {"app": "tried"}
    pod = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "main", "image": "localhost/web:1"}]}}
    spec = {"replicas": replicas, "selector": {"matchLabels": labels}, "template": pod}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "tried"}, "spec": spec}
