"""Exercises of notebook 01: which extension for which wish, and who answers for a group."""

from __future__ import annotations

from typing import Any

from k8sext.notebook.exercises.exercise import exercise
from k8sext.notebook.exercises.learner import Learner, expect

FITTING = {
    "shorter command": ("clients", "only the people who type it are concerned; the server need not know"),
    "kind Buoy": ("types", "the server does not know the kind, so its API has to learn it"),
    "nightly backup": ("controllers", "somebody has to look again and again, and act"),
    "no :latest images": ("access", "a request is to be refused before the object is stored"),
    "cheapest node first": ("scheduling", "it is about which node a pod gets"),
    "our disk array": ("infrastructure", "a node has to learn to mount something new"),
}


@exercise(
    "01.1",
    "Which family?",
    hints=(
        "Ask where on the map the wish is decided: before the request, on its way, after it was stored, or on the "
        "node.",
        "What is to be refused is decided on the request's way. What is to be done again and again needs somebody who "
        "watches.",
    ),
    solution="""
    families = {
        "shorter command": "clients",
        "kind Buoy": "types",
        "nightly backup": "controllers",
        "no :latest images": "access",
        "cheapest node first": "scheduling",
        "our disk array": "infrastructure",
    }
    """,
)
def families(learner: Learner) -> str:
    """Six wishes, six families. Write behind each wish the one that fulfils it: `clients`, `types`, `controllers`,
    `access`, `scheduling` or `infrastructure`."""
    learner.fits("families", FITTING, "is not for {}")
    return "you know where to begin, whatever you want to extend"


def _service(service: dict[str, str] | None) -> dict[str, Any]:
    spec: dict[str, Any] = {"group": "weather.example.com", "version": "v1"}
    return {"metadata": {"name": "v1.weather.example.com"}, "spec": spec | ({"service": service} if service else {})}


@exercise(
    "01.2",
    "Who answers?",
    hints=(
        "`kubectl get apiservice v1.apps -o yaml` shows the fields. What is missing in it?",
        '`apiservice["spec"].get("service")` is None where the API server answers itself.',
    ),
    solution="""
    def answered_by(apiservice):
        service = apiservice["spec"].get("service")
        if service is None:
            return "the API server"
        return f'{service["namespace"]}/{service["name"]}'
    """,
)
def answered_by(learner: Learner) -> str:
    """Write `answered_by(apiservice)`. It gets an APIService as kubectl shows it with `-o json`, and returns `the API
    server` where no Service stands behind it, else the Service's namespace and name, as `weather/stations`."""
    learner.same("answered_by", _service(None), answer="the API server")
    learner.same("answered_by", _service({"namespace": "weather", "name": "stations"}), answer="weather/stations")
    learner.same("answered_by", _service({"namespace": "a", "name": "b"}), answer="a/b")
    apps = learner.find("apiservice", "v1.apps")
    expect(apps, "the cluster has no APIService `v1.apps`")
    found = learner.call("answered_by", apps)
    expect(found == "the API server", f"of the cluster's own `v1.apps` it says {found!r}")
    return "you can tell for every group of this cluster which program answers"
