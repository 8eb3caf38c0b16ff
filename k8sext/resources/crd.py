"""From a pydantic model to a CustomResourceDefinition, the object that teaches the API server a new type.

pydantic writes JSON Schema. The API server wants a *structural* schema: every field typed in one place, no references,
no alternatives between types, no forbidden extra fields (it prunes those or, asked strictly, refuses them itself).
Source: https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

Schema = dict[str, Any]

KEPT = (
    *("type", "format", "description", "default", "enum", "pattern", "minimum", "maximum"),
    *("minLength", "maxLength", "minItems", "maxItems", "required"),
    *("x-kubernetes-validations", "x-kubernetes-list-type", "x-kubernetes-list-map-keys"),
)
DROPPED = ("title", "additionalProperties", "properties", "items", "const")
MANAGED_BY_KUBERNETES: Schema = {"type": "object"}


@dataclass(frozen=True)
class Names:
    """What a type is called: `kind` in a manifest, `plural` in a URL, `short` and `categories` at the keyboard."""

    kind: str
    plural: str
    short: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()


@dataclass(frozen=True)
class PrinterColumn:
    """One column of `kubectl get`, filled by the server from `path`."""

    name: str
    type: str
    path: str


def custom_resource_definition(
    model: type[BaseModel],
    *,
    group: str,
    version: str,
    names: Names,
    columns: Sequence[PrinterColumn] = (),
    selectable: Sequence[str] = (),
) -> dict[str, Any]:
    """Return the CRD of `model`, namespaced, with one served version and a status subresource.

    The fields `spec` and `status` of the model become the schema; apiVersion, kind and metadata belong to Kubernetes.
    Raises ValueError when the model uses something a structural schema cannot say.
    """
    schema = structural_schema(model)
    own = {name: part for name, part in schema["properties"].items() if name in ("spec", "status")}
    own.get("status", {}).pop("default", None)
    schema["properties"] = {"apiVersion": {"type": "string"}, "kind": {"type": "string"}}
    schema["properties"] |= {"metadata": MANAGED_BY_KUBERNETES} | own
    schema["required"] = ["spec"]
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{names.plural}.{group}"},
        "spec": {
            "group": group,
            "scope": "Namespaced",
            "names": {
                "kind": names.kind,
                "listKind": f"{names.kind}List",
                "plural": names.plural,
                "singular": names.kind.lower(),
                "shortNames": list(names.short),
                "categories": list(names.categories),
            },
            "versions": [
                {
                    "name": version,
                    "served": True,
                    "storage": True,
                    "schema": {"openAPIV3Schema": schema},
                    "subresources": {"status": {}},
                    "selectableFields": [{"jsonPath": path} for path in selectable],
                    "additionalPrinterColumns": [
                        {"name": column.name, "type": column.type, "jsonPath": column.path} for column in columns
                    ],
                }
            ],
        },
    }


def structural_schema(model: type[BaseModel]) -> Schema:
    """Return the model's JSON Schema in the form the API server accepts; ValueError names the field that has none."""
    full = model.model_json_schema(by_alias=True)
    return _structural(full, full.get("$defs", {}), model.__name__)


def _structural(node: Schema, definitions: dict[str, Schema], path: str) -> Schema:
    node = _without_null(_resolved(node, definitions), definitions, path)
    unknown = [key for key in node if key not in KEPT and key not in DROPPED]
    if unknown or "type" not in node:
        what = f"uses {', '.join(unknown)}" if unknown else "has no single type"
        raise ValueError(f"{path} {what}: a structural schema cannot say that, choose a plain type for this field.")
    schema = {key: node[key] for key in KEPT if key in node}
    if "const" in node:
        schema["enum"] = [node["const"]]
    if "properties" in node:
        schema["properties"] = {
            name: _structural(part, definitions, f"{path}.{name}") for name, part in node["properties"].items()
        }
    elif node["type"] == "object":
        raise ValueError(f"{path} is a free-form map: a structural schema wants named fields, write a model for it.")
    if "items" in node:
        schema["items"] = _structural(node["items"], definitions, f"{path}[]")
    return schema


def _resolved(node: Schema, definitions: dict[str, Schema]) -> Schema:
    """Put a referenced definition in the place of the reference; what stands beside the reference wins."""
    if "$ref" not in node:
        return {key: value for key, value in node.items() if key != "$defs"}
    target = definitions[node["$ref"].rsplit("/", 1)[-1]]
    return target | {key: value for key, value in node.items() if key != "$ref"}


def _without_null(node: Schema, definitions: dict[str, Schema], path: str) -> Schema:
    """`X | None = None` means an optional field in Kubernetes: the field is absent, never null."""
    if "anyOf" not in node:
        return node
    choices = [choice for choice in node["anyOf"] if choice != {"type": "null"}]
    if len(choices) != 1:
        raise ValueError(f"{path} allows several types: a structural schema wants one, choose it.")
    beside = {key: value for key, value in node.items() if key != "anyOf" and (key, value) != ("default", None)}
    return _resolved(choices[0], definitions) | beside
