"""Wrong answers to the exercises of notebook 04, each with words of the reason that the learner gets."""

_CRD = """%%sh
kubectl apply -f - <<'EOF'
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {{name: buoys.exercises.k8sext.io}}
spec:
  group: exercises.k8sext.io
  scope: Namespaced
  names: {{plural: buoys, kind: Buoy}}
  versions:
  - name: v1
    served: true
    storage: true
    schema:
      openAPIV3Schema:
        type: object
        properties:
          spec:
            type: object
            {spec}
EOF
kubectl wait --for=condition=Established crd/buoys.exercises.k8sext.io
"""


def _patch(path: str, value: str) -> str:
    patch = f'[{{"op": "add", "path": "/spec/versions/0/{path}", "value": {value}}}]'
    return f"%%sh\nkubectl patch crd buoys.exercises.k8sext.io --type=json -p '{patch}'"


_RULES = "schema/openAPIV3Schema/properties/spec/x-kubernetes-validations"

WRONG = {
    "04.1": [
        (_CRD.format(spec="properties: {sea: {type: string}}"), "the schema's `spec` has no property `depth`"),
        (
            _CRD.format(spec="properties: {sea: {type: string}, depth: {type: string}}"),
            "of type string, and should be integer",
        ),
        (_CRD.format(spec="properties: {sea: {type: string}, depth: {type: integer}}"), "set a `minimum`"),
        (
            _CRD.format(spec="properties: {sea: {type: string}, depth: {type: integer, minimum: 0, maximum: 11000}}"),
            "make it `required`",
        ),
    ],
    "04.2": [
        (_patch(_RULES, '[{"rule": "self.depth <= 459"}]'), 'with other words than "the Baltic'),
        (
            _patch(
                _RULES, '[{"rule": "self.depth <= 459", "message": "the Baltic is nowhere deeper than 459 metres"}]'
            ),
            "a good buoy, {'sea': 'Pacific', 'depth': 5000}, is refused",
        ),
    ],
    "04.3": [
        (_patch("subresources", '{"status": {}}'), "`status` has no property `waves`"),
        (
            _patch(
                "schema/openAPIV3Schema/properties/status",
                '{"type": "object", "properties": {"waves": {"type": "integer"}}}',
            ),
            "need a number",
        ),
    ],
}
