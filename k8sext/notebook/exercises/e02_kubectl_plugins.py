"""Exercises of notebook 02: a plugin with a dash in its name, and one with manners."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

from k8sext.notebook.exercises.exercise import exercise
from k8sext.notebook.exercises.learner import NAMESPACE, Learner, expect

NOBODY = {"schedulerName": "nobody", "containers": [{"name": "main", "image": "localhost/none:1"}]}


def _on_path(name: str) -> None:
    """The file must be there and executable."""
    folders = [Path(folder) for folder in os.environ["PATH"].split(os.pathsep)]
    lying = next((folder / name for folder in folders if (folder / name).is_file()), None)
    expect(lying, f"no folder on PATH holds a file `{name}`")
    expect(shutil.which(name), f"the file `{name}` is there but cannot be executed: `chmod +x` it")


@exercise(
    "02.1",
    "A dash in the command",
    hints=(
        "A dash in the file's name begins a subcommand. What stands in the file's name for a dash in the command?",
        "The city is the first argument: `$1` in a shell script, `sys.argv[1]` in Python.",
        "In Python, `Path(...).write_text(...)` writes the file and `Path(...).chmod(0o755)` makes it executable.",
    ),
    solution="""
    import os, tempfile
    from pathlib import Path

    folder = tempfile.TemporaryDirectory()
    os.environ["PATH"] += os.pathsep + folder.name

    plugin = Path(folder.name, "kubectl-weather_today")
    plugin.write_text('#!/bin/sh\\necho "sunny in $1"\\n')
    plugin.chmod(0o755)
    """,
)
def weather_today(learner: Learner) -> str:
    """Write a plugin so that `kubectl weather-today Oslo` prints `sunny in Oslo`, and the same for every other city."""
    for city in ("Oslo", "Lima"):
        answer = learner.kubectl("weather-today", city)
        if "unknown command" in answer.errors:
            two_words = (
                "`kubectl-weather-today` is the command `kubectl weather today`, in two words: what stands for a dash?"
            )
            expect(not shutil.which("kubectl-weather-today"), two_words)
            _on_path("kubectl-weather_today")
        expect(answer.ok, f"`kubectl weather-today {city}` ends with exit code {answer.code}: {answer.errors}")
        right = f"`kubectl weather-today {city}` prints {answer.output.strip()!r}, not 'sunny in {city}'"
        expect(answer.output.strip() == f"sunny in {city}", right)
    return "a file of yours is a command of kubectl, and got its arguments"


@exercise(
    "02.2",
    "Manners",
    hints=(
        "The plugin runs `kubectl get pods`, hands on the words it was given (`sys.argv[1:]`), and reads `-o json`.",
        'A pod that a controller made has an entry with `"controller": true` in `metadata.ownerReferences`. The list '
        "may be absent.",
        "Manners: when kubectl fails it has said why. End with the same exit code, `sys.exit(answer.returncode)`.",
    ),
    solution='''
    import os, tempfile
    from pathlib import Path

    folder = tempfile.TemporaryDirectory()
    os.environ["PATH"] += os.pathsep + folder.name

    plugin = Path(folder.name, "kubectl-lonely")
    plugin.write_text("""#!/usr/bin/env python3
    import json, subprocess, sys
    answer = subprocess.run(["kubectl", "get", "pods", *sys.argv[1:], "-o", "json"], stdout=subprocess.PIPE)
    if answer.returncode:
        sys.exit(answer.returncode)
    for pod in json.loads(answer.stdout)["items"]:
        if not any(owner.get("controller") for owner in pod["metadata"].get("ownerReferences", [])):
            print(pod["metadata"]["name"])
    """)
    plugin.chmod(0o755)
    ''',
)
def lonely(learner: Learner) -> str:
    """A pod that no controller made is gone for good when its node is. Write a plugin so that `kubectl lonely` prints
    the names of such pods, one a line. It takes kubectl's flags, as `-n`, and when kubectl fails, it fails."""
    _on_path("kubectl-lonely")
    learner.need_namespace()
    learner.kubectl("wait", "--for=create", "configmap/kube-root-ca.crt", "-n", NAMESPACE, "--timeout=30s")
    learner.kubectl("wait", "--for=create", "serviceaccount/default", "-n", NAMESPACE, "--timeout=30s")
    owner = learner.find("configmap", "kube-root-ca.crt", NAMESPACE)["metadata"]
    try:
        for pod in _pods(owner["uid"]):
            learner.kubectl("apply", "-n", NAMESPACE, "-f", "-", input=json.dumps(pod))
        answer = learner.kubectl("lonely", "-n", NAMESPACE)
        expect(answer.ok, f"`kubectl lonely -n {NAMESPACE}` ends with exit code {answer.code}: {answer.errors[-300:]}")
        printed = answer.output.split()
        expect("alone" in printed, f"there is a pod `alone` that nobody owns, and the plugin prints {printed}")
        expect(
            "bystander" in printed, "the pod `bystander` has an owner that is not its controller, and should be printed"
        )
        expect("made" not in printed, "the pod `made` has a controller, and is printed all the same")
    finally:
        names = ("alone", "made", "bystander")
        learner.kubectl("delete", "pod", *names, "-n", NAMESPACE, "--ignore-not-found", "--now")
    failing = learner.kubectl("lonely", "--context=nowhere")
    expect(not failing.ok, "`kubectl lonely --context=nowhere` ends with exit code 0, although kubectl failed in it")
    quiet = f"where kubectl fails, the plugin adds a traceback to kubectl's own sentence: {failing.errors[-120:]}"
    expect("Traceback" not in failing.errors, quiet)
    return "your plugin speaks kubectl's flags, and its exit code can be relied on"


def _pods(uid: str) -> list[dict[str, Any]]:
    """Three pods that never run: without an owner, with a controller, and with an owner that does not control."""

    def pod(name: str, **metadata: Any) -> dict[str, Any]:
        return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, **metadata}, "spec": NOBODY}

    owner = {"apiVersion": "v1", "kind": "ConfigMap", "name": "kube-root-ca.crt", "uid": uid}
    return [
        pod("alone"),
        pod("made", ownerReferences=[{**owner, "controller": True}]),
        pod("bystander", ownerReferences=[owner]),
    ]
