"""Exercises of notebook 15: who wrote an object, and what one would write for a wish."""

from __future__ import annotations

from typing import Any

from k8sext.notebook.exercises.exercise import exercise
from k8sext.notebook.exercises.learner import Learner

FITTING = {
    "one word lists all reports without a pod": ("plugin", "only the people who type it are concerned"),
    "no report covers more than ten days": ("schema", "it is a limit of one field, and belongs to the kind itself"),
    "each new namespace gets a NetworkPolicy": ("controller", "something has to be there, and to stay there"),
    "no Deployment without the label owner": ("policy", "one object tells, so CEL in the API server can decide"),
    "no report for a customer who has not paid": ("webhook", "the answer stands in a system outside the cluster"),
    "pods of the night jobs fill one node after the other": ("profile", "kube-scheduler can do it with other scores"),
}


def _note(manager: str, subresource: str | None = None) -> dict[str, Any]:
    note = {"manager": manager, "operation": "Update", "apiVersion": "v1", "fieldsType": "FieldsV1", "fieldsV1": {}}
    return note | ({"subresource": subresource} if subresource else {})


@exercise(
    "15.1",
    "Who wrote it?",
    hints=(
        "The notes are the list `metadata.managedFields`; an object that nobody asked to see it for has none.",
        'Not every note has a subresource: `note.get("subresource")`.',
        "A set takes each name once, and `sorted` makes a list of it.",
    ),
    solution="""
    def writers(thing):
        notes = thing["metadata"].get("managedFields", [])
        names = {(note["manager"], note.get("subresource")) for note in notes}
        return sorted(f"{manager}/{part}" if part else manager for manager, part in names)
    """,
)
def writers(learner: Learner) -> str:
    """Write `writers(thing)`. It gets an object as `kubectl get -o json --show-managed-fields` prints it, and returns
    its writers in alphabetical order, each once: the name of the manager, and where it wrote a subresource, a slash and
    the subresource behind it, as `kubelet/status`."""
    notes = [_note("kubectl-create"), _note("kubelet", "status"), _note("kubectl-label"), _note("kubelet", "status")]
    expected = ["kubectl-create", "kubectl-label", "kubelet/status"]
    learner.same("writers", {"metadata": {"name": "web", "managedFields": notes}}, answer=expected)
    both = [_note("scaler", "scale"), _note("scaler")]
    learner.same("writers", {"metadata": {"name": "web", "managedFields": both}}, answer=["scaler", "scaler/scale"])
    learner.same("writers", {"metadata": {"name": "bare"}}, answer=[])
    return "this list says, for any object, which programs write to it"


@exercise(
    "15.2",
    "What would you write?",
    hints=(
        "Ask first what has to be known for the decision: one field, one object, or something elsewhere.",
        "What is to be there and to stay there needs somebody who watches. What is to be refused does not.",
    ),
    solution="""
    extensions = {
        "one word lists all reports without a pod": "plugin",
        "no report covers more than ten days": "schema",
        "each new namespace gets a NetworkPolicy": "controller",
        "no Deployment without the label owner": "policy",
        "no report for a customer who has not paid": "webhook",
        "pods of the night jobs fill one node after the other": "profile",
    }
    """,
)
def extensions(learner: Learner) -> str:
    """Six wishes. Write behind each the least that fulfils it: `plugin` (of kubectl), `schema` (in the CRD), `policy`
    (in CEL), `webhook`, `controller` or `profile` (of kube-scheduler)."""
    learner.fits("extensions", FITTING, "takes less or more than a {}")
    return "you know what to write, and what not to write"
