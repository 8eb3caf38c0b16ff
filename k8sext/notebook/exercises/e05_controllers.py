"""Exercises of notebook 05: an owner, a key for the queue, and a reconcile function of your own."""

from __future__ import annotations

import os
from typing import Any

from k8sext.notebook.exercises.exercise import NotYet, exercise
from k8sext.notebook.exercises.learner import NAMESPACE, Learner, expect


@exercise(
    "05.1",
    "Who owns whom",
    hints=(
        "Make the parent first, and read its `metadata.uid`: an owner is named by its uid, since a name may be used "
        "again.",
        "`ownerReferences` is a list in the child's `metadata`; an entry has `apiVersion`, `kind`, `name` and `uid`.",
    ),
    solution="""
    %%sh
    kubectl get namespace exercises > /dev/null 2>&1 || kubectl create namespace exercises
    kubectl delete configmap parent child -n exercises --ignore-not-found
    kubectl create configmap parent -n exercises
    uid=$(kubectl get configmap parent -n exercises -o jsonpath={.metadata.uid})
    kubectl create -n exercises -f - <<EOF
    apiVersion: v1
    kind: ConfigMap
    metadata:
      name: child
      ownerReferences:
      - {apiVersion: v1, kind: ConfigMap, name: parent, uid: $uid}
    EOF
    """,
)
def owner(learner: Learner) -> str:
    """In a namespace `exercises` make two ConfigMaps, `parent` and `child`, so that the garbage collector will remove
    the child when somebody deletes the parent.
    """
    parent = learner.get("configmap", "parent")
    child = learner.get("configmap", "child")
    owners = child["metadata"].get("ownerReferences", [])
    expect(owners, "`child` has no `metadata.ownerReferences`, so it would outlive its parent")
    expect(owners[0]["name"] == "parent", f"the owner of `child` is called {owners[0]['name']}, not parent")
    expect(owners[0]["kind"] == "ConfigMap", f"the owner of `child` is a {owners[0]['kind']}, not a ConfigMap")
    wrong = "the uid in the reference is not the parent's, so the garbage collector takes the child for an orphan"
    expect(owners[0]["uid"] == parent["metadata"]["uid"], wrong)
    return "the child belongs to its parent by uid, and goes with it"


def _pod(kind: str = "WeatherReport", controller: bool | None = True, owned: bool = True) -> dict[str, Any]:
    reference: dict[str, Any] = {"apiVersion": "k8s.packt.com/v1", "kind": kind, "name": "oslo", "uid": "1"}
    if controller is not None:
        reference["controller"] = controller
    owners = {"ownerReferences": [reference]} if owned else {}
    return {"metadata": {"name": "oslo-1", "namespace": "weather", **owners}}


@exercise(
    "05.2",
    "From a pod to the key of its report",
    hints=(
        "Only one of the owners may be the controller: the entry with `controller: true`. Others own without deciding.",
        'Not every pod has the field at all: `pod["metadata"].get("ownerReferences", [])` is never missing.',
        "An owner is always in the namespace of what it owns, so the key is the pod's namespace, a slash, the owner's "
        "name.",
    ),
    solution="""
    def key_of_report(pod):
        for owner in pod["metadata"].get("ownerReferences", []):
            if owner["kind"] == "WeatherReport" and owner.get("controller"):
                return f'{pod["metadata"]["namespace"]}/{owner["name"]}'
        return None
    """,
)
def key(learner: Learner) -> str:
    """When a pod changes, it is its report that somebody should look at. Write `key_of_report(pod)`: it returns the key
    `namespace/name` of the WeatherReport that controls the pod, and None for every other pod."""
    learner.same("key_of_report", _pod(), answer="weather/oslo")
    learner.same("key_of_report", _pod(owned=False), answer=None)
    learner.same("key_of_report", _pod(kind="ReplicaSet"), answer=None)
    learner.same("key_of_report", _pod(controller=None), answer=None)
    learner.same("key_of_report", _pod(controller=False), answer=None)
    return "ten changes of pods become one key of the report that they belong to"


@exercise(
    "05.3",
    "Your own reconcile",
    hints=(
        "Three steps: observe (list the ConfigMaps once), analyse (which copies ought to be, which are), act.",
        'Put into a dictionary what ought to be: `{name + "-copy": data}` of all ConfigMaps with the label `copy=yes`. '
        "What is: "
        "all ConfigMaps with the label `copied=yes`.",
        "Create what is missing, replace what differs, delete what ought not to be. What is right already gets no "
        "request: "
        "otherwise every look would be a change, and every change a reason to look.",
    ),
    solution="""
    def reconcile(api, namespace):
        found = api.list_namespaced_config_map(namespace).items
        marked = [cm for cm in found if (cm.metadata.labels or {}).get("copy") == "yes"]
        wanted = {f"{cm.metadata.name}-copy": cm.data for cm in marked}
        there = {cm.metadata.name: cm.data for cm in found if (cm.metadata.labels or {}).get("copied") == "yes"}
        for name, data in wanted.items():
            body = {"metadata": {"name": name, "labels": {"copied": "yes"}}, "data": data}
            if name not in there:
                api.create_namespaced_config_map(namespace, body)
            elif there[name] != data:
                api.replace_namespaced_config_map(name, namespace, body)
        for name in set(there) - set(wanted):
            api.delete_namespaced_config_map(name, namespace)
    """,
)
def reconcile(learner: Learner) -> str:
    """Write `reconcile(api, namespace)`. Afterwards, every ConfigMap with the label `copy=yes` has a twin with the same
    `data`, the name with `-copy` at the end, and the label `copied=yes`; and a twin whose original is gone is gone.
    `api` is a `kubernetes.client.CoreV1Api`.
    """
    from kubernetes import client, config

    learner.named("reconcile")
    learner.need_namespace()
    with config.new_client_from_config(os.environ["KUBECONFIG"], persist_config=False) as connection:
        trial = _Trial(learner, client.CoreV1Api(connection))
        trial.clear()
        try:
            return trial.run()
        finally:
            trial.clear()


class _Trial:
    """The learner's reconcile, tried on the real cluster. Its objects are `trial` and `trial-copy`."""

    def __init__(self, learner: Learner, api: Any) -> None:
        self.learner, self.api = learner, api

    def run(self) -> str:
        self._make({"words": "hello"})
        self._reconcile()
        expect(
            self._twin(), "the ConfigMap `trial` has the label `copy=yes`, but after reconcile there is no `trial-copy`"
        )
        labels = self._twin().metadata.labels or {}
        expect(
            labels.get("copied") == "yes",
            f"the twin's labels are {labels}, without `copied=yes`: who is to find it again?",
        )
        self._holds({"words": "hello"}, "after the first reconcile")
        version = self._twin().metadata.resource_version
        self._reconcile()
        again = (
            "reconcile was called again, nothing had changed, and yet it wrote `trial-copy`: compare before you write"
        )
        expect(self._twin().metadata.resource_version == version, again)
        self.api.patch_namespaced_config_map("trial", NAMESPACE, {"data": {"words": "goodbye"}})
        self._reconcile()
        self._holds({"words": "goodbye"}, "after the original had changed")
        self.api.delete_namespaced_config_map("trial-copy", NAMESPACE)
        self._reconcile()
        expect(self._twin(), "somebody deleted `trial-copy`, and reconcile did not bring it back")
        self.api.delete_namespaced_config_map("trial", NAMESPACE)
        self._reconcile()
        expect(not self._twin(), "the original is gone, and `trial-copy` is still there")
        return "whatever happened, one look was enough: you wrote a level-triggered controller"

    def clear(self) -> None:
        self.learner.kubectl("delete", "configmap", "trial", "trial-copy", "-n", NAMESPACE, "--ignore-not-found")

    def _make(self, data: dict[str, str]) -> None:
        self.api.create_namespaced_config_map(
            NAMESPACE, {"metadata": {"name": "trial", "labels": {"copy": "yes"}}, "data": data}
        )

    def _reconcile(self) -> None:
        try:
            self.learner.named("reconcile")(self.api, NAMESPACE)
        except Exception as error:
            reason = getattr(error, "reason", None) or error
            raise NotYet(f"reconcile raised {type(error).__name__}: {reason}") from error

    def _holds(self, data: dict[str, str], when: str) -> None:
        expect(self._twin(), f"{when} there is no `trial-copy`")
        expect(self._twin().data == data, f"{when} `trial-copy` holds {self._twin().data} and should hold {data}")

    def _twin(self) -> Any:
        found = self.api.list_namespaced_config_map(NAMESPACE, field_selector="metadata.name=trial-copy").items
        return found[0] if found else None
