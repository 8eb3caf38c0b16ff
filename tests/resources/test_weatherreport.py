"""The Python model takes and gives what the API server gives and takes."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from k8sext.resources import Condition, State, WeatherReport, WeatherReportSpec

FROM_SERVER = {
    "apiVersion": "k8s.packt.com/v1",
    "kind": "WeatherReport",
    "metadata": {"name": "oslo", "namespace": "n", "uid": "u", "generation": 2, "resourceVersion": "7"},
    "spec": {"city": "Oslo", "days": 2},
    "status": {"state": "Ready", "observedGeneration": 2, "report": [
        {"date": "2026-11-21", "sky": "snow", "low": -4, "high": 0, "rain": 3}
    ]},
}  # fmt: skip


def test_a_report_from_the_server_reads_with_python_names():
    report = WeatherReport.model_validate(FROM_SERVER)
    assert report.status.observed_generation == 2
    assert report.status.state is State.READY
    assert report.status.report[0].sky == "snow"


def test_a_report_goes_back_as_it_came():
    assert WeatherReport.model_validate(FROM_SERVER).to_dict() == FROM_SERVER


def test_days_default_to_one():
    assert WeatherReportSpec(city="Oslo").days == 1


@pytest.mark.parametrize(
    "spec",
    [
        {"city": "Oslo", "days": 0},
        {"city": "Oslo", "days": 15},
        {"city": "Oslo", "days": "2"},
        {"city": ""},
        {"days": 1},
        {"city": "Oslo", "dayz": 2},
    ],
)
def test_the_model_refuses_what_the_server_refuses(spec):
    with pytest.raises(ValidationError):
        WeatherReportSpec.model_validate(spec)


def test_a_condition_is_written_with_kubernetes_names():
    condition = Condition(
        type="Ready", status="True", reason="Collected", message="", last_transition_time="2026-11-22T10:00:00Z"
    )
    assert condition.model_dump(by_alias=True, exclude_unset=True)["lastTransitionTime"] == "2026-11-22T10:00:00Z"
