"""Exercises of notebook 06: the child of a custom resource, and a condition that tells the truth."""

from __future__ import annotations

import copy
from typing import Any

from k8sext.notebook.exercises.exercise import exercise
from k8sext.notebook.exercises.learner import NAMESPACE, Learner, expect


def _backup(name: str, generation: int = 1) -> dict[str, Any]:
    uid = "7a0e2b52-0000-4000-8000-000000000001"
    metadata = {"name": name, "namespace": NAMESPACE, "generation": generation, "uid": uid}
    spec = {"source": "/notes"}
    return {"apiVersion": "exercises.k8sext.io/v1", "kind": "Backup", "metadata": metadata, "spec": spec}


@exercise(
    "06.1",
    "The child",
    hints=(
        "A Job's `spec` has a `template`; the pod in it has `spec` with `containers` and `restartPolicy: Never`.",
        "Two looks at the same backup must give the same name. So it is made of the backup's name and its "
        "`generation`.",
        "`ownerReferences` needs `apiVersion`, `kind`, `name` and `uid` of the backup, and `controller: True`, since "
        "you decide "
        "about the Job.",
    ),
    solution="""
    def job_for(backup):
        meta = backup["metadata"]
        owner = {"apiVersion": backup["apiVersion"], "kind": backup["kind"], "name": meta["name"], "uid": meta["uid"],
                 "controller": True}
        args = ["tar", "c", backup["spec"]["source"]]
        container = {"name": "backup", "image": "localhost/k8sext:0.1.0", "args": args}
        return {
            "apiVersion": "batch/v1",
            "kind": "Job",
            "metadata": {"name": f'{meta["name"]}-{meta["generation"]}', "namespace": meta["namespace"],
                         "ownerReferences": [owner]},
            "spec": {"template": {"spec": {"restartPolicy": "Never", "containers": [container]}}},
        }
    """,
)
def child(learner: Learner) -> str:
    """An operator looks after the kind Backup. Write `job_for(backup)`: it returns the Job that ought to be there for a
    Backup. Its name is the backup's name, a dash and its generation, its namespace the backup's. It is controlled by
    the backup, and runs one container of the workbook's image with the `source` of the backup's spec among its `args`.
    """
    backup = _backup("nightly", 3)
    before = copy.deepcopy(backup)
    job = learner.call("job_for", backup)
    expect(job is not None, "job_for returns None: write its body, and do not forget `return`")
    expect(isinstance(job, dict) and job.get("kind") == "Job", "job_for should return a dictionary of kind Job")
    expect(
        backup == before, "job_for changed the backup it was given: what comes from the store is not yours to change"
    )
    metadata = job.get("metadata", {})
    name = metadata.get("name")
    expect(name == "nightly-3", f"for generation 3 of `nightly` the Job is called {name!r}, and should be 'nightly-3'")
    expect(
        metadata.get("namespace") == NAMESPACE,
        f"its namespace is {metadata.get('namespace')!r}, and the backup's is another",
    )
    owners = metadata.get("ownerReferences") or [{}]
    expect(
        owners[0].get("uid") == backup["metadata"]["uid"],
        "no ownerReference has the backup's uid: the Job would outlive it",
    )
    expect(owners[0].get("controller"), "the ownerReference does not say `controller: True`")
    learner.need_namespace()
    answer = learner.dry_run(job)
    expect(answer.ok, f"the API server refuses this Job: {answer.errors}")
    containers = job["spec"]["template"]["spec"]["containers"]
    expect("/notes" in str(containers[0].get("args")), "the container's `args` do not name the backup's source, /notes")
    return "the API server accepts your Job, and two looks at the same backup can never make two of it"


@exercise(
    "06.2",
    "Since when?",
    hints=(
        "`lastTransitionTime` is the time of the last *transition*: it stays while `status` stays.",
        "`before` is None for the first time. Compare `before['status']` with the new status.",
    ),
    solution="""
    def ready_condition(before, ok, message, now):
        status = "True" if ok else "False"
        same = before is not None and before["status"] == status
        since = before["lastTransitionTime"] if same else now
        return {"type": "Ready", "status": status, "message": message, "lastTransitionTime": since}
    """,
)
def condition(learner: Learner) -> str:
    """Write `ready_condition(before, ok, message, now)`. It returns a condition: a dictionary with `type` (`Ready`),
    `status` (the text `True` or `False`), `message` and `lastTransitionTime`. `before` is the condition as it was, or
    None; the time is `now` when the status is new or has changed, else it stays.
    """

    def expected(status: str, message: str, since: str) -> dict[str, str]:
        return {"type": "Ready", "status": status, "message": message, "lastTransitionTime": since}

    first = expected("False", "no room", "10:00")
    learner.same("ready_condition", None, False, "no room", "10:00", answer=first)
    learner.same(
        "ready_condition", first, False, "still none", "11:00", answer=expected("False", "still none", "10:00")
    )
    learner.same("ready_condition", first, True, "done", "12:00", answer=expected("True", "done", "12:00"))
    return "whoever reads the status learns not only how it is, but since when"
