"""The types of a document in a form that a code generator understands: named objects with typed fields, and nothing
clever.

Kubernetes' schemas differ from plain OpenAPI in four ways, each handled here:

* a reference with a description of its own is wrapped into `allOf`:              unwrapped;
* named types that are no objects (Time, Quantity, IntOrString, FieldsV1, JSON):  put in the place of the reference;
* CRDs nest objects without names (spec, status):                                 named after the way to them,
  WeatherReportSpec;
* limits and formats (the server's to check, see the package's docstring; a decoded time loses its zeros):      left
  out.

The default of a plain field is kept: the server fills it in, so a reader never meets its absence. It is not sent unless
it was set.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from k8sext.clients.generate.openapi import Document
from k8sext.clients.kubectl import UserError
from k8sext.kube.objects import Json

PREFIX = "#/components/schemas/"
ANYTHING: Json = {}
FREE_FORM: Json = {"type": "object", "additionalProperties": True}
INT_OR_STRING: Json = {"anyOf": [{"type": "integer"}, {"type": "string"}]}
NUMBER: Json = {"anyOf": [{"type": "integer"}, {"type": "number"}]}  # 1 must not come back as 1.0
NUMBER_OR_STRING: Json = {"anyOf": [{"type": "integer"}, {"type": "number"}, {"type": "string"}]}
TIME: Json = {"anyOf": [{"type": "string"}, {"type": "null"}]}  # the zero time is null, even where a time is required
SCALARS = ("string", "integer", "number", "boolean")
RESERVED = frozenset(
    ("None", "True", "False", "Model", "BaseModel", "RootModel", "Field", "Any", "Literal", "Annotated", "Union")
)
"""What models.py imports, and words of Python: no kind can have this name there."""


@dataclass
class Types:
    """The definitions of a document, and the class name of each schema."""

    definitions: Json = field(default_factory=dict)
    names: dict[str, str] = field(default_factory=dict)


def types(document: Document, roots: Iterable[str]) -> Types:
    """Return all types that the roots need. Raises UserError for a reference to nothing, or one that leads back to
    itself."""
    return _Reader(document, sorted(set(roots))).types


class _Reader:
    def __init__(self, document: Document, roots: list[str]) -> None:
        self.document = document
        self.built_in = "." not in document.group or document.group.endswith(".k8s.io")
        self.types = Types(names=_class_names(document, roots))
        self.taken = set(self.types.names.values())
        self.waiting = list(roots)
        while self.waiting:
            name = self.waiting.pop()
            if self.types.names[name] not in self.types.definitions:
                self._define(self.types.names[name], self._schema(name))
        self.types.definitions = dict(sorted(self.types.definitions.items()))

    def _schema(self, name: str) -> Json:
        try:
            return self.document.schemas[name]
        except KeyError:
            raise UserError(
                f"The document refers to {name}, which it does not define: it is incomplete, fetch it again."
            ) from None

    def _define(self, name: str, schema: Json) -> None:
        definition: Json = {"type": "object", "title": name, "properties": {}}
        self.types.definitions[name] = definition  # before its fields, which may lead back here
        if "description" in schema:
            definition["description"] = schema["description"]
        for key, part in schema.get("properties", {}).items():
            definition["properties"][key] = self._field(part, name + key[:1].upper() + key[1:])
        definition["required"] = [key for key in schema.get("required", ()) if key in definition["properties"]]
        if self.built_in:
            for key in definition["required"]:
                definition["properties"][key] = _list_of_go(definition["properties"][key])
        kinds = schema.get("x-kubernetes-group-version-kind", ())
        if len(kinds) == 1 and {"apiVersion", "kind"} <= set(definition["properties"]):
            self._fix(definition, "kind", kinds[0]["kind"])
            self._fix(definition, "apiVersion", "/".join(filter(None, (kinds[0]["group"], kinds[0]["version"]))))

            if "metadata" in definition["properties"] and "metadata" not in definition["required"]:
                definition["required"].append("metadata")

    def _fix(self, definition: Json, key: str, value: str) -> None:
        definition["properties"][key] |= {"enum": [value], "default": value}

    def _field(self, schema: Json, path: str) -> Json:
        """Return the type of one field, with its description."""
        described = {"description": schema["description"]} if schema.get("description") else {}
        found = self._type(schema, path, ())
        if found.get("type") in SCALARS and schema.get("default") is not None:
            described["default"] = schema["default"]
        return found | described

    def _type(self, schema: Json, path: str, way: tuple[str, ...]) -> Json:
        """Return the type of a value, wherever it stands: in a field, a list or a map."""
        found = self._not_null(_unwrapped(schema), path, way)
        may_be_null = schema.get("nullable") and found and {"type": "null"} not in found.get("anyOf", ())
        return {"anyOf": [*found.get("anyOf", (found,)), {"type": "null"}]} if may_be_null else found

    def _not_null(self, schema: Json, path: str, way: tuple[str, ...]) -> Json:
        if "$ref" in schema:
            return self._reference(schema["$ref"].removeprefix(PREFIX), path, way)
        if _is_int_or_string(schema):
            return INT_OR_STRING
        if ("oneOf" in schema or "anyOf" in schema) and schema.get("type") not in ("object", "array"):
            kinds = {choice.get("type") for choice in schema.get("oneOf", []) + schema.get("anyOf", [])}
            if kinds == {"string", "number"}:
                return NUMBER_OR_STRING
            return {"type": schema["type"]} if schema.get("type") in SCALARS else ANYTHING
        kind = schema.get("type")
        if kind == "array":
            return {"type": "array", "items": self._type(schema.get("items", {}), path + "Item", way)}
        preserved = schema.get("x-kubernetes-preserve-unknown-fields")
        if kind == "object" or ("properties" in schema and not preserved):  # a preserved value of no type may be a list
            return self._object(schema, path, way)
        if schema.get("format") == "date-time":
            return TIME
        if kind == "number":
            return NUMBER
        return {"type": kind} if kind in SCALARS else ANYTHING

    def _object(self, schema: Json, path: str, way: tuple[str, ...]) -> Json:
        if schema.get("properties"):
            name = _free(path, self.taken)
            self._define(name, schema)
            return {"$ref": PREFIX + name}
        values = schema.get("additionalProperties")
        if isinstance(values, dict) and (of := self._type(values, path + "Value", way)):
            return {"type": "object", "additionalProperties": of}
        return FREE_FORM

    def _reference(self, name: str, path: str, way: tuple[str, ...]) -> Json:
        """An object keeps its name; what is not an object stands in the reference's place."""
        if name in way:
            raise UserError(
                f"The type {name} is defined by itself alone: {' -> '.join((*way, name))}. Mend the schema."
            )
        target = self._schema(name)
        if target.get("properties"):
            self.waiting.append(name)
            return {"$ref": PREFIX + self.types.names[name]}
        return self._type(target, path, (*way, name))


def _list_of_go(schema: Json) -> Json:
    """An empty list that is required may come as null: Kubernetes' own types are written in Go, where it is nil."""
    return {"anyOf": [schema, {"type": "null"}]} if schema.get("type") == "array" else schema


def _unwrapped(schema: Json) -> Json:
    parts = schema.get("allOf", ())
    return parts[0] if len(parts) == 1 and "$ref" in parts[0] else schema


def _is_int_or_string(schema: Json) -> bool:
    return schema.get("format") == "int-or-string" or bool(schema.get("x-kubernetes-int-or-string"))


def _class_names(document: Document, roots: list[str]) -> dict[str, str]:
    """Name each schema by its last part; where two would be called the same, the kinds of this group come first."""
    names: dict[str, str] = {}
    taken: set[str] = set()
    for full in sorted(document.schemas, key=lambda name: (name not in roots, name)):
        parts = full.split(".")
        name = parts[-1]
        while _pascal(name) in taken and len(parts) > 1:
            parts.pop(-2)
            name = (parts[-2] + "." if len(parts) > 1 else "") + name
        names[full] = _free(name, taken)
    return names


def _free(text: str, taken: set[str]) -> str:
    """Return a class name that nobody has, and take it: one that the library which writes the classes leaves as it is.

    That library makes every name PascalCase and drops underscores; two authorities for one name would not agree.
    """
    name = _pascal(text) + ("Kind" if _pascal(text) in RESERVED else "")
    free, number = name, 2
    while free in taken:
        free, number = f"{name}{number}", number + 1
    taken.add(free)
    return free


def _pascal(text: str) -> str:
    return "".join(part[:1].upper() + part[1:] for part in re.split(r"[^A-Za-z0-9]+", text))
