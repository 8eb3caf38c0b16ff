"""The generator on documents made by hand: what it makes of each shape, and what it refuses."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from k8sext.cli.generate import app
from k8sext.clients import generate as generator
from k8sext.clients.generate import openapi, schemas
from k8sext.clients.generate.openapi import Document
from k8sext.clients.kubectl import UserError

REF = "#/components/schemas/"
OR_NULL = {"anyOf": [{"type": "integer"}, {"type": "null"}]}


def document(
    properties: dict[str, Any], group: str = "example.com", kind: str = "Thing", **others: Any
) -> dict[str, Any]:
    """An OpenAPI document with one kind, which has these fields, and other schemas."""
    gvk = {"group": group, "version": "v1", "kind": kind}
    meta = {"apiVersion": {"type": "string"}, "kind": {"type": "string"}, "metadata": {"type": "object"}}
    thing = {"type": "object", "properties": meta | properties, "x-kubernetes-group-version-kind": [gvk]}
    root = f"/apis/{group}/v1/namespaces/{{namespace}}/things"
    methods = {"get": "list", "post": "post", "delete": "deletecollection"}
    single = {"get": "get", "put": "put", "patch": "patch", "delete": "delete"}

    def path(actions: dict[str, str]) -> dict[str, Any]:
        return {
            m: {"x-kubernetes-action": a, "x-kubernetes-group-version-kind": gvk, "responses": {}}
            for m, a in actions.items()
        }

    return {
        "openapi": "3.0.0",
        "paths": {root: path(methods), f"{root}/{{name}}": path(single)},
        "components": {"schemas": {f"com.example.v1.{kind}": thing} | others},
    }


def definitions(properties: dict[str, Any], **others: Any) -> dict[str, Any]:
    found = document(properties, **others)
    read = Document("example.com", "v1", found["paths"], found["components"]["schemas"])
    return schemas.types(read, ["com.example.v1.Thing"]).definitions


def field(schema: dict[str, Any], **others: Any) -> Any:
    return definitions({"it": schema}, **others)["Thing"]["properties"]["it"]


def test_a_nested_object_is_named_after_the_way_to_it():
    inner = {
        "type": "object",
        "properties": {"parts": {"type": "array", "items": {"type": "object", "properties": {"a": {}}}}},
    }
    assert sorted(definitions({"spec": inner})) == ["Thing", "ThingSpec", "ThingSpecPartsItem"]


def test_a_name_that_is_taken_is_not_used_twice():
    found = definitions(
        {"spec": {"type": "object", "properties": {"a": {}}}, "other": {"$ref": REF + "org.v1.ThingSpec"}},
        **{"org.v1.ThingSpec": {"type": "object", "properties": {"b": {}}}},
    )
    assert sorted(found) == ["Thing", "ThingSpec", "ThingSpec2"]


@pytest.mark.parametrize(
    ("schema", "expected"),
    [
        (
            {"x-kubernetes-int-or-string": True, "anyOf": [{"type": "integer"}, {"type": "string"}]},
            schemas.INT_OR_STRING,
        ),
        ({"oneOf": [{"type": "string"}, {"type": "number"}]}, schemas.NUMBER_OR_STRING),
        ({"type": "string", "format": "date-time"}, schemas.TIME),
        ({"type": "string", "format": "byte", "maxLength": 3, "enum": ["a"]}, {"type": "string"}),
        ({"type": "object", "x-kubernetes-preserve-unknown-fields": True}, schemas.FREE_FORM),
        ({"x-kubernetes-preserve-unknown-fields": True}, schemas.ANYTHING),
        (
            {"type": "object", "additionalProperties": {"type": "string"}},
            {"type": "object", "additionalProperties": {"type": "string"}},
        ),
        ({"type": "integer", "nullable": True}, OR_NULL),
        (
            {"type": "array", "items": {"type": "integer", "nullable": True}},
            {"type": "array", "items": OR_NULL},
        ),
        (
            {"type": "object", "additionalProperties": {"type": "integer", "nullable": True}},
            {"type": "object", "additionalProperties": OR_NULL},
        ),
        (
            {"type": "array", "items": {"type": "integer"}, "anyOf": [{"minItems": 1}, {"maxItems": 3}]},
            {"type": "array", "items": {"type": "integer"}},
        ),
        ({"properties": {"a": {}}, "x-kubernetes-preserve-unknown-fields": True}, schemas.ANYTHING),
    ],
)
def test_each_shape_has_a_type_that_loses_nothing(schema: dict[str, Any], expected: dict[str, Any]):
    assert field(schema) == expected


def test_a_named_type_that_is_no_object_stands_in_the_place_of_its_reference():
    wrapped = {"description": "When.", "default": {}, "allOf": [{"$ref": REF + "meta.v1.Time"}]}
    others = {"meta.v1.Time": {"type": "string", "format": "date-time", "description": "Time is."}}
    assert field(wrapped, **others) == schemas.TIME | {"description": "When."}


def test_a_type_may_hold_itself():
    node = {"type": "object", "properties": {"next": {"$ref": REF + "org.v1.Node"}}}
    found = definitions({"first": {"$ref": REF + "org.v1.Node"}}, **{"org.v1.Node": node})
    assert found["Node"]["properties"]["next"] == {"$ref": REF + "Node"}


def test_a_type_defined_by_itself_alone_is_refused_with_the_way_round():
    others = {"org.v1.A": {"$ref": REF + "org.v1.B"}, "org.v1.B": {"allOf": [{"$ref": REF + "org.v1.A"}]}}
    with pytest.raises(UserError, match=r"org\.v1\.A -> org\.v1\.B -> org\.v1\.A"):
        field({"$ref": REF + "org.v1.A"}, **others)


def test_a_reference_to_nothing_is_refused():
    with pytest.raises(UserError, match="refers to org"):
        field({"$ref": REF + "org.v1.A"})


@pytest.mark.parametrize(
    "kind",
    [
        *("Model", "BaseModel", "Field", "Any", "Literal", "None", "True", "dnsEntry", "My-Kind", "class"),
        *("List", "str", "HTTPRoute", "X509", "Annotations", "Client", "V1"),
    ],
)
def test_whatever_a_kind_is_called_its_fields_have_types_and_its_client_reads_it(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    part = {"type": "object", "properties": {"size": {"type": "integer"}}}
    models = generated(
        document({"spec": part}, "example.com", kind, **{f"org.v1.{kind}Spec": part}),
        tmp_path,
        monkeypatch,
        "example.com",
    )
    client = sys.modules[models.__name__.replace(".models", ".client")]
    model = client.THINGS.model
    thing = model.from_dict({"apiVersion": "example.com/v1", "kind": kind, "metadata": {}, "spec": {"size": 3}})
    assert thing.spec.size == 3
    assert thing.to_dict()["kind"] == client.THINGS.kind == kind


@pytest.mark.parametrize(("group", "may_be_null"), [("storage.k8s.io", True), ("apps", True), ("example.com", False)])
def test_a_required_list_of_kubernetes_own_types_may_be_null(group: str, may_be_null: bool):
    found = document({"drivers": {"type": "array", "items": {"type": "string"}}}, group)
    found["components"]["schemas"]["com.example.v1.Thing"]["required"] = ["drivers"]
    read = Document(group, "v1", found["paths"], found["components"]["schemas"])
    drivers = schemas.types(read, ["com.example.v1.Thing"]).definitions["Thing"]["properties"]["drivers"]
    assert ({"type": "null"} in drivers.get("anyOf", ())) == may_be_null


def test_an_object_beside_oneof_keeps_the_types_of_its_fields():
    rule = {"type": "object", "properties": {"a": {"type": "integer"}}, "oneOf": [{"required": ["a"]}, {"not": {}}]}
    assert definitions({"spec": rule})["ThingSpec"]["properties"] == {"a": {"type": "integer"}}


def generated(
    found: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, group: str = "example.com"
) -> Any:
    """Write the document, generate its package, and return the imported models."""
    (tmp_path / "openapi.json").write_text(json.dumps(found))
    generator.generate(openapi.from_file(tmp_path / "openapi.json", group), tmp_path / "out")
    monkeypatch.syspath_prepend(tmp_path / "out")
    package = next(path.name for path in (tmp_path / "out").iterdir() if path.is_dir())
    for name in [name for name in sys.modules if name.split(".")[0] == package]:
        monkeypatch.delitem(sys.modules, name)
    return __import__(package).models


def test_names_that_are_python_keywords_get_an_underscore_and_are_read_and_written_as_they_are(tmp_path, monkeypatch):
    fields = {"from": {"type": "string"}, "class": {"type": "object", "properties": {"None": {"type": "integer"}}}}
    models = generated(document(fields, group="import.example.com"), tmp_path, monkeypatch, "import.example.com")
    value = {"apiVersion": "import.example.com/v1", "kind": "Thing", "metadata": {}, "from": "a", "class": {"None": 1}}
    thing = models.Thing.from_dict(value)
    assert thing.from_ == "a"
    assert thing.to_dict() == value
    assert models.Thing(metadata={}, from_="b").to_dict()["from"] == "b"


def test_unknown_fields_numbers_and_nulls_survive_a_round_trip(tmp_path, monkeypatch):
    time = {"type": "string", "format": "date-time"}
    fields = {"n": {"type": "number"}, "q": {"oneOf": [{"type": "string"}, {"type": "number"}]}, "t": time}
    models = generated(document(fields), tmp_path, monkeypatch)
    value = {
        "apiVersion": "example.com/v1",
        "kind": "Thing",
        "metadata": {"f:a": {".": {}}},
        "n": 1,
        "q": 2,
        "t": None,
        "new": [{}],
    }
    assert json.dumps(models.Thing.from_dict(value).to_dict()) == json.dumps(value)


def run(*arguments: str) -> Any:
    return CliRunner().invoke(app, ["client", *arguments])


def test_an_output_folder_with_something_else_in_it_is_left_alone(tmp_path):
    (tmp_path / "openapi.json").write_text(json.dumps(document({})))
    out = tmp_path / "out"
    out.mkdir()
    (out / "mine.txt").write_text("keep")
    done = run("--from-file", str(tmp_path / "openapi.json"), "--group", "example.com", "--out", str(out))
    assert done.exit_code == 1
    assert "holds something else" in done.stderr
    assert [path.name for path in out.iterdir()] == ["mine.txt"]


@pytest.mark.parametrize(
    ("text", "group", "expected"),
    [
        ("not json", "example.com", "cannot be read as JSON"),
        ("[]", "example.com", "does not describe example.com"),
        (json.dumps(document({})), "other.com", "does not describe other.com"),
        (json.dumps(document({}) | {"paths": None}), "example.com", "does not describe example.com"),
        (json.dumps(document({}) | {"paths": ["a"]}), "example.com", "does not describe example.com"),
        (json.dumps(document({}) | {"components": None}), "example.com", "is not OpenAPI v3"),
        (json.dumps(document({}) | {"components": {"schemas": {"A": None}}}), "example.com", "is not OpenAPI v3"),
        (json.dumps(document({}, A=7)), "example.com", "is not OpenAPI v3"),
        (json.dumps(document({}) | {"openapi": "2.0"}), "example.com", "is not OpenAPI v3"),
        (
            json.dumps(document({"a": {"$ref": REF + "A"}}, A={"$ref": REF + "A"})),
            "example.com",
            "defined by itself alone",
        ),
    ],
)
def test_a_bad_document_is_one_sentence_and_leaves_nothing_behind(tmp_path, text: str, group: str, expected: str):
    (tmp_path / "openapi.json").write_text(text)
    done = run("--from-file", str(tmp_path / "openapi.json"), "--group", group, "--out", str(tmp_path / "out"))
    assert done.exit_code == 1
    assert expected in done.stderr
    assert done.stderr.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["openapi.json"]


def test_no_source_is_wrong_usage(tmp_path):
    assert run("--group", "apps", "--out", str(tmp_path / "out")).exit_code == 2


def test_versions_are_ordered_as_kubernetes_does():
    versions = ["v1alpha1", "v1", "v2beta1", "v2", "v1beta2", "v10"]
    assert sorted(versions, key=openapi._rank, reverse=True) == ["v10", "v2", "v1", "v2beta1", "v1beta2", "v1alpha1"]
