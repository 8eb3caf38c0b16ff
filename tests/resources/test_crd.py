"""From a model to a CRD: what the generator writes, what it refuses, and that the kept manifests are what it writes."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Any, Literal

import pytest
from pydantic import BaseModel, Field

from k8sext.resources import weather_report_crd
from k8sext.resources.__main__ import main, manifests
from k8sext.resources.crd import structural_schema

KEPT = Path(__file__).parents[2] / "manifests" / "resources"


class Colour(StrEnum):
    RED = "red"


class Part(BaseModel):
    """One part."""

    size: int = Field(ge=1)


class Whole(BaseModel):
    parts: list[Part] = Field(max_length=3)
    best: Part | None = Field(default=None, description="The best one.")
    colour: Colour | None = None
    fixed: Literal["yes"] = "yes"


def field(name: str) -> dict[str, Any]:
    return structural_schema(Whole)["properties"][name]


def test_a_reference_becomes_the_thing_itself():
    assert field("parts")["items"]["properties"]["size"] == {"type": "integer", "minimum": 1}


def test_an_optional_field_has_its_plain_type_and_its_own_description():
    assert field("best")["type"] == "object"
    assert field("best")["description"] == "The best one."
    assert "default" not in field("best")


def test_an_enum_and_a_constant_become_lists_of_values():
    assert field("colour")["enum"] == ["red"]
    assert field("fixed")["enum"] == ["yes"]


def test_only_fields_without_default_are_required():
    assert structural_schema(Whole)["required"] == ["parts"]


@pytest.mark.parametrize(
    ("annotation", "sentence"),
    [
        (int | str, "Model.field allows several types"),
        (dict[str, int], "Model.field is a free-form map"),
        (Any, "Model.field has no single type"),
    ],
)
def test_what_a_structural_schema_cannot_say_is_refused_by_name(annotation, sentence):
    model = type("Model", (BaseModel,), {"__annotations__": {"field": annotation}})
    with pytest.raises(ValueError, match=sentence):
        structural_schema(model)


def test_the_crd_has_the_names_of_the_book():
    crd = weather_report_crd()
    assert crd["metadata"]["name"] == "weatherreports.k8s.packt.com"
    assert crd["spec"]["scope"] == "Namespaced"
    assert crd["spec"]["names"]["kind"] == "WeatherReport"
    assert crd["spec"]["names"]["listKind"] == "WeatherReportList"


@pytest.mark.parametrize("name", ["crd.yaml", "cr.yaml"])
def test_the_kept_manifest_is_what_the_model_generates(name):
    assert (KEPT / name).read_text() == manifests()[name]


def test_writing_into_a_folder_that_is_not_there_says_what_to_do(tmp_path, capsys):
    assert main([str(tmp_path / "nowhere")]) == 2
    assert "There is no folder" in capsys.readouterr().err


def test_the_manifests_are_written_into_the_folder_named(tmp_path):
    assert main([str(tmp_path)]) == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cr.yaml", "crd.yaml"]
