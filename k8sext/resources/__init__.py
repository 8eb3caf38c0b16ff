"""An API type of our own: the WeatherReport, written once in Python and served by Kubernetes.

| Kubernetes | here |
|---|---|
| spec and status of a kind | `weatherreport.WeatherReportSpec`, `weatherreport.WeatherReportStatus` |
| CustomResourceDefinition (names, scope, subresources) | `crd.custom_resource_definition` |
| structural schema, CEL rules | `crd.custom_resource_definition`, from the model's types |
| conditions | `weatherreport.Condition` |

`weatherreport` says what a report is, as a pydantic model. `crd` turns such a model into a CustomResourceDefinition,
the object with which the API server learns a new type. `python -m k8sext.resources` writes the result to
manifests/resources/.

Left out, because it costs more lines than it teaches: unions, recursive types and free-form maps in a model (refused
with a sentence), several versions of one model, and conversion webhooks. Notebook 04 shows several versions and the
scale subresource on a CRD written by hand, manifests/resources/station-crd.yaml.
"""

from __future__ import annotations

from k8sext.resources.crd import custom_resource_definition
from k8sext.resources.weatherreport import (
    API_VERSION,
    GROUP,
    KIND,
    NAMES,
    VERSION,
    Condition,
    DayReport,
    State,
    WeatherReport,
    WeatherReportSpec,
    WeatherReportStatus,
    weather_report_crd,
)

__all__ = [
    "API_VERSION",
    "GROUP",
    "KIND",
    "NAMES",
    "VERSION",
    "Condition",
    "DayReport",
    "State",
    "WeatherReport",
    "WeatherReportSpec",
    "WeatherReportStatus",
    "custom_resource_definition",
    "weather_report_crd",
]
