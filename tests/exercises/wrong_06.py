"""Wrong answers to the exercises of notebook 06, each with words of the reason that the learner gets."""

_JOB = """
def job_for(backup):
    meta = backup["metadata"]
    owner = {{"apiVersion": backup["apiVersion"], "kind": backup["kind"], "name": meta["name"], "uid": meta["uid"],
             "controller": True}}
    container = {{"name": "backup", "image": "localhost/k8sext:0.1.0", "args": ["tar", "c", backup["spec"]["source"]]}}
    return {{
        "apiVersion": "batch/v1", "kind": "Job",
        "metadata": {{"name": {name}, "namespace": meta["namespace"], "ownerReferences": {owners}}},
        "spec": {{"template": {{"spec": {{{policy} "containers": [container]}}}}}},
    }}
"""
_NAME = 'f\'{meta["name"]}-{meta["generation"]}\''
_NEVER = '"restartPolicy": "Never",'

WRONG = {
    "06.1": [
        (
            _JOB.format(name='"nightly"', owners="[owner]", policy=_NEVER),
            "is called 'nightly', and should be 'nightly-3'",
        ),
        (_JOB.format(name=_NAME, owners="[]", policy=_NEVER), "the Job would outlive it"),
        (_JOB.format(name=_NAME, owners="[owner]", policy=""), "the API server refuses this Job"),
    ],
    "06.2": [
        (
            "def ready_condition(before, ok, message, now): "
            'return {"type": "Ready", "status": str(ok), "message": message, "lastTransitionTime": now}',
            "'lastTransitionTime': '11:00'} and should return",
        ),
        (
            'def ready_condition(before, ok, message, now): return {"type": "Ready", "status": ok, "message": message, '
            '"lastTransitionTime": now}',
            "'status': False",
        ),
    ],
}
