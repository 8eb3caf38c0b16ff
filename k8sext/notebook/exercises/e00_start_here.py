"""Exercises of notebook 00: one field, one pod, and a promise."""

from __future__ import annotations

from k8sext.notebook.exercises.exercise import exercise
from k8sext.notebook.exercises.learner import NAMESPACE, Learner, expect


@exercise(
    "00.1",
    "Your first object",
    hints=(
        "Two commands: one makes the namespace, the other the ConfigMap. Both begin with `!kubectl create`.",
        "The cell that made `greeting` above is nearly it. The namespace is another, and the text.",
    ),
    solution="""
    !kubectl get namespace exercises > /dev/null 2>&1 || kubectl create namespace exercises
    !kubectl delete configmap greeting -n exercises --ignore-not-found
    !kubectl create configmap greeting -n exercises --from-literal=text='good morning'
    """,
)
def greeting(learner: Learner) -> str:
    """Make a namespace `exercises`, and in it a ConfigMap `greeting` whose `text` is `good morning`."""
    data = learner.get("configmap", "greeting").get("data", {})
    expect("text" in data, f"the ConfigMap `greeting` has the keys {sorted(data)}, and no `text`")
    expect(data["text"] == "good morning", f"its text is {data['text']!r}, not 'good morning'")
    return "you stored an object, and etcd keeps it until somebody deletes it"


@exercise(
    "00.2",
    "A pod that counts",
    hints=(
        "The pod `hello` above is nearly it: another name, another namespace, another command.",
        "`sh -c 'echo 3; echo 2; echo 1'` prints three lines. With `--restart=Never` the pod is done when its command "
        "is.",
    ),
    solution="""
    from k8sext import __version__

    image = f"localhost/k8sext:{__version__}"
    !kubectl get namespace exercises > /dev/null 2>&1 || kubectl create namespace exercises
    !kubectl wait --for=create serviceaccount/default -n exercises --timeout=30s > /dev/null
    !kubectl delete pod countdown -n exercises --ignore-not-found --now
    !kubectl run countdown -n exercises --image={image} --restart=Never --command -- sh -c 'echo 3; echo 2; echo 1'
    !kubectl wait pod/countdown -n exercises --for=jsonpath='{.status.phase}'=Succeeded --timeout=60s
    """,
)
def countdown(learner: Learner) -> str:
    """Run a pod `countdown` in the namespace `exercises` that prints 3, 2 and 1, each on a line of its own, and then
    ends."""
    learner.eventually(lambda: _has_ended(learner))
    lines = learner.kubectl("logs", "countdown", "-n", NAMESPACE).output.split("\n")
    printed = [line.strip() for line in lines if line.strip()]
    expect(printed == ["3", "2", "1"], f"its log has the lines {printed}, not 3, 2 and 1")
    return "four programs worked together: the API server stored, the scheduler chose, a kubelet ran, the pod counted"


def _has_ended(learner: Learner) -> None:
    pod = learner.get("pod", "countdown")
    policy = pod["spec"]["restartPolicy"]
    expect(
        policy != "Always", "its restartPolicy is Always: whenever it ends, it is started again; say `--restart=Never`"
    )
    phase = pod["status"]["phase"]
    statuses = pod["status"].get("containerStatuses", [])
    waiting = "".join(
        f", {status['state']['waiting']['reason']}" for status in statuses if "waiting" in status["state"]
    )
    for status in statuses:
        reason = status["state"].get("waiting", {}).get("reason", "")
        image = f"the image {status['image']} cannot be had here ({reason}): use `localhost/k8sext`, as in the cell"
        expect(reason not in ("ErrImagePull", "ImagePullBackOff", "ErrImageNeverPull", "InvalidImageName"), image)
    expect(phase != "Failed", "the pod `countdown` failed: `kubectl logs countdown -n exercises` may tell why")
    expect(phase == "Succeeded", f"the pod `countdown` has not ended yet: it is {phase}{waiting}")


@exercise(
    "00.3",
    "What a controller would do",
    hints=(
        "Compare two collections: what ought to be there, and what is.",
        "A list with a condition is enough: `[name for name in wanted if ...]`.",
    ),
    solution="""
    def missing(wanted, found):
        return [name for name in wanted if name not in found]
    """,
)
def missing(learner: Learner) -> str:
    """A controller compares what ought to be with what is. Write the comparison: `missing(wanted, found)` gets two
    lists of names and returns a list of those that are wanted and not found, in the order in which they are wanted."""
    learner.same("missing", ["a", "b", "c"], ["b"], answer=["a", "c"])
    learner.same("missing", ["a"], ["a", "x"], answer=[])
    learner.same("missing", ["b", "a"], [], answer=["b", "a"])
    learner.same("missing", [], ["x"], answer=[])
    return "this is the heart of every controller; what is missing is created, and the next look finds nothing to do"
