"""Exercises of notebook 03: a client for Jobs, a merge patch by hand, and an update that meets a conflict."""

from __future__ import annotations

import copy
from types import SimpleNamespace
from typing import Any

from k8sext.notebook.exercises.exercise import NotYet, exercise
from k8sext.notebook.exercises.learner import Learner, expect


@exercise(
    "03.1",
    "A client for Jobs",
    hints=(
        "`k8sext generate client --from-cluster --group batch --out FOLDER` writes the package. Put the folder onto "
        "`sys.path`.",
        "`from batch_v1 import ...` has a class for the group, `connect` and `models`, as the package above.",
        "A Job's spec has `suspend` and a `template`; a pod's spec in it has `containers` and `restartPolicy`. Give "
        "`jobs.create` the whole as `models.Job.from_dict({...})`.",
    ),
    solution="""
    import os, sys, tempfile
    folder = tempfile.TemporaryDirectory()
    os.environ["WORK"] = folder.name
    !cd $WORK && k8sext generate client --from-cluster --group batch --out batch > /dev/null
    sys.path.insert(0, os.path.join(folder.name, "batch"))
    !kubectl get namespace exercises > /dev/null 2>&1 || kubectl create namespace exercises
    !kubectl delete job countdown -n exercises --ignore-not-found

    from batch_v1 import BatchV1Client, connect, models

    container = {"name": "main", "image": "localhost/k8sext:0.1.0", "command": ["echo", "3 2 1"]}
    template = {"spec": {"containers": [container], "restartPolicy": "Never"}}
    with connect() as connection:
        made = BatchV1Client(connection).jobs("exercises").create(models.Job.from_dict(
            {"metadata": {"name": "countdown"}, "spec": {"suspend": True, "template": template}}))
    """,
)
def jobs(learner: Learner) -> str:
    """Generate a client for the group `batch`, and with it create a Job `countdown` in the namespace `exercises` that
    is suspended, so that nothing runs. Keep what `create` returns as `made`."""
    made = learner.named("made")
    where = type(made).__module__.split(".")[0]
    what = f"`made` is {type(made).__name__} of the module {where}, not a Job of the generated package `batch_v1`"
    expect(type(made).__name__ == "Job" and where == "batch_v1", what)
    expect(made.metadata.name == "countdown", f"the Job is called {made.metadata.name}, not countdown")
    job = learner.get("job", "countdown")
    expect(
        job["metadata"]["uid"] == made.metadata.uid,
        "the Job in the cluster is another one than `made`: was it made by kubectl?",
    )
    expect(job["spec"].get("suspend"), "the Job `countdown` is not suspended, so it runs")
    return "the server described a kind that you have never written code for, and you used it with types"


@exercise(
    "03.2",
    "The smallest merge patch",
    hints=(
        "Three cases for each key: it is new or has another value, it is gone, or both sides are objects.",
        "What is gone is said by None, which becomes `null` in JSON. What is the same is left out.",
        "When both values are dictionaries, the function asks itself; an empty answer means that nothing differs. "
        "Lists are "
        "replaced as a whole.",
    ),
    solution="""
    def merge_patch(old, new):
        patch = {key: None for key in old if key not in new}
        for key, value in new.items():
            if key in old and isinstance(value, dict) and isinstance(old[key], dict):
                if inner := merge_patch(old[key], value):
                    patch[key] = inner
            elif key not in old or old[key] != value:
                patch[key] = value
        return patch
    """,
)
def merge_patch(learner: Learner) -> str:
    """Write `merge_patch(old, new)`: the smallest dictionary that, sent as a JSON merge patch, makes `new` of `old`.
    Objects in objects are compared field by field, lists as a whole."""
    same = {"city": "Oslo", "days": 2}
    learner.same("merge_patch", same, {"city": "Oslo", "days": 3}, answer={"days": 3})
    learner.same("merge_patch", same, same, answer={})
    learner.same("merge_patch", {"city": "Oslo"}, {"city": "Oslo", "days": 0}, answer={"days": 0})
    learner.same("merge_patch", same, {"city": "Oslo"}, answer={"days": None})
    learner.same("merge_patch", {"spec": same}, {"spec": {"city": "Oslo"}}, answer={"spec": {"days": None}})
    learner.same("merge_patch", {"spec": same, "n": 1}, {"spec": same, "n": 2}, answer={"n": 2})
    learner.same("merge_patch", {"tags": ["a", "b"]}, {"tags": ["a"]}, answer={"tags": ["a"]})
    return "a change of one field is sent as one field, and a field can be taken away"


class _Crowded:
    """A resource like `reports` in the notebook. Somebody else changes the object just before the first updates."""

    def __init__(self, quicker: int, missing: bool = False) -> None:
        self.stored = {"days": 2, "labels": {}, "version": 1}
        self.quicker, self.missing, self.reads = quicker, missing, 0

    def get(self, name: str) -> Any:
        from k8sext.kube.request import ApiError

        self.reads += 1
        if self.missing:
            raise ApiError(404, "NotFound", f"{name} not found")
        return SimpleNamespace(**copy.deepcopy(self.stored))

    def update(self, report: Any) -> Any:
        from k8sext.kube.request import ApiError

        if self.quicker:
            self.quicker -= 1
            self.stored = {**self.stored, "days": self.stored["days"] + 1, "version": self.stored["version"] + 1}
        if report.version != self.stored["version"]:
            raise ApiError(409, "Conflict", "the object has been modified")
        self.stored = {**copy.deepcopy(vars(report)), "version": report.version + 1}
        return report


@exercise(
    "03.3",
    "Somebody was quicker",
    hints=(
        "After a conflict the object in your hand is old: get it again, and put the label onto what you got.",
        "`from k8sext.kube.request import ApiError`, and look at `error.code`: 409 is a conflict. Everything else is "
        "raised on.",
        "`while True:` with `try: return reports.update(report)`; in `except`, `if error.code != 409: raise`.",
    ),
    solution="""
    from k8sext.kube.request import ApiError

    def add_label(reports, name, key, value):
        while True:
            report = reports.get(name)
            report.labels[key] = value
            try:
                return reports.update(report)
            except ApiError as error:
                if error.code != 409:
                    raise
    """,
)
def add_label(learner: Learner) -> str:
    """Write `add_label(reports, name, key, value)`: it gets a report, puts a label into its `labels` and updates it.
    When somebody else was quicker, it begins again, and loses neither change; every other error reaches the caller."""
    from k8sext.kube.request import ApiError

    function = learner.named("add_label")
    for quicker in (0, 1, 3):
        reports = _Crowded(quicker)
        try:
            function(reports, "oslo", "checked", "yes")
        except Exception as error:
            words = f"{type(error).__name__}: {error}"
            raise NotYet(
                f"somebody changes the report before {quicker} of your updates, and add_label raises {words}"
            ) from error
        expect(
            reports.stored["labels"] == {"checked": "yes"},
            f"the stored labels are {reports.stored['labels']} in the end",
        )
        lost = "the other's change of `days` is lost: update what you got after the conflict, not what you had before"
        expect(reports.stored["days"] == 2 + quicker, lost)
    gone = _Crowded(0, missing=True)
    try:
        function(gone, "oslo", "checked", "yes")
    except ApiError:
        return "two writers at once, no change lost, and other errors are not hidden"
    raise NotYet("the report does not exist (404), and add_label hides that: only a conflict is a reason to go on")
