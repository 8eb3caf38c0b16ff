"""Exercises of notebook 09: whose turn it is, an initializer, and what does its work today."""

from __future__ import annotations

import copy
from typing import Any

from k8sext.notebook.exercises.exercise import NotYet, exercise
from k8sext.notebook.exercises.learner import Learner, expect

PENDING = "initializers.k8s.packt.com/pending"
NAME = "owner.initializers.k8s.packt.com"


def _deployment(annotations: dict[str, str] | None = None, labels: dict[str, str] | None = None) -> dict[str, Any]:
    metadata: dict[str, Any] = {"name": "web", "namespace": "shop"}
    if annotations is not None:
        metadata["annotations"] = annotations
    if labels is not None:
        metadata["labels"] = labels
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "spec": {"replicas": 1}}


@exercise(
    "09.1",
    "Whose turn?",
    hints=(
        "The annotation's value is a text: names with commas between them, and the first one's turn it is.",
        "An object without annotations is initialized; so is one whose list is the empty text.",
    ),
    solution="""
    def whose_turn(deployment):
        annotations = deployment["metadata"].get("annotations", {})
        names = annotations.get("initializers.k8s.packt.com/pending", "")
        return names.split(",")[0] or None
    """,
)
def whose_turn(learner: Learner) -> str:
    """Write `whose_turn(deployment)`: it returns the name of the initializer whose turn it is, from the annotation
    `initializers.k8s.packt.com/pending`, or None for an object that is initialized."""
    waiting = {PENDING: "limit.example.k8s.packt.com,sidecar.example.k8s.packt.com"}
    learner.same("whose_turn", _deployment(waiting), answer="limit.example.k8s.packt.com")
    learner.same("whose_turn", _deployment({PENDING: NAME}), answer=NAME)
    learner.same("whose_turn", _deployment({PENDING: ""}), answer=None)
    learner.same("whose_turn", _deployment({"other": "x"}), answer=None)
    learner.same("whose_turn", _deployment(), answer=None)
    return "with this one question, initializers keep the order that no API server enforced"


@exercise(
    "09.2",
    "An initializer that refuses",
    hints=(
        'The function changes the object that it is given, and returns nothing: `deployment["metadata"]["labels"] = '
        "...`.",
        "To refuse is to raise `Denied` with a sentence for the user.",
        "Neither annotations nor labels need be there: `.get(...)` for reading, `.setdefault(..., {})` for writing.",
    ),
    solution="""
    from k8sext.admission import Denied
    from k8sext.admission.initializers import initializer

    @initializer("owner.initializers.k8s.packt.com", "deployments.apps")
    def owner(deployment, client):
        metadata = deployment["metadata"]
        mail = metadata.get("annotations", {}).get("mail")
        if mail is None:
            raise Denied("say by the annotation `mail` whom to wake at night")
        metadata.setdefault("labels", {}).setdefault("owner", mail.split("@")[0])
    """,
)
def owner(learner: Learner) -> str:
    """Write an initializer `owner` for Deployments, with the name `owner.initializers.k8s.packt.com`. It takes the
    annotation `mail`, as `anna@example.com`, and sets the label `owner` to the part before the `@`. A label that is
    there stays. A Deployment without `mail` is refused."""
    from k8sext.admission import Denied
    from k8sext.admission.initializers import Initializer

    found = learner.named("owner")
    expect(isinstance(found, Initializer), "`owner` is a plain function: put `@initializer(...)` above it")
    expect(found.name == NAME, f"its name is {found.name}, not {NAME}")

    def initialized(deployment: dict[str, Any]) -> dict[str, Any]:
        changed = copy.deepcopy(deployment)
        try:
            found.function(changed, None)
        except Denied as denied:
            raise NotYet(f"it refuses a Deployment with a `mail`: {denied}") from denied
        except Exception as error:
            metadata = deployment["metadata"]
            raise NotYet(f"for a Deployment with {metadata} it raises {type(error).__name__}: {error}") from error
        return changed

    mail = {"mail": "anna@example.com"}
    labels = initialized(_deployment(mail))["metadata"].get("labels", {})
    expect(
        labels.get("owner") == "anna", f"with mail: anna@example.com the labels become {labels}, without owner: anna"
    )
    labels = initialized(_deployment(mail, {"app": "web", "owner": "bert"}))["metadata"]["labels"]
    expect(labels.get("app") == "web", "another label of the Deployment was lost")
    expect(labels.get("owner") == "bert", f"a label that was there, owner: bert, became owner: {labels.get('owner')}")
    try:
        found.function(_deployment(), None)
    except Denied as denied:
        expect(str(denied), "the refusal says nothing: its user wants to know what to do")
    except Exception as error:
        crash = f"without annotations it crashes, {type(error).__name__}: {error}; raise Denied with a sentence instead"
        raise NotYet(crash) from error
    else:
        raise NotYet("a Deployment without `mail` gets through: raise Denied")
    return "what was stored is completed or refused before any controller sees it"


@exercise(
    "09.3",
    "Waiting, as it is done today",
    hints=(
        "The field is called `schedulingGates`, stands in the pod's `spec`, and is a list of objects with a `name`.",
        "A gate's name is like a label's key: `exercises.k8sext.io/certificate`.",
    ),
    solution="""
    %%sh
    kubectl get namespace exercises > /dev/null 2>&1 || kubectl create namespace exercises
    kubectl wait --for=create serviceaccount/default -n exercises --timeout=30s > /dev/null
    kubectl delete pod patient -n exercises --ignore-not-found --now
    kubectl apply -n exercises -f - <<'EOF'
    apiVersion: v1
    kind: Pod
    metadata: {name: patient}
    spec:
      schedulingGates: [{name: exercises.k8sext.io/certificate}]
      containers: [{name: main, image: "localhost/k8sext:0.1.0", command: [sleep, infinity]}]
      terminationGracePeriodSeconds: 0
    EOF
    """,
)
def gate(learner: Learner) -> str:
    """In a namespace `exercises`, make a pod `patient` with the scheduling gate `exercises.k8sext.io/certificate`, so
    that no scheduler looks at it until somebody takes the gate away."""
    pod = learner.get("pod", "patient")
    gates = [entry["name"] for entry in pod["spec"].get("schedulingGates", [])]
    if pod["spec"].get("nodeName"):
        raise NotYet(
            f"the pod `patient` was placed on {pod['spec']['nodeName']}: nothing held it; a gate must be there from "
            "the start"
        )
    expect(gates, "the pod `patient` has no `schedulingGates`; it waits for another reason")
    wanted = "exercises.k8sext.io/certificate"
    expect(gates == [wanted], f"its gates are {', '.join(gates)}, and the one asked for is {wanted}")
    return "the pod is stored and waits, as once an uninitialized one, and nobody had to hide it"
