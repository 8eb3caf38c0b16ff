"""Weather reports as our station can make them: for a city it knows, and not older than anybody reads."""

from __future__ import annotations

from k8sext.admission import AdmissionRequest, Denied, mutating, validating
from k8sext.kube.objects import Json

CITIES = ("Amsterdam", "Berlin", "Lisbon", "London", "Madrid", "Oslo", "Paris", "Rome", "Vienna", "Warsaw")


@mutating("weatherreports.k8s.packt.com", reinvocation="IfNeeded")
def report_labels(report: Json, _request: AdmissionRequest) -> None:
    """Label every report with its city, so that `kubectl get weatherreports -l city=Paris` finds it."""
    labels = report["metadata"].setdefault("labels", {})
    labels["city"] = report["spec"]["city"]


@validating("weatherreports.k8s.packt.com")
def known_cities(report: Json, request: AdmissionRequest) -> None:
    """Refuse a city that no station of ours stands in, and warn of more days than anybody reads."""
    city, days = report["spec"]["city"], report["spec"].get("days", 1)
    if city not in CITIES:
        raise Denied(f"no station stands in {city}; choose one of {', '.join(CITIES)}")
    if days > 7:
        request.warn(f"{days} days: the older half of it is seldom read")
