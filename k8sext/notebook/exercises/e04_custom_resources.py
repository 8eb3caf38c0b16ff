"""Exercises of notebook 04: a kind of your own, a rule about two fields, and a scale."""

from __future__ import annotations

from typing import Any

from k8sext.notebook.exercises.exercise import exercise
from k8sext.notebook.exercises.learner import Learner, expect

CRD = "buoys.exercises.k8sext.io"
TOO_DEEP = "the Baltic is nowhere deeper than 459 metres"


def _buoy(**spec: Any) -> dict[str, Any]:
    return {"apiVersion": "exercises.k8sext.io/v1", "kind": "Buoy", "metadata": {"name": "tried"}, "spec": spec}


def _definition(learner: Learner) -> dict[str, Any]:
    found = learner.find("crd", CRD)
    expect(found, f"the server knows no kind `{CRD}`: apply a CustomResourceDefinition of that name")
    expect(found["spec"]["names"]["kind"] == "Buoy", f"the kind is called {found['spec']['names']['kind']}, not Buoy")
    expect(found["spec"]["scope"] == "Namespaced", "its scope is Cluster, but buoys live in namespaces")
    expect([v["name"] for v in found["spec"]["versions"]] == ["v1"], "it should have one version, `v1`")
    learner.need_namespace()
    return found["spec"]["versions"][0]


def _accepted(learner: Learner, **spec: Any) -> None:
    def look() -> None:
        answer = learner.dry_run(_buoy(**spec))
        expect(answer.ok, f"a good buoy, {spec}, is refused: {answer.errors}")

    learner.eventually(look)


def _refused(learner: Learner, why: str, **spec: Any) -> str:
    def look() -> str:
        answer = learner.dry_run(_buoy(**spec))
        expect(not answer.ok, f"the server accepts {spec}: {why}")
        return answer.errors

    return learner.eventually(look)


@exercise(
    "04.1",
    "A kind of your own",
    hints=(
        "A CustomResourceDefinition needs `group`, `scope`, `names` (with `plural` and `kind`) and a list of "
        "`versions`. "
        "Its own name is the plural, a dot, and the group.",
        "Look at the head of `../manifests/resources/crd.yaml`, and take from it what you need. Each version says "
        "`served: true`, `storage: true` and has a `schema`.",
        "Below `openAPIV3Schema` stands `type: object` with `properties`; `spec` is an object with the property "
        "`depth`. "
        "`minimum` and `maximum` limit a number, and `required: [depth]` stands beside `properties`.",
    ),
    solution="""
    %%sh
    kubectl apply -f - <<'EOF'
    apiVersion: apiextensions.k8s.io/v1
    kind: CustomResourceDefinition
    metadata: {name: buoys.exercises.k8sext.io}
    spec:
      group: exercises.k8sext.io
      scope: Namespaced
      names: {plural: buoys, singular: buoy, kind: Buoy}
      versions:
      - name: v1
        served: true
        storage: true
        schema:
          openAPIV3Schema:
            type: object
            required: [spec]
            properties:
              spec:
                type: object
                required: [depth]
                properties:
                  sea: {type: string}
                  depth: {type: integer, minimum: 0, maximum: 11000}
    EOF
    kubectl wait --for=condition=Established crd/buoys.exercises.k8sext.io
    """,
)
def buoys(learner: Learner) -> str:
    """Teach the server the kind Buoy (plural `buoys`, group `exercises.k8sext.io`, version `v1`, in namespaces). Its
    spec has a `sea`, which is a string, and must have a `depth`, a whole number of metres from 0 to 11000."""
    version = _definition(learner)
    properties = version["schema"]["openAPIV3Schema"].get("properties", {}).get("spec", {}).get("properties", {})
    for name, kind in (("sea", "string"), ("depth", "integer")):
        expect(name in properties, f"the schema's `spec` has no property `{name}`")
        found = properties[name].get("type")
        expect(found == kind, f"`{name}` is of type {found}, and should be {kind}")
    _accepted(learner, sea="North Sea", depth=95)
    _accepted(learner, sea="Pacific", depth=11000)
    _refused(learner, "nothing floats above the water; set a `minimum`", sea="North Sea", depth=-1)
    _refused(learner, "no sea is that deep; set a `maximum`", sea="Pacific", depth=11001)
    _refused(learner, "a buoy without a depth; make it `required`", sea="North Sea")
    return "the server knows buoys, and refuses those that hover, drown or do not say how deep the water is"


@exercise(
    "04.2",
    "A rule about two fields",
    hints=(
        "A rule about one field stands beside that field. A rule about two stands where both can be seen: beside the "
        "`properties` of `spec`.",
        "The list is called `x-kubernetes-validations`; each entry has a `rule` in CEL and a `message`.",
        "A field that may be absent is asked for with `has(self.sea)` first, and `a && b` binds closer than `a || b`.",
    ),
    solution="""
    %%sh
    kubectl patch crd buoys.exercises.k8sext.io --type=json -p '[{
      "op": "add",
      "path": "/spec/versions/0/schema/openAPIV3Schema/properties/spec/x-kubernetes-validations",
      "value": [{
        "rule": "!has(self.sea) || self.sea != '"'Baltic'"' || self.depth <= 459",
        "message": "the Baltic is nowhere deeper than 459 metres"
      }]
    }]'
    """,
)
def baltic(learner: Learner) -> str:
    """Let the server refuse a buoy with `sea: Baltic` and a depth of more than 459, in the words "the Baltic is nowhere
    deeper than 459 metres". Other seas, and buoys that name none, are as before."""
    _definition(learner)
    why = "add a rule in CEL to the schema of `spec` (`x-kubernetes-validations`)"
    errors = _refused(learner, why, sea="Baltic", depth=460)
    expect(TOO_DEEP in errors, f'the server refuses it, but with other words than "{TOO_DEEP}": {errors}')
    _accepted(learner, sea="Baltic", depth=459)
    _accepted(learner, sea="Pacific", depth=5000)
    _accepted(learner, depth=5000)
    return "a rule about two fields holds in the server itself, and no program of yours runs"


@exercise(
    "04.3",
    "A status and a column",
    hints=(
        "Three things are missing, and all three stand in the version, beside `schema`.",
        "`additionalPrinterColumns` is a list; an entry has `name`, `type` and `jsonPath`, as `.spec.depth`.",
        "`subresources: {status: {}}` makes the status a subresource. The schema needs a property `status`, too: what "
        "it does "
        "not "
        "know, the server drops.",
    ),
    solution="""
    %%sh
    kubectl patch crd buoys.exercises.k8sext.io --type=json -p '[
      {"op": "add", "path": "/spec/versions/0/subresources", "value": {"status": {}}},
      {"op": "add", "path": "/spec/versions/0/schema/openAPIV3Schema/properties/status",
       "value": {"type": "object", "properties": {"waves": {"type": "number"}}}},
      {"op": "add", "path": "/spec/versions/0/additionalPrinterColumns",
       "value": [{"name": "Depth", "type": "integer", "jsonPath": ".spec.depth"}]}
    ]'
    """,
)
def columns(learner: Learner) -> str:
    """Give buoys a status that is a subresource, with a number `waves` in it, and let `kubectl get buoys`
    show the depth in a column `Depth`."""
    version = _definition(learner)
    expect(
        "status" in version.get("subresources", {}),
        "there is no subresource `status`: users could write it as they like",
    )
    status = version["schema"]["openAPIV3Schema"].get("properties", {}).get("status", {}).get("properties", {})
    waves = status.get("waves", {}).get("type")
    expect(waves, "the schema's `status` has no property `waves`, so the server would drop it")
    expect(waves == "number", f"`waves` is of type {waves}: waves of 1.5 metres need a number")
    shown = {column["name"]: column["jsonPath"] for column in version.get("additionalPrinterColumns", [])}
    expect(
        "Depth" in shown, f"`kubectl get buoys` has the columns {', '.join(['Name', *shown])}, and none called Depth"
    )
    expect(shown["Depth"] == ".spec.depth", f"the column Depth shows {shown['Depth']}, and not .spec.depth")
    return "whoever measures the waves cannot move the buoy, and everybody sees how deep the water is"
