"""The WeatherReport: what a user asks for (spec) and what a controller answers (status).

The class docstrings and field descriptions below end up in the API server, and `kubectl explain wr.spec` prints them.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel
from pydantic.config import JsonDict

from k8sext.resources.crd import Names, PrinterColumn, custom_resource_definition

GROUP = "k8s.packt.com"
VERSION = "v1"
KIND = "WeatherReport"
API_VERSION = f"{GROUP}/{VERSION}"
NAMES = Names(kind=KIND, plural="weatherreports", short=("wr",), categories=("weather",))

COLUMNS = (
    PrinterColumn("City", "string", ".spec.city"),
    PrinterColumn("Days", "integer", ".spec.days"),
    PrinterColumn("State", "string", ".status.state"),
    PrinterColumn("Age", "date", ".metadata.creationTimestamp"),
)


def cel(rule: str, message: str) -> JsonDict:
    """One validation rule in CEL, the expression language the API server runs, and the sentence for who breaks it."""
    return {"x-kubernetes-validations": [{"rule": rule, "message": message}]}


class Model(BaseModel):
    """Python names inside, Kubernetes' camelCase outside; a field we do not know is an error, as on the server."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, extra="forbid")


class WeatherReportSpec(Model):
    """What the user asks for."""

    city: str = Field(
        min_length=1,
        max_length=64,
        description="The city whose weather is reported, for example Amsterdam.",
        json_schema_extra=cel("self == self.trim()", "city must not begin or end with a blank"),
    )
    days: int = Field(default=1, ge=1, le=14, strict=True, description="How many past days the report covers.")
    provider: Literal["sample", "open-meteo"] | None = Field(
        default=None, description="Who is asked: the package's sample data unless another is named."
    )


class State(StrEnum):
    """Where a report is on its way."""

    PENDING = "Pending"
    COLLECTING = "Collecting"
    READY = "Ready"
    FAILED = "Failed"


class Condition(Model):
    """One observation about a report, in the shape all Kubernetes types use (metav1.Condition)."""

    type: str = Field(min_length=1, max_length=316, description="What is observed, for example Ready.")
    status: Literal["True", "False", "Unknown"] = Field(description="Whether it is so.")
    reason: str = Field(min_length=1, max_length=1024, pattern=r"^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$")
    message: str = Field(max_length=32768, description="The same for a human reader.")
    last_transition_time: Annotated[str, Field(json_schema_extra={"format": "date-time"})]
    observed_generation: int | None = Field(default=None, ge=0)


class DayReport(Model):
    """The weather of one past day, in whole degrees Celsius and millimetres."""

    date: Annotated[str, Field(json_schema_extra={"format": "date"})]
    sky: str = Field(max_length=64, description="The day in one word, for example cloudy.")
    low: int = Field(ge=-100, le=100, description="Lowest temperature.")
    high: int = Field(ge=-100, le=100, description="Highest temperature.")
    rain: int = Field(ge=0, le=10000, description="Precipitation.")


class WeatherReportStatus(Model):
    """What the controller found. Users read it, only the controller writes it."""

    model_config = ConfigDict(
        json_schema_extra=cel(
            "!has(oldSelf.observedGeneration) || "
            "(has(self.observedGeneration) && self.observedGeneration >= oldSelf.observedGeneration)",
            "observedGeneration never goes back",
        )
    )

    state: State | None = Field(default=None, description="The short answer, for the State column.")
    pod: str | None = Field(default=None, max_length=253, description="The pod that collects the report.")
    observed_generation: int | None = Field(default=None, ge=0, description="The generation this status speaks of.")
    conditions: list[Condition] = Field(
        default_factory=list[Condition],
        max_length=16,
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]},
    )
    report: list[DayReport] = Field(
        default_factory=list[DayReport], max_length=14, description="One entry a day, oldest first."
    )


class Metadata(BaseModel):
    """The part of ObjectMeta that our examples read; what else the server sends is kept."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, extra="allow")

    name: str
    namespace: str | None = None
    uid: str | None = None
    generation: int | None = None


class WeatherReport(Model):
    """A report on the past days' weather in a city."""

    api_version: Literal["k8s.packt.com/v1"] = "k8s.packt.com/v1"
    kind: Literal["WeatherReport"] = "WeatherReport"
    metadata: Metadata
    spec: WeatherReportSpec
    status: WeatherReportStatus = Field(default_factory=WeatherReportStatus)

    def to_dict(self) -> dict[str, Any]:
        """Return the object as the API server takes it: camelCase names, nothing that was never set."""
        return {
            "apiVersion": self.api_version,
            "kind": self.kind,
            **self.model_dump(by_alias=True, exclude_unset=True, exclude={"api_version", "kind"}, mode="json"),
        }


def weather_report_crd() -> dict[str, Any]:
    """Return the CustomResourceDefinition of the WeatherReport."""
    return custom_resource_definition(
        WeatherReport, group=GROUP, version=VERSION, names=NAMES, columns=COLUMNS, selectable=(".spec.city",)
    )
